// Words of others, ages, money: how they look everywhere.
import { Fragment, memo, type ReactNode } from "react";
import { ago, moment, span } from "~/text/format";
import { visible } from "~/text/visible";
import { useNow } from "./clock";

const MARKED = /(⟦U\+[0-9A-F]{4,6}⟧|[␀-␟␡])/u;

/** Text that somebody else wrote: text nodes only, and what cannot be seen is shown as a mark (T25). */
export const Foreign = memo(function Foreign({
  text,
  lines = false,
}: {
  text: string;
  lines?: boolean;
}): ReactNode {
  const safe = visible(text, lines);
  if (safe === text) return text;
  return safe.split(MARKED).map((part, at) =>
    at % 2 === 1 ? (
      <span key={at} className="mark">
        {part}
      </span>
    ) : (
      <Fragment key={at}>{part}</Fragment>
    ),
  );
});

const NAME_LONG = 12;
const NAME_END = 6;

/**
 * An agent's name where room may be short: what is cut is its middle, because names of one kind begin alike. Whoever
 * listens hears it whole, and it stands whole in the tooltip.
 */
export function Name({ children: name }: { children: string }): ReactNode {
  if (name.length <= NAME_LONG) return <Foreign text={name} />;
  return (
    <span className="flex min-w-0 whitespace-nowrap" title={name}>
      <span className="sr-only">
        <Foreign text={name} />
      </span>
      <span aria-hidden="true" className="truncate">
        <Foreign text={name.slice(0, -NAME_END)} />
      </span>
      <span aria-hidden="true">
        <Foreign text={name.slice(-NAME_END)} />
      </span>
    </span>
  );
}

/** How long ago, with the moment itself in a tooltip. */
export function Ago({ at, className }: { at: string; className?: string }): ReactNode {
  const now = useNow(Date.parse(at));
  return (
    <time dateTime={at} title={moment(at)} className={`whitespace-nowrap ${className ?? ""}`}>
      {ago(at, now)}
    </time>
  );
}

/** How long from now. */
export function Until({ at }: { at: string }): ReactNode {
  const end = Date.parse(at);
  const now = useNow(Date.now());
  return (
    <time dateTime={at} title={moment(at)} className="whitespace-nowrap">
      {span(end - now)}
    </time>
  );
}

export function Kbd({ children }: { children: ReactNode }): ReactNode {
  return (
    <kbd className="inline-block min-w-5 rounded-sm border border-line-strong bg-surface px-1 text-center font-sans text-xs text-muted">
      {children}
    </kbd>
  );
}

/** Something quiet that belongs to the thing before it: `manager`, `may be repeated`. */
export function Badge({
  children,
  tone = "muted",
}: {
  children: ReactNode;
  tone?: "muted" | "warn" | "live" | "accent" | "danger";
}): ReactNode {
  const tones = {
    muted: "text-muted",
    warn: "text-warn",
    live: "text-live",
    accent: "text-accent",
    danger: "text-danger",
  };
  return (
    <span className={`rounded-sm border border-line-strong px-1.5 text-xs whitespace-nowrap ${tones[tone]}`}>
      {children}
    </span>
  );
}

export function Money({ children }: { children: string }): ReactNode {
  return <span className="whitespace-nowrap tabular-nums">{children}</span>;
}
