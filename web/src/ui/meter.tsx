import type { ReactNode } from "react";

interface Props {
  value: number;
  most: number;
  /** For a screen reader: what is measured, and how much it is. */
  label: string;
  className?: string;
}

/** How much of a limit is used. Warns from 80 % on, and says so by its label too. */
export function Meter({ value, most, label, className }: Props): ReactNode {
  const share = most > 0 ? Math.min(1, value / most) : 0;
  const colour = share >= 1 ? "bg-danger" : share >= 0.8 ? "bg-warn" : "bg-live";
  return (
    <div
      role="meter"
      aria-label={label}
      aria-valuenow={Math.round(share * 100)}
      aria-valuemin={0}
      aria-valuemax={100}
      className={`h-1.5 overflow-hidden rounded-full bg-line ${className ?? ""}`}
    >
      <div className={`h-full rounded-full ${colour}`} style={{ width: `${share * 100}%` }} />
    </div>
  );
}
