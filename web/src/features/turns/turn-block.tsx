import { type ReactNode, useState } from "react";
import type { Turn } from "~/api/client";
import { count, moment, money, plural, took } from "~/text/format";
import { Fold } from "~/ui/fold";
import { ProblemNotice } from "~/ui/notice";
import { StateShape } from "~/ui/state";
import { Ago, Foreign } from "~/ui/text";
import { Blocks } from "./blocks";
import { useTurnLog } from "./stream";
import { toolName } from "./tool";

const RESULTS: Record<string, string> = {
  ok: "text-muted",
  failed: "text-danger",
  too_long: "text-danger",
  lost: "text-danger",
  interrupted: "text-warn",
  rate_limited: "text-warn",
};

/** Who woke it: "woken by m12, m13 from operator". */
export function causeOf(turn: Turn): string {
  if (turn.cause.kind === "compact") return `compacts the conversation, asked by ${String(turn.cause.by)}`;
  const list = (value: unknown) => (Array.isArray(value) ? value.map(String) : []);
  const messages = list(turn.cause.messages).map((id) => `m${id}`);
  const from = list(turn.cause.from);
  const shown = messages.length > 3 ? `${messages.length} messages` : messages.join(", ");
  return [shown, from.length > 0 ? `from ${from.join(", ")}` : ""].filter(Boolean).join(" ");
}

export function toolsOf(turn: Turn): string {
  const names = Object.entries(turn.tools).map(([name, times]) => {
    const short = name.replace(/^mcp__[a-z0-9_-]+?__/i, "");
    return times > 1 ? `${short} ×${times}` : short;
  });
  return names.length > 4 ? `${names.slice(0, 4).join(", ")} and ${names.length - 4} more` : names.join(", ");
}

interface Props {
  turn: Turn;
  open?: boolean;
  onToggle?: (open: boolean) => void;
}

/** One line until it is opened: what woke it, how long, tools, cost, result. A turn that runs stands open. */
export function TurnBlock({ turn, open: given, onToggle }: Props): ReactNode {
  const running = turn.state !== "ended";
  const [own, setOwn] = useState<boolean | null>(null);
  const open = given || (own ?? running);
  const toggle = (next: boolean) => {
    setOwn(next);
    onToggle?.(next);
  };
  const tools = toolsOf(turn);
  return (
    <Fold
      open={open}
      onToggle={toggle}
      className="-ml-1.5"
      summary={
        <span className="flex items-center gap-2 text-sm text-muted">
          {running ? <StateShape state="working" /> : null}
          <span className="shrink-0">t{turn.id}</span>
          <span className="min-w-0 flex-1 truncate">
            <Foreign text={[causeOf(turn), tools].filter(Boolean).join(" · ")} />
          </span>
          {turn.cost_usd !== null && turn.cost_usd > 0 && (
            <span className="shrink-0">{money(turn.cost_usd)}</span>
          )}
          <span className="shrink-0">
            {running ? <Ago at={turn.started_at} /> : turn.duration_ms !== null && took(turn.duration_ms)}
          </span>
          {!running && (
            <span className={`shrink-0 ${RESULTS[turn.result ?? ""] ?? "text-muted"}`}>
              {(turn.result ?? "ended").replaceAll("_", " ")}
            </span>
          )}
        </span>
      }
    >
      {() => <TurnInside turn={turn} />}
    </Fold>
  );
}

function TurnInside({ turn }: { turn: Turn }): ReactNode {
  const running = turn.state !== "ended";
  // Decided once: a turn that ends while it is followed is followed to its last line.
  const [follow] = useState(running);
  const { log, error } = useTurnLog(turn.id, follow);
  return (
    <div className="border-l border-line pb-2 pl-4">
      <Blocks blocks={log.blocks} live={running} />
      {error !== null && <ProblemNotice error={error} />}
      {log.blocks.length === 0 && error === null && (
        <p className="text-sm text-muted">
          {log.ended ? "It said nothing." : running ? "Starting." : "Reading."}
        </p>
      )}
      {!running && <Statistics turn={turn} />}
      {turn.note !== null && turn.note !== "" && (
        <p className="mt-2 text-sm text-muted">
          <Foreign text={turn.note} lines />
        </p>
      )}
    </div>
  );
}

/** What it used; blank where nothing was counted, never 0 (LE-4). */
function Statistics({ turn }: { turn: Turn }): ReactNode {
  const { input, output, cache_read, cache_creation } = turn.tokens;
  const facts: [string, number | null][] = [
    ["new", input],
    ["written", output],
    ["re-read", cache_read],
    ["kept", cache_creation],
    ["context", turn.context.tokens],
  ];
  const known = facts.filter((fact): fact is [string, number] => fact[1] !== null);
  const tools = Object.entries(turn.tools).map(([name, times]) => `${toolName(name)} ×${times}`);
  const rows: [string, string | null][] = [
    ["ran", `${moment(turn.started_at)} to ${turn.ended_at === null ? "now" : moment(turn.ended_at)}`],
    ["model", turn.model],
    ["tokens", known.map(([name, value]) => `${count(value)} ${name}`).join(", ")],
    ["tools", turn.tool_calls ? [plural(turn.tool_calls, "call"), ...tools].join(", ") : null],
    ["left waiting", turn.open_threads ? plural(turn.open_threads, "thread") : null],
    ["interrupted by", turn.interrupt_by],
  ];
  return (
    <dl className="mt-2 grid grid-cols-[max-content_1fr] gap-x-3 text-xs text-muted">
      {rows
        .filter(([, value]) => value)
        .map(([name, value]) => (
          <div key={name} className="contents">
            <dt>{name}</dt>
            <dd>
              <Foreign text={value ?? ""} />
            </dd>
          </div>
        ))}
    </dl>
  );
}
