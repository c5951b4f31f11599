import type { ButtonHTMLAttributes, ReactNode, Ref } from "react";
import { type Authority, useMe, whyNot } from "~/live/may";
import { Icon, type IconName } from "./icons";

export type Look = "plain" | "primary" | "danger" | "quiet";

const LOOKS: Record<Look, string> = {
  plain: "border border-line-strong bg-surface hover:bg-hover",
  primary:
    "border border-transparent bg-accent text-on-accent font-medium hover:brightness-95 dark:hover:brightness-105",
  danger: "border border-danger text-danger bg-surface hover:bg-removed",
  quiet: "border border-transparent text-muted hover:bg-hover hover:text-text",
};

export function buttonClass(look: Look, small = false, square = false): string {
  const size = small ? "min-h-7 text-sm" : "min-h-8 max-md:min-h-11";
  const width = square ? (small ? "min-w-7 px-1" : "min-w-8 max-md:min-w-11 px-1") : small ? "px-2" : "px-3";
  return `inline-flex items-center justify-center gap-2 rounded-md whitespace-nowrap transition-colors duration-100 disabled:opacity-45 ${size} ${width} ${LOOKS[look]}`;
}

interface Props extends ButtonHTMLAttributes<HTMLButtonElement> {
  look?: Look;
  icon?: IconName;
  small?: boolean;
  /** What it does is under way: it cannot be pressed again, and says so. */
  busy?: boolean;
  /** What somebody needs to press it; it says why they may not. */
  needs?: Authority | undefined;
  ref?: Ref<HTMLButtonElement>;
}

export function Button({
  look = "plain",
  icon,
  small,
  busy,
  needs,
  children,
  className,
  ...rest
}: Props): ReactNode {
  const square = children === undefined;
  useMe();
  const refusal = needs === undefined ? null : whyNot(needs);
  return (
    <button
      type="button"
      {...rest}
      title={refusal ?? rest.title}
      disabled={rest.disabled || busy || refusal !== null}
      aria-busy={busy || undefined}
      className={`${buttonClass(look, small, square)} ${busy ? "cursor-progress" : ""} ${className ?? ""}`}
    >
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}
