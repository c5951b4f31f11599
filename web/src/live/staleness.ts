// Tells queries that they are stale: each key at once, and then at most once in a while, however many events come.
import type { Query, QueryClient } from "@tanstack/react-query";
import type { Connection } from "./connection";
import type { Stale } from "./stale";

/** A streaming swarm makes sixty events a second; nobody reads a list that changes more often than this. */
export const PAUSE_MS = 500;

export class Staleness {
  readonly #resting = new Map<string, { again: boolean }>();

  constructor(
    private readonly queries: Pick<QueryClient, "invalidateQueries" | "getQueryCache">,
    private readonly later: (act: () => void, ms: number) => void = (act, ms) => setTimeout(act, ms),
  ) {}

  readonly tell = (keys: readonly Stale[] | "all"): void => {
    if (keys === "all") this.#one([]);
    else for (const key of keys) this.#one(key.at(-1) === "*" && key[0] === "agent" ? ["agent"] : key);
  };

  /** Asks again what failed, or waits to be tried again: the hive is back. */
  readonly resumed = (): void => {
    void this.queries.invalidateQueries({ predicate: ({ state }) => failed(state) });
  };

  #one(key: readonly unknown[]): void {
    const name = key.join("\0");
    const resting = this.#resting.get(name);
    if (resting) {
      resting.again = true;
      return;
    }
    this.#resting.set(name, { again: false });
    // What is asked for the first time goes on, and its answer may be older than the event: it is asked once more.
    for (const query of this.queries.getQueryCache().findAll({ queryKey: key, predicate: begins }))
      void query.promise?.then(() => this.#one(query.queryKey)).catch(() => {});
    void this.queries.invalidateQueries({ queryKey: key });
    this.later(() => {
      const { again } = this.#resting.get(name) ?? { again: false };
      this.#resting.delete(name);
      if (again) this.#one(key);
    }, PAUSE_MS);
  }
}

function begins({ state }: Query): boolean {
  return state.data === undefined && state.fetchStatus !== "idle";
}

function failed(state: Query["state"]): boolean {
  return state.isInvalidated || state.status === "error" || state.fetchFailureCount > 0;
}

/** Has what failed while the hive was away asked again each time it is back. */
export function whenBack(
  connection: Pick<Connection, "current" | "subscribe">,
  resumed: () => void,
): () => void {
  let before = connection.current().link;
  return connection.subscribe(() => {
    const { link } = connection.current();
    if (link === "live" && before !== "live") resumed();
    before = link;
  });
}
