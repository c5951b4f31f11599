import { useSyncExternalStore } from "react";

/** One timer for everything on the page that shows an age. */
class Ticker {
  #now = Date.now();
  #timer: ReturnType<typeof setInterval> | null = null;
  readonly #listeners = new Set<() => void>();
  constructor(private readonly ms: number) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    this.#timer ??= setInterval(this.#tick, this.ms);
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0 && this.#timer !== null) {
        clearInterval(this.#timer);
        this.#timer = null;
      }
    };
  };
  readonly now = (): number => {
    if (this.#timer === null) this.#now = Date.now();
    return this.#now;
  };
  readonly #tick = (): void => {
    this.#now = Date.now();
    for (const listener of this.#listeners) listener();
  };
}

const fine = new Ticker(1000);
const coarse = new Ticker(20_000);

/** The present, about as often as something as old as `at` needs it. */
export function useNow(at: number): number {
  const ticker = Date.now() - at < 120_000 ? fine : coarse;
  return Math.max(
    useSyncExternalStore(ticker.subscribe, () => Math.floor(ticker.now() / 1000) * 1000),
    at,
  );
}
