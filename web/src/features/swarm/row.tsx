import { Link } from "@tanstack/react-router";
import { memo, type ReactNode, useState } from "react";
import type { Agent } from "~/api/client";
import type { Verb } from "~/features/agents/actions";
import { AgentMenu } from "~/features/agents/controls";
import { useAgentBudget } from "~/live/store";
import { limit, model, money } from "~/text/format";
import { Button } from "~/ui/button";
import { Icon } from "~/ui/icons";
import { StateMark, word } from "~/ui/state";
import { Ago, Badge, Foreign, Name, Until } from "~/ui/text";
import { contextShare, type Sort } from "./roster";

const GRID =
  "md:grid md:grid-cols-[128px_136px_minmax(0,1fr)_112px_72px_52px_112px_72px_72px] md:items-center md:gap-x-3 md:px-3 md:max-lg:grid-cols-[116px_124px_minmax(0,1fr)_36px_104px_56px_72px]";
const WIDE = "md:max-lg:hidden";

const COLUMNS: readonly { name: string; sort?: Sort; right?: boolean; wide?: boolean }[] = [
  { name: "Agent", sort: "name" },
  { name: "State", sort: "need" },
  { name: "Doing" },
  { name: "Model", sort: "model", wide: true },
  { name: "Context", sort: "context", right: true, wide: true },
  { name: "Mail", right: true },
  { name: "Today", sort: "cost", right: true },
  { name: "Since", sort: "since", right: true },
];

export function RosterHead({ sort, onSort }: { sort: Sort; onSort: (sort: Sort) => void }): ReactNode {
  return (
    <div role="rowgroup">
      <div role="row" className={`h-8 border-b border-line text-sm text-muted max-md:hidden ${GRID}`}>
        {COLUMNS.map((column) => (
          <span
            key={column.name}
            role="columnheader"
            aria-sort={
              column.sort === sort
                ? sort === "cost" || sort === "context"
                  ? "descending"
                  : "ascending"
                : undefined
            }
            className={`${column.right ? "text-right" : ""} ${column.wide ? WIDE : ""}`}
          >
            {column.sort ? (
              <button
                type="button"
                onClick={() => column.sort && onSort(column.sort)}
                className={`inline-flex items-center gap-1 rounded-sm hover:text-text ${column.sort === sort ? "text-text" : ""}`}
              >
                {column.name}
                {column.sort === sort && <Icon name="down" width="12" height="12" />}
              </button>
            ) : (
              column.name
            )}
          </span>
        ))}
        <span role="columnheader" className="sr-only">
          Actions
        </span>
      </div>
    </div>
  );
}

interface Props {
  agent: Agent;
  current: boolean;
  busy: boolean;
  run: (verb: Verb) => void;
}

/** One line an agent; on a phone two. Not redrawn while its row is the same. */
export const Row = memo(
  function Row({ agent, current, busy, run }: Props): ReactNode {
    const changing = agent.state === "changing";
    return (
      <div
        role="row"
        aria-current={current || undefined}
        className={`group relative border-b border-line last:border-b-0 hover:bg-hover max-md:min-h-15 max-md:px-4 max-md:py-2 md:h-9 md:[contain-intrinsic-height:36px] md:[content-visibility:auto] ${GRID} ${current ? "bg-accent-quiet" : ""}`}
      >
        <span
          role="cell"
          className="flex min-w-0 items-center gap-2 max-md:float-left max-md:mr-3 max-md:max-w-[44%]"
        >
          <Link
            to="/agents/$name"
            params={{ name: agent.name }}
            search={{}}
            className="min-w-0 font-semibold after:absolute after:inset-0"
          >
            <Name>{agent.name}</Name>
          </Link>
          {agent.role === "manager" && <Badge>manager</Badge>}
          <PendingBadge agent={agent} />
        </span>
        <span role="cell" className="max-md:float-left">
          <StateMark state={agent.state} verb={changing ? agent.reason : null} />
        </span>
        <span role="cell" className="truncate max-md:clear-both max-md:block max-md:pr-24 max-md:text-sm">
          <Doing agent={agent} />
        </span>
        <span
          role="cell"
          className={`truncate text-muted max-md:hidden ${WIDE}`}
          title={agent.model ?? agent.engine}
        >
          {agent.model ? model(agent.model) : agent.engine}
        </span>
        <span role="cell" className={`text-right max-md:hidden ${WIDE}`}>
          <Context agent={agent} />
        </span>
        <span role="cell" className="text-right text-muted max-md:hidden">
          {agent.waiting > 0 && agent.waiting}
        </span>
        <span role="cell" className="text-right whitespace-nowrap max-md:hidden">
          <Today agent={agent} />
        </span>
        <span
          role="cell"
          className="text-right text-muted max-md:absolute max-md:top-2 max-md:right-4 max-md:text-sm"
        >
          <Ago at={agent.since} />
        </span>
        <OnPhone agent={agent} />
        <span
          role="cell"
          className={`relative z-10 flex justify-end gap-0.5 max-md:absolute max-md:right-2 max-md:bottom-0 ${changing ? "opacity-45" : ""}`}
        >
          <Button
            needs="act"
            look="quiet"
            small
            icon={agent.paused_at === null ? "pause" : "play"}
            busy={busy}
            disabled={changing}
            aria-label={agent.paused_at === null ? `Pause ${agent.name}` : `Resume ${agent.name}`}
            title={agent.paused_at === null ? "Pause" : "Resume"}
            onClick={() => run(agent.paused_at === null ? "pause" : "resume")}
            className="max-md:min-h-11 max-md:min-w-11 md:opacity-0 md:group-focus-within:opacity-100 md:group-hover:opacity-100 md:[[aria-current]_&]:opacity-100"
          />
          <RowMenu agent={agent} run={run} />
        </span>
      </div>
    );
  },
  (a, b) => a.agent === b.agent && a.current === b.current && a.busy === b.busy,
);

