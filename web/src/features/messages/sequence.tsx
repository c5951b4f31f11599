import { type ReactNode, useMemo } from "react";
import type { Message } from "~/api/client";
import { clock, firstLine, moment } from "~/text/format";
import { visible } from "~/text/visible";
import { Foreign } from "~/ui/text";

export const LANES_MOST = 12;
const ROW = 30;
const LEFT = 56;
const HEAD = 30;

/** Names of those who write and get mail, the operator first, then by how much they take part. */
export function lanes(messages: readonly Message[]): string[] {
  const counts = new Map<string, number>();
  for (const message of messages)
    for (const name of [message.sender, message.recipient]) counts.set(name, (counts.get(name) ?? 0) + 1);
  const names = [...counts.keys()].sort((a, b) => {
    const fixed = Number(b === "operator") - Number(a === "operator");
    return fixed || (counts.get(b) ?? 0) - (counts.get(a) ?? 0) || (a < b ? -1 : 1);
  });
  return names.slice(0, LANES_MOST);
}

/** Threads are told apart by the shape at an arrow's foot, not by hue. */
const FEET = [
  (x: number, y: number) => <circle key="f" cx={x} cy={y} r="3.5" />,
  (x: number, y: number) => <rect key="f" x={x - 3.2} y={y - 3.2} width="6.4" height="6.4" />,
  (x: number, y: number) => <path key="f" d={`M${x} ${y - 4.2}l4.2 4.2-4.2 4.2-4.2-4.2z`} />,
  (x: number, y: number) => <path key="f" d={`M${x} ${y - 4}l4 7h-8z`} />,
];

/** Whether a day begins with it: the first line says its day when that is not today. */
export function newDay(message: Message, before: Message | undefined, now = Date.now()): boolean {
  const day = (at: string): string => moment(at).slice(0, 10);
  return day(message.sent_at) !== day(before?.sent_at ?? new Date(now).toISOString());
}

interface Props {
  /** Newest first. */
  messages: readonly Message[];
  onOpen: (message: number) => void;
}

/** One lane an agent, time downwards, an arrow a message. The list beside it says the same in words. */
export function Sequence({ messages, onOpen }: Props): ReactNode {
  const names = useMemo(() => lanes(messages), [messages]);
  const people = useMemo(
    () => new Set(messages.flatMap((message) => [message.sender, message.recipient])).size,
    [messages],
  );
  const rows = useMemo(() => [...messages].reverse(), [messages]);
  const width = Math.max(90, Math.min(180, 1000 / Math.max(names.length, 1)));
  const x = (name: string) => {
    const at = names.indexOf(name);
    return at < 0 ? null : LEFT + width * (at + 0.5);
  };
  const full = LEFT + width * names.length;
  const height = HEAD + rows.length * ROW + 12;
  return (
    <>
      {people > names.length && (
        <p className="mb-2 text-sm text-muted max-md:px-4">
          The {names.length} that write most of {people} have a lane. Choose an agent to see its own.
        </p>
      )}
      <div data-wide className="overflow-x-auto rounded-md border border-line bg-surface">
        <div className="relative min-w-full" style={{ width: full + 12, height }}>
          <div className="sticky top-0 z-10 h-[30px] border-b border-line bg-surface text-sm font-medium">
            {names.map((name) => (
              <span
                key={name}
                className="absolute truncate px-1 pt-1 text-center"
                style={{ left: (x(name) ?? 0) - width / 2, width }}
              >
                <Foreign text={name === "operator" ? "you" : name} />
              </span>
            ))}
          </div>
          <svg width={full + 12} height={height} className="absolute inset-0" aria-hidden="true">
            {names.map((name) => (
              <line
                key={name}
                x1={x(name) ?? 0}
                x2={x(name) ?? 0}
                y1={HEAD}
                y2={height}
                className="stroke-line"
              />
            ))}
            {rows.map((message, at) => {
              const from = x(message.sender);
              const to = x(message.recipient);
              const y = HEAD + at * ROW + ROW / 2 + 4;
              if (from === null || to === null) return null;
              const parked = message.state === "parked";
              const tone = parked ? "text-warn" : message.state === "handled" ? "text-muted" : "text-live";
              const foot = FEET[(message.thread ?? message.id) % FEET.length];
              const way = Math.sign(to - from) || 1;
              return (
                <g key={message.id} className={tone} fill="currentColor">
                  {foot?.(from, y)}
                  <line
                    x1={from}
                    x2={to - way * 5}
                    y1={y}
                    y2={y}
                    stroke="currentColor"
                    strokeWidth="1.4"
                    strokeDasharray={message.state === "waiting" ? "4 3" : undefined}
                  />
                  {parked ? (
                    <path d={`M${to - 4} ${y - 4}l8 8m0-8l-8 8`} stroke="currentColor" strokeWidth="1.8" />
                  ) : (
                    <path d={`M${to} ${y}l${-way * 7}-3.8v7.6z`} />
                  )}
                </g>
              );
            })}
          </svg>
          <ol aria-label="Messages, oldest first">
            {rows.map((message, at) => (
              <li key={message.id}>
                <button
                  type="button"
                  onClick={() => onOpen(message.id)}
                  title={visible(message.body.slice(0, 300))}
                  className="absolute left-0 flex w-full items-start rounded-none hover:bg-hover/60"
                  style={{ top: HEAD + at * ROW, height: ROW }}
                >
                  <span className="relative w-14 shrink-0 pt-2 pl-2 text-left text-xs text-muted">
                    {newDay(message, rows[at - 1]) && (
                      <span className="absolute -top-0.5 font-medium">
                        {moment(message.sent_at).slice(5, 10)}
                      </span>
                    )}
                    {clock(message.sent_at)}
                  </span>
                  <Label message={message} from={x(message.sender)} to={x(message.recipient)} />
                </button>
              </li>
            ))}
          </ol>
        </div>
      </div>
    </>
  );
}

function Label({
  message,
  from,
  to,
}: {
  message: Message;
  from: number | null;
  to: number | null;
}): ReactNode {
  const left = Math.min(from ?? LEFT, to ?? LEFT);
  const width = Math.abs((to ?? LEFT) - (from ?? LEFT));
  return (
    <span
      className="pointer-events-none absolute top-0 truncate px-2 text-left text-xs text-muted"
      style={{ left, width: Math.max(width, 60) }}
    >
      <span className="sr-only">
        <Foreign text={`${message.sender} to ${message.recipient}: `} />
      </span>
      <Foreign text={firstLine(message.body)} />
    </span>
  );
}
