// What the roster shows and in which order: pure, from rows and what the address says.
import type { Agent } from "~/api/client";
import { plural } from "~/text/format";
import { need, STATES, word } from "~/ui/state";

export type Sort = "need" | "name" | "model" | "context" | "cost" | "since";
export type Group = "state" | "engine" | "role" | "model";

export interface Asked {
  readonly q?: string;
  readonly state?: string;
  readonly sort?: Sort;
  readonly group?: Group;
}

export interface Section {
  /** Null when nothing is grouped. */
  readonly name: string | null;
  readonly agents: readonly Agent[];
}

export function contextShare(agent: Agent): number | null {
  const { tokens, window } = agent.context;
  return tokens === null || window === null || window === 0 ? null : tokens / window;
}

const byName = (a: Agent, b: Agent) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
const ORDERS: Record<Sort, (a: Agent, b: Agent) => number> = {
  need: (a, b) =>
    need(a.state) - need(b.state) || (a.since < b.since ? 1 : a.since > b.since ? -1 : 0) || byName(a, b),
  name: byName,
  model: (a, b) => (a.model ?? a.engine).localeCompare(b.model ?? b.engine) || byName(a, b),
  context: (a, b) => (contextShare(b) ?? -1) - (contextShare(a) ?? -1) || byName(a, b),
  cost: (a, b) => b.spent_usd - a.spent_usd || byName(a, b),
  since: (a, b) => (a.since < b.since ? 1 : -1) || byName(a, b),
};

function fits(agent: Agent, asked: Asked): boolean {
  if (asked.state !== undefined && agent.state !== asked.state) return false;
  if (asked.q === undefined) return true;
  const q = asked.q.toLowerCase();
  return [
    agent.name,
    agent.model,
    agent.engine,
    agent.role,
    agent.status,
    agent.detail,
    word(agent.state),
  ].some((text) => text?.toLowerCase().includes(q) ?? false);
}

/** The agents that fit, in order, in groups. */
export function sections(agents: Iterable<Agent>, asked: Asked): Section[] {
  const found = [...agents].filter((agent) => fits(agent, asked)).sort(ORDERS[asked.sort ?? "need"]);
  const { group } = asked;
  if (group === undefined) return found.length > 0 ? [{ name: null, agents: found }] : [];
  const named = new Map<string, Agent[]>();
  for (const agent of found) {
    const name = group === "state" ? word(agent.state) : (agent[group] ?? "no model");
    named.set(name, [...(named.get(name) ?? []), agent]);
  }
  const order = [...named.entries()].sort(([a, [first]], [b, [second]]) =>
    group === "state" && first && second ? need(first.state) - need(second.state) : a.localeCompare(b),
  );
  return order.map(([name, members]) => ({ name, agents: members }));
}

/** "12 agents, 3 working, 2 need you, 1 stuck." Idle ones go without saying. */
export function sentence(agents: Iterable<Agent>): string {
  const counts = new Map<string, number>();
  let all = 0;
  for (const agent of agents) {
    counts.set(agent.state, (counts.get(agent.state) ?? 0) + 1);
    all += 1;
  }
  const parts = STATES.filter((state) => state !== "idle" && counts.has(state)).map((state) => {
    const n = counts.get(state) ?? 0;
    return `${n} ${state === "needs_you" ? (n === 1 ? "needs you" : "need you") : word(state)}`;
  });
  const noun = plural(all, "agent");
  if (parts.length === 0) return all === 1 ? `${noun}, idle.` : `${noun}, all idle.`;
  return `${[noun, ...parts].join(", ")}.`;
}
