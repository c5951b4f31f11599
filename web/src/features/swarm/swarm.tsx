import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { type ReactNode, useEffect, useMemo, useRef } from "react";
import type { Agent } from "~/api/client";
import { useKeys } from "~/app/keys";
import { GROUPS, SORTS } from "~/app/search";
import { act, possible, useAct, type Verb } from "~/features/agents/actions";
import { tombstones } from "~/features/agents/queries";
import { mayNow } from "~/live/may";
import { useHive } from "~/live/store";
import { Button } from "~/ui/button";
import { Search, Select } from "~/ui/field";
import { Empty, ProblemNotice } from "~/ui/notice";
import { STATES, word } from "~/ui/state";
import { FirstRun } from "./first-run";
import { ForYou } from "./for-you";
import { type Sort, sections, sentence } from "./roster";
import { RosterHead, Row } from "./row";
import { Tombstones } from "./tombstones";

/** The roster: what waits for a person first, then what is wrong, then what runs. */
export function Swarm(): ReactNode {
  const hive = useHive();
  if (hive === null) return <p className="p-6 text-muted">Loading the hive.</p>;
  if (hive.agents.size === 0) return <Nobody />;
  return <Roster agents={hive.agents} />;
}

/** No agent lives: what earlier ones wrote and left behind is still here (TB-1). */
function Nobody(): ReactNode {
  return (
    <div className="mx-auto max-w-[1400px] px-4 py-4 max-md:px-0">
      <ForYou />
      <FirstRun />
      <Gone />
    </div>
  );
}

function Roster({ agents }: { agents: ReadonlyMap<string, Agent> }): ReactNode {
  const asked = useSearch({ from: "/frame/" });
  const navigate = useNavigate({ from: "/" });
  const shown = useMemo(() => sections(agents.values(), asked), [agents, asked]);
  const order = useMemo(() => shown.flatMap((section) => section.agents), [shown]);
  const { busy, error, run } = useAct();
  const search = useRef<HTMLInputElement>(null);
  const table = useRef<HTMLDivElement>(null);

  const set = (change: Partial<typeof asked>) =>
    void navigate({ search: (before) => ({ ...before, ...change }) as typeof before, replace: true });
  const at = order.findIndex((agent) => agent.name === asked.at);
  const current = order[at];
  const move = (by: number) => {
    const next = order[Math.min(order.length - 1, Math.max(0, at < 0 ? 0 : at + by))];
    if (next) set({ at: next.name });
  };
  useEffect(() => {
    if (asked.at) table.current?.querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
  }, [asked.at]);
  const verb = (which: Verb, agent: Agent | undefined) =>
    agent && void run(agent.name, () => act(which, agent.name));
  useKeys({
    j: () => move(1),
    k: () => move(-1),
    ArrowDown: () => move(1),
    ArrowUp: () => move(-1),
    Enter: () =>
      current && void navigate({ to: "/agents/$name", params: { name: current.name }, search: {} }),
    p: () => {
      const can = current ? possible(current) : null;
      const next = (["resume", "pause"] as const).find((each) => can?.has(each));
      if (next) verb(next, current);
    },
    i: () => current && possible(current).has("interrupt") && verb("interrupt", current),
    w: () => current && void navigate({ search: (before) => ({ ...before, why: current.name }) }),
    n: () => mayNow("act") && void navigate({ search: (before) => ({ ...before, new: "agent" as const }) }),
    f: () => search.current?.focus(),
    Escape: () => set({ at: undefined as never }),
  });

  return (
    <div className="mx-auto max-w-[1400px] px-4 py-4 max-md:px-0">
      <ForYou />
      <div className="mb-3 flex flex-wrap items-center gap-2 max-md:px-4">
        <h1 className="mr-auto py-1 text-lg font-semibold">{sentence(agents.values())}</h1>
        <Search
          ref={search}
          placeholder="Filter"
          aria-label="Filter agents"
          value={asked.q ?? ""}
          onChange={(event) => set({ q: (event.target.value || undefined) as never })}
          className="w-44 max-md:w-full"
        />
        <Select
          aria-label="State"
          value={asked.state ?? ""}
          onPick={(state) => set({ state: (state || undefined) as never })}
          choices={[
            { value: "", label: "every state" },
            ...STATES.map((state) => ({ value: state, label: word(state) })),
          ]}
        />
        <Select
          aria-label="Sort"
          value={asked.sort ?? "need"}
          onPick={(sort) => set({ sort: (sort === "need" ? undefined : sort) as never })}
          choices={SORTS.map((sort) => ({ value: sort, label: `by ${sort}` }))}
          className="md:hidden"
        />
        <Select
          aria-label="Group"
          value={asked.group ?? ""}
          onPick={(group) => set({ group: (group || undefined) as never })}
          choices={[
            { value: "", label: "ungrouped" },
            ...GROUPS.map((group) => ({ value: group, label: `by ${group}` })),
          ]}
          className="max-lg:hidden"
        />
        <Button
          needs="act"
          icon="plus"
          aria-label="New agent"
          onClick={() => void navigate({ search: (before) => ({ ...before, new: "agent" as const }) })}
        >
          <span className="max-md:hidden">New agent</span>
        </Button>
      </div>
      {error !== null && (
        <div className="mb-3 max-md:px-4">
          <ProblemNotice error={error} />
        </div>
      )}
      {order.length === 0 ? (
        <Empty title="No agent fits">
          <Link to="/" search={{}} className="text-accent underline underline-offset-2">
            Show all
          </Link>
        </Empty>
      ) : (
        <div
          ref={table}
          role="table"
          aria-label="Agents"
          className="border-line bg-surface max-md:border-y md:rounded-md md:border"
        >
          <RosterHead
            sort={asked.sort ?? "need"}
            onSort={(sort: Sort) => set({ sort: (sort === "need" ? undefined : sort) as never })}
          />
          {shown.map((section) => (
            <div key={section.name ?? ""} role="rowgroup">
              {section.name !== null && (
                <div role="row" className="border-b border-line bg-ground px-3 py-1 text-sm text-muted">
                  <span role="cell">
                    {section.name} · {section.agents.length}
                  </span>
                </div>
              )}
              {section.agents.map((agent) => (
                <Row
                  key={agent.name}
                  agent={agent}
                  current={agent.name === asked.at}
                  busy={busy === agent.name}
                  run={(which) => verb(which, agent)}
                />
              ))}
            </div>
          ))}
        </div>
      )}
      <Gone />
    </div>
  );
}

function Gone(): ReactNode {
  const { data } = useQuery(tombstones);
  return data && data.length > 0 ? <Tombstones agents={data} /> : null;
}
