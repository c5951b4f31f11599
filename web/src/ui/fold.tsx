import { type ReactNode, useState } from "react";
import { Icon } from "./icons";

interface Props {
  /** The one line that stays. */
  summary: ReactNode;
  /** Drawn only while open. */
  children: () => ReactNode;
  open?: boolean;
  onToggle?: (open: boolean) => void;
  className?: string;
}

/** One line that opens. What is inside is not made before. */
export function Fold({ summary, children, open: given, onToggle, className }: Props): ReactNode {
  const [own, setOwn] = useState(false);
  const open = given ?? own;
  return (
    <div className={className}>
      <button
        type="button"
        aria-expanded={open}
        onClick={() => (onToggle ? onToggle(!open) : setOwn(!open))}
        className="flex min-h-8 w-full items-center gap-2 rounded-md px-1.5 text-left hover:bg-hover max-md:min-h-11"
      >
        <Icon
          name="chevron"
          className={`text-muted transition-transform duration-120 ${open ? "rotate-90" : ""}`}
        />
        <span className="min-w-0 flex-1">{summary}</span>
      </button>
      {open && <div className="mt-1 pl-6">{children()}</div>}
    </div>
  );
}
