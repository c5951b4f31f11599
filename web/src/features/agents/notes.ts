// What was done to an agent, in a few words: notes in its conversation (HN-7). Pure.
import type { HiveEvent } from "~/api/client";

export interface Note {
  readonly id: number;
  readonly at: string;
  readonly by: string;
  readonly text: string;
}

const words: Record<string, (event: HiveEvent) => string | null> = {
  "agent.session_renewed": () => "new session: it remembers nothing of what is above",
  "agent.session_lost": () => "its session was lost: it remembers nothing of what is above",
  "agent.changed": (event) => {
    const changed = event.data.changed;
    if (typeof changed !== "object" || changed === null || !("model" in changed)) return null;
    return changed.model === null ? "model: the hive's default" : `model: ${String(changed.model)}`;
  },
  "agent.paused": () => "paused",
  "agent.resumed": () => "resumed",
  "agent.stopped": () => "stopped",
  "agent.started": () => "started",
  "agent.restarted": () => "restarted",
  "agent.crashed": (event) => `its box ended by itself: ${String(event.data.why ?? "")}`,
};

/** Notes of events; those that say nothing here are left out, and so is what this page does not know (LE-15). */
export function notesOf(events: readonly HiveEvent[]): Note[] {
  const found: Note[] = [];
  for (const event of events) {
    const text = words[event.kind]?.(event) ?? null;
    if (text !== null) found.push({ id: event.id, at: event.at, by: event.person ?? event.by, text });
  }
  return found;
}