/** What stands in columns of its own where there is room; on a phone below, and the agent's words if ours stand above. */
function OnPhone({ agent }: { agent: Agent }): ReactNode {
  const ours = agent.detail !== null || agent.until !== null;
  const share = contextShare(agent);
  return (
    <span role="cell" className="block min-h-5 pr-24 text-sm text-muted md:hidden">
      {ours && agent.status !== null && (
        <span className="flex items-baseline gap-2">
          <q className="min-w-0 truncate">
            <Foreign text={agent.status} />
          </q>
          {agent.status_at !== null && <Ago at={agent.status_at} className="shrink-0" />}
        </span>
      )}
      <span className="flex gap-2 whitespace-nowrap">
        <span className="min-w-0 truncate">{agent.model ? model(agent.model) : agent.engine}</span>
        {share !== null && (
          <span className="shrink-0">
            ctx <Context agent={agent} />
          </span>
        )}
        {agent.spent_usd > 0 && (
          <span className="shrink-0">
            <Today agent={agent} />
          </span>
        )}
        {agent.waiting > 0 && <span className="shrink-0">{agent.waiting} waiting</span>}
      </span>
    </span>
  );
}

const PENDING: Record<string, string> = {
  attached: "terminal",
  compacting: "compacts next",
  renewing: "new session next",
};

/** What is in flight beside the state, or comes after the turn that runs: who asked for it stands in the tooltip. */
export function PendingBadge({ agent }: { agent: Agent }): ReactNode {
  const { pending, state, reason } = agent;
  if (pending === null || state === "changing" || reason === pending.kind) return null;
  return (
    <span title={`asked by ${pending.by}`}>
      <Badge tone="live">{PENDING[pending.kind] ?? word(pending.kind)}</Badge>
    </span>
  );
}

/** The menu and its questions are made when they are asked for: two hundred rows would pay for what nobody opens. */
function RowMenu({ agent, run }: Pick<Props, "agent" | "run">): ReactNode {
  const [wanted, setWanted] = useState(false);
  const look = {
    look: "quiet",
    small: true,
    icon: "more",
    "aria-label": `More for ${agent.name}`,
    className: "max-md:min-h-11 max-md:min-w-11 md:opacity-60 md:group-hover:opacity-100",
  } as const;
  if (wanted) return <AgentMenu agent={agent} run={run} defaultOpen trigger={<Button {...look} />} />;
  return <Button {...look} aria-haspopup="menu" aria-expanded={false} onClick={() => setWanted(true)} />;
}

/** Ours plainly, the agent's own words in quotes with their age. */
export function Doing({ agent }: { agent: Agent }): ReactNode {
  const ours = agent.detail !== null || agent.until !== null;
  return (
    <span className="flex min-w-0 items-baseline gap-2">
      {ours && (
        <span className={`truncate ${agent.status === null ? "" : "md:max-w-[55%] md:shrink-0"}`}>
          {agent.detail !== null && <Foreign text={agent.detail} />}
          {agent.until !== null && (
            <span className="text-muted">
              {agent.detail !== null && ", "}for <Until at={agent.until} />
            </span>
          )}
        </span>
      )}
      {agent.status !== null && (
        <>
          <span className={`min-w-0 truncate text-muted ${ours ? "flex-1 max-md:hidden" : ""}`}>
            <q title={agent.status}>
              <Foreign text={agent.status} />
            </q>
          </span>
          {agent.status_at !== null && (
            <span className={`shrink-0 text-sm text-muted ${ours ? "max-md:hidden" : ""}`}>
              <Ago at={agent.status_at} />
              {!ours && " ago"}
            </span>
          )}
        </>
      )}
    </span>
  );
}

export function Context({ agent }: { agent: Agent }): ReactNode {
  const share = contextShare(agent);
  if (share === null) return null;
  const tone = share >= 0.9 ? "text-danger" : share >= 0.75 ? "text-warn" : "text-muted";
  return <span className={tone}>{Math.round(share * 100)} %</span>;
}

function Today({ agent }: { agent: Agent }): ReactNode {
  const usual = useAgentBudget();
  const budget = agent.budget_usd ?? usual;
  const tone =
    budget !== null && agent.spent_usd >= budget
      ? "text-danger"
      : budget !== null && agent.spent_usd >= budget * 0.8
        ? "text-warn"
        : agent.spent_usd === 0
          ? "text-muted"
          : "";
  return (
    <span className={tone}>
      {money(agent.spent_usd)}
      {budget !== null && <span className="text-muted"> of {limit(budget)}</span>}
    </span>
  );
}
