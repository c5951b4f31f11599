import type { ReactNode } from "react";

const KEYS: readonly { name: string; label?: string; text?: string; arrow?: string }[] = [
  { name: "esc", text: "\x1b" },
  { name: "tab", text: "\t" },
  { name: "←", label: "Left", arrow: "D" },
  { name: "↑", label: "Up", arrow: "A" },
  { name: "↓", label: "Down", arrow: "B" },
  { name: "→", label: "Right", arrow: "C" },
  { name: "|", label: "Pipe", text: "|" },
  { name: "/", label: "Slash", text: "/" },
  { name: "-", label: "Dash", text: "-" },
];

interface Props {
  /** Whether control is held for the next key. */
  held: boolean;
  onHold: () => void;
  onKey: (text: string) => void;
  onArrow: (letter: string) => void;
}

/** The keys that a thumb's keyboard lacks. */
export function Keys({ held, onHold, onKey, onArrow }: Props): ReactNode {
  const key = "min-h-11 min-w-0 flex-1 rounded-md border font-mono text-sm";
  return (
    <div
      role="toolbar"
      aria-label="Keys"
      className="flex shrink-0 gap-1 border-t border-line p-1.5 md:hidden"
    >
      <button
        type="button"
        aria-pressed={held}
        onPointerDown={(event) => event.preventDefault()}
        onClick={onHold}
        className={`${key} ${held ? "border-accent bg-accent-quiet" : "border-line-strong bg-surface"}`}
      >
        ctrl
      </button>
      {KEYS.map(({ name, label, text, arrow }) => (
        <button
          key={name}
          type="button"
          aria-label={label}
          onPointerDown={(event) => event.preventDefault()} // the keyboard stays up
          onClick={() => (arrow === undefined ? onKey(text ?? "") : onArrow(arrow))}
          className={`${key} border-line-strong bg-surface`}
        >
          {name}
        </button>
      ))}
    </div>
  );
}
