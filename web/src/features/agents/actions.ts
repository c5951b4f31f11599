// What a person can do to an agent. Nothing is refetched after it: the hive pushes what follows (DB-1, DB-7).
import { useRef, useState } from "react";
import { type Agent, api, type Changes, type NewAgent } from "~/api/client";
import { mayNow } from "~/live/may";

const VERBS = [
  "start",
  "stop",
  "restart",
  "pause",
  "resume",
  "destroy",
  "purge",
  "interrupt",
  "compact",
  "new-session",
  "take-back",
] as const;
export type Verb = (typeof VERBS)[number];

export async function act(verb: Verb, name: string): Promise<void> {
  await api.POST(`/api/v1/agents/{name}/${verb}`, { params: { path: { name } } });
}

export async function change(name: string, changes: Changes): Promise<void> {
  await api.PATCH("/api/v1/agents/{name}", { params: { path: { name } }, body: changes });
}

export async function create(agent: NewAgent): Promise<void> {
  await api.POST("/api/v1/agents", { body: agent });
}

/** Sends a message. The same `key` again has no second effect. */
export async function send(to: string, text: string, key: string, replyTo?: number): Promise<number> {
  const answer = await api.POST("/api/v1/messages", {
    params: { header: { "Idempotency-Key": key } },
    body: { to, body: text, wake: true, ...(replyTo ? { reply_to: replyTo } : {}) },
  });
  return answer.data?.id ?? 0;
}

export async function retry(message: number): Promise<void> {
  await api.POST("/api/v1/messages/{message}/retry", { params: { path: { message: String(message) } } });
}

export async function markRead(ids: number[] | null): Promise<void> {
  await api.POST("/api/v1/inbox/read", { body: { ids } });
}

export function freshKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Which verbs make sense for an agent as it is now, and for who looks at it. */
export function possible(agent: Agent): ReadonlySet<Verb> {
  const found = new Set<Verb>();
  if (agent.state === "changing" || !mayNow("act")) return found;
  const stopped = agent.wish === "stopped";
  found.add(agent.paused_at === null && agent.reason !== "interrupted" ? "pause" : "resume");
  if (agent.turn !== null) found.add("interrupt");
  const waits = agent.pending?.kind === "compacting" || agent.pending?.kind === "renewing";
  if (agent.pending === null) found.add("new-session");
  if (agent.pending === null && !stopped) found.add("compact");
  // A compaction that runs is interrupted like any turn.
  if (waits && (agent.turn === null || agent.reason !== "compacting")) found.add("take-back");
  found.add(stopped ? "start" : "stop");
  if (!stopped) found.add("restart");
  if (agent.state === "stuck" || agent.state === "failed") found.add("start");
  found.add("destroy");
  found.add("purge");
  return found;
}

/** Runs things, each not twice at once, and remembers how the last went; it always comes to an end (I-40). */
export function useAct(): {
  busy: string | null;
  error: unknown;
  run: (name: string, what: () => Promise<unknown>) => Promise<boolean>;
  clear: () => void;
} {
  const [busy, setBusy] = useState<string | null>(null);
  const [error, setError] = useState<unknown>(null);
  const running = useRef(new Set<string>());
  async function run(name: string, what: () => Promise<unknown>): Promise<boolean> {
    if (running.current.has(name)) return false;
    running.current.add(name);
    setBusy(name);
    setError(null);
    try {
      await what();
      return true;
    } catch (failed) {
      setError(failed);
      return false;
    } finally {
      running.current.delete(name);
      setBusy((now) => (now === name ? null : now));
    }
  }
  return { busy, error, run, clear: () => setError(null) };
}
