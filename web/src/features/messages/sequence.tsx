import { type ReactNode, useMemo } from "react";
import type { Message } from "~/api/client";
import { clock, firstLine, moment } from "~/text/format";
import { visible } from "~/text/visible";
import { Foreign, Name } from "~/ui/text";

export const LANES_MOST = 12;
const ROW = 30;
const LEFT = 56;
const HEAD = 30;
const SHORT = 24;
const BESIDE = 260;

/** Names of those who write and get mail, the operator first, then by how much they take part; the rest share a lane. */
export function lanes(messages: readonly Message[]): string[] {
  const counts = new Map<string, number>();
  for (const message of messages)
    for (const name of [message.sender, message.recipient]) counts.set(name, (counts.get(name) ?? 0) + 1);
  const names = [...counts.keys()].sort((a, b) => {
    const fixed = Number(b === "operator") - Number(a === "operator");
    return fixed || (counts.get(b) ?? 0) - (counts.get(a) ?? 0) || (a < b ? -1 : 1);
  });
  return names.length > LANES_MOST ? names.slice(0, LANES_MOST - 1) : names;
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
  const many = people > names.length;
  const count = names.length + (many ? 1 : 0);
  const width = Math.max(90, Math.min(180, 1000 / Math.max(count, 1)));
  const x = (name: string): number => {
    const at = names.indexOf(name);
    return LEFT + width * ((at < 0 ? names.length : at) + 0.5);
  };
  /** Where an arrow begins and ends; one between two that share a lane is short. */
  const ends = ({ sender, recipient }: Message): readonly [number, number] => {
    const [from, to] = [x(sender), x(recipient)];
    return from === to ? [from - SHORT, to + SHORT] : [from, to];
  };
  const full = LEFT + width * count;
  const height = HEAD + rows.length * ROW + 12;
  return (
    <>
      {many && (
        <p className="mb-2 text-sm text-muted max-md:px-4">
          The {names.length} that write most of {people} have a lane of their own. Choose an agent to see all
          of its mail.
        </p>
      )}
      <div data-wide className="overflow-x-auto rounded-md border border-line bg-surface">
        <div className="relative min-w-full" style={{ width: full + 12, height }}>
          <div className="sticky top-0 z-10 h-[30px] border-b border-line bg-surface text-sm font-medium">
            {names.map((name) => (
              <span
                key={name}
                className="absolute truncate px-1 pt-1 text-center"
                style={{ left: x(name) - width / 2, width }}
              >
                {name === "operator" ? "you" : <Name>{name}</Name>}
              </span>
            ))}
            {many && (
              <span
                className="absolute px-1 pt-1 text-center text-muted"
                style={{ left: full - width, width }}
              >
                others
              </span>
            )}
          </div>
          <svg width={full + 12} height={height} className="absolute inset-0" aria-hidden="true">
            {names.map((name) => (
              <line key={name} x1={x(name)} x2={x(name)} y1={HEAD} y2={height} className="stroke-line" />
            ))}
            {rows.map((message, at) => {
              const [from, to] = ends(message);
              const y = HEAD + at * ROW + ROW / 2 + 4;
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
                  <Label
                    message={message}
                    ends={ends(message)}
                    named={!names.includes(message.sender) || !names.includes(message.recipient)}
                  />
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
  ends: [from, to],
  named,
}: {
  message: Message;
  ends: readonly [number, number];
  /** Whether its lanes do not say whose it is. */
  named: boolean;
}): ReactNode {
  // Beside a short arrow on the last lane there is room on its left.
  const short = Math.abs(to - from) <= 2 * SHORT;
  const left = short ? Math.min(from, to) - BESIDE : Math.min(from, to);
  return (
    <span
      className={`pointer-events-none absolute top-0 truncate px-2 text-xs text-muted ${short ? "pt-2 text-right" : "text-left"}`}
      style={{ left, width: short ? BESIDE : Math.abs(to - from) }}
    >
      <span className={named ? "" : "sr-only"}>
        <Foreign text={`${message.sender} to ${message.recipient}: `} />
      </span>
      <Foreign text={firstLine(message.body)} />
    </span>
  );
}
