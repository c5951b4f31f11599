// Tells queries that they are stale: each key at once, and then at most once in a while, however many events come.
import type { QueryClient } from "@tanstack/react-query";
import type { Stale } from "./stale";

/** A streaming swarm makes sixty events a second; nobody reads a list that changes more often than this. */
export const PAUSE_MS = 500;

export class Staleness {
  readonly #resting = new Map<string, { again: boolean }>();

  constructor(
    private readonly queries: Pick<QueryClient, "invalidateQueries">,
    private readonly later: (act: () => void, ms: number) => void = (act, ms) => setTimeout(act, ms),
  ) {}

  readonly tell = (keys: readonly Stale[] | "all"): void => {
    if (keys === "all") this.#one([]);
    else for (const key of keys) this.#one(key.at(-1) === "*" && key[0] === "agent" ? ["agent"] : key);
  };

  #one(key: readonly unknown[]): void {
    const name = key.join("\0");
    const resting = this.#resting.get(name);
    if (resting) {
      resting.again = true;
      return;
    }
    this.#resting.set(name, { again: false });
    void this.queries.invalidateQueries({ queryKey: key });
    this.later(() => {
      const { again } = this.#resting.get(name) ?? { again: false };
      this.#resting.delete(name);
      if (again) this.#one(key);
    }, PAUSE_MS);
  }
}
