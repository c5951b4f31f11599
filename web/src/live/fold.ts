// The hive as this page knows it: the snapshot, and what followed, folded in. Pure, so that tests can walk it.
import type { Agent, HiveEvent, State } from "~/api/client";

export interface Hive {
  readonly store: string;
  /** Number of the newest event that was applied. */
  readonly event: number;
  readonly name: string;
  readonly data: string;
  readonly daemon: State["daemon"];
  readonly agents: ReadonlyMap<string, Agent>;
  readonly mail: State["mail"];
  readonly turns: number;
  readonly operations: State["operations"];
  readonly spent: State["spent"];
  readonly disk: { readonly level: string; readonly detail: string | null } | null;
  readonly checked: State["checked"];
}

export interface Rows {
  readonly event: number;
  readonly agents: readonly Agent[];
  readonly gone: readonly string[];
  readonly hive: Pick<Hive, "mail" | "turns" | "operations" | "spent" | "disk" | "checked"> | null;
}

export type Followed =
  | { readonly type: "event"; readonly event: HiveEvent }
  | { readonly type: "rows"; readonly rows: Rows };

export function fromSnapshot(state: State): Hive {
  const { store, event, name, data, daemon, mail, turns, operations, spent, checked } = state;
  const agents = new Map(state.agents.map((agent) => [agent.name, agent]));
  const disk = state.disk && { level: state.disk.level, detail: state.disk.detail };
  return { store, event, name, data, daemon, agents, mail, turns, operations, spent, disk, checked };
}

/**
 * Everything that came in one frame, applied. Events that were applied before change nothing (a stream that was taken up
 * again may repeat its last one); `fresh` are those that were new. The same `hive` comes back when nothing changed.
 */
export function fold(hive: Hive, followed: readonly Followed[]): { hive: Hive; fresh: HiveEvent[] } {
  let agents: Map<string, Agent> | null = null;
  let rest: Rows["hive"] = null;
  let event = hive.event;
  const fresh: HiveEvent[] = [];
  for (const each of followed) {
    if (each.type === "event") {
      if (each.event.id > event) {
        event = each.event.id;
        fresh.push(each.event);
      }
      continue;
    }
    rest = each.rows.hive ?? rest;
    if (each.rows.agents.length + each.rows.gone.length > 0) {
      agents ??= new Map(hive.agents);
      for (const agent of each.rows.agents) agents.set(agent.name, agent);
      for (const name of each.rows.gone) agents.delete(name);
    }
  }
  if (agents === null && rest === null && event === hive.event) return { hive, fresh };
  return { hive: { ...hive, ...rest, event, agents: agents ?? hive.agents }, fresh };
}
