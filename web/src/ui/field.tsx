import type {
  InputHTMLAttributes,
  ReactNode,
  Ref,
  SelectHTMLAttributes,
  TextareaHTMLAttributes,
} from "react";
import { useId } from "react";
import { Icon } from "./icons";

const BOX =
  "w-full rounded-md border border-line-strong bg-surface px-2.5 text-text placeholder:text-muted focus-visible:outline-offset-0 disabled:opacity-50";

export function Input({
  className,
  ...rest
}: InputHTMLAttributes<HTMLInputElement> & { ref?: Ref<HTMLInputElement> }): ReactNode {
  return <input {...rest} className={`${BOX} h-8 max-md:h-11 max-md:text-lg ${className ?? ""}`} />;
}

export function TextArea({
  className,
  ...rest
}: TextareaHTMLAttributes<HTMLTextAreaElement> & { ref?: Ref<HTMLTextAreaElement> }): ReactNode {
  return <textarea {...rest} className={`${BOX} py-1.5 max-md:text-lg ${className ?? ""}`} />;
}

interface Choice {
  value: string;
  label: string;
}
interface SelectProps extends Omit<SelectHTMLAttributes<HTMLSelectElement>, "onChange"> {
  choices: readonly Choice[];
  onPick: (value: string) => void;
}

/** The browser's own select: right on a phone, with a keyboard and for a screen reader. */
export function Select({ choices, onPick, className, ...rest }: SelectProps): ReactNode {
  return (
    <span className={`relative inline-block ${className ?? ""}`}>
      <select
        {...rest}
        onChange={(event) => onPick(event.target.value)}
        className={`${BOX} h-8 appearance-none pr-7 max-md:h-11`}
      >
        {choices.map((choice) => (
          <option key={choice.value} value={choice.value}>
            {choice.label}
          </option>
        ))}
      </select>
      <Icon
        name="down"
        className="pointer-events-none absolute top-1/2 right-2 -translate-y-1/2 text-muted"
      />
    </span>
  );
}

export function Search({
  className,
  ...rest
}: InputHTMLAttributes<HTMLInputElement> & { ref?: Ref<HTMLInputElement> }): ReactNode {
  return (
    <span className={`relative inline-block ${className ?? ""}`}>
      <Icon
        name="search"
        className="pointer-events-none absolute top-1/2 left-2 -translate-y-1/2 text-muted"
      />
      <Input type="search" {...rest} className="pl-8" />
    </span>
  );
}

/** A label, its field and what there is to know about it. */
export function Field({
  label,
  hint,
  children,
}: {
  label: string;
  hint?: ReactNode;
  children: (id: string) => ReactNode;
}): ReactNode {
  const id = useId();
  return (
    <div className="space-y-1">
      <label htmlFor={id} className="block text-sm font-medium">
        {label}
      </label>
      {children(id)}
      {hint && <p className="text-sm text-muted">{hint}</p>}
    </div>
  );
}
