// One snapshot in the life of a page, then one stream, for ever (DB-1). What comes in is handed on once a frame.
import { type AgentPage, checkProtocol, problemOf, type State, TooOld, tellLoggedOut } from "~/api/client";
import { type Followed, fold, fromSnapshot, type Hive, type Rows } from "./fold";
import { readStream, type SseMessage } from "./sse";
import { type Stale, staleKeys } from "./stale";

export type Link = "connecting" | "live" | "away" | "logged_out";

export interface Live {
  readonly hive: Hive | null;
  readonly link: Link;
  /** Since when the link is what it is, in milliseconds. */
  readonly since: number;
}

/** The world, handed in so that tests can have another. */
export interface World {
  fetch(path: string, init: RequestInit): Promise<Response>;
  now(): number;
  /** Call once, soon: at the next frame, or a little later when nothing is drawn. */
  frame(act: () => void): void;
  wait(ms: number, wake: AbortSignal): Promise<void>;
  reload(): void;
}

/** The hive sends something at least every 15 s; silence for longer than this is no connection. */
export const SILENCE_MS = 20_000;
const SOONEST_MS = 300;
const LATEST_MS = 5_000;

export class Connection {
  #live: Live = { hive: null, link: "connecting", since: 0 };
  readonly #listeners = new Set<() => void>();
  readonly #queue: Followed[] = [];
  #framed = false;
  #delay = SOONEST_MS;
  #last: string | null = null;
  #hurry = new AbortController();
  #stream: AbortController | null = null;

  constructor(
    private readonly world: World,
    /** Told once a frame what became stale. `resumed` means: anything may have been missed. */
    private readonly onStale: (keys: readonly Stale[] | "all") => void,
  ) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };
  readonly current = (): Live => this.#live;

  /** Runs until `signal` ends it. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#once(signal);
      } catch (error) {
        if (error instanceof TooOld) return this.world.reload();
        if (error instanceof LoggedOut) return this.#set({ link: "logged_out" });
      }
      if (signal.aborted) return;
      this.#set({ link: this.#live.hive === null && this.#delay === SOONEST_MS ? "connecting" : "away" });
      this.#hurry = new AbortController();
      await this.world.wait(this.#delay, AbortSignal.any([signal, this.#hurry.signal]));
      this.#delay = Math.min(LATEST_MS, this.#delay * 2);
    }
  }

  /** Try again now: the network or the page has come back. */
  hurry(): void {
    this.#hurry.abort();
  }

  /** The network says that it is gone: silence would tell only much later. Whether the hive can still be reached, the next try shows. */
  drop(): void {
    this.#stream?.abort();
  }

  async #once(signal: AbortSignal): Promise<void> {
    if (this.#last === null) await this.#load(signal);
    const ended = new AbortController();
    this.#stream = ended;
    const watch = new Watch(this.world, SILENCE_MS, () => ended.abort());
    try {
      const response = await this.#ask("/api/v1/events?rows=true", AbortSignal.any([signal, ended.signal]), {
        "Last-Event-ID": this.#last ?? "",
      });
      this.#delay = SOONEST_MS;
      this.#set({ link: "live" });
      await readStream(response, (messages) => this.#take(messages, ended), watch.heard);
    } finally {
      watch.end();
      ended.abort();
    }
  }

  async #load(signal: AbortSignal): Promise<void> {
    const response = await this.#ask("/api/v1/state", signal, {});
    const state = (await response.json()) as State;
    state.agents.push(...(await this.#rest(state.agents_next, signal)));
    this.#last = `${state.store}-${state.event}`;
    this.#queue.length = 0;
    this.#set({ hive: fromSnapshot(state) });
    this.onStale("all");
  }

  /** The agents that the snapshot left out. They may be newer than it is: the rows that follow replace them anyhow. */
  async #rest(next: string | null, signal: AbortSignal): Promise<State["agents"]> {
    const rest: State["agents"] = [];
    for (let after = next; after !== null; ) {
      const response = await this.#ask(`/api/v1/agents?next=${encodeURIComponent(after)}`, signal, {});
      const page = (await response.json()) as AgentPage;
      rest.push(...page.items);
      after = page.next;
    }
    return rest;
  }

  async #ask(path: string, signal: AbortSignal, headers: Record<string, string>): Promise<Response> {
    const response = await this.world.fetch(path, { signal, headers, cache: "no-store" });
    checkProtocol(response);
    if (response.status === 401) {
      tellLoggedOut();
      throw new LoggedOut();
    }
    if (!response.ok) throw await problemOf(response);
    return response;
  }

  #take(messages: readonly SseMessage[], stream: AbortController): void {
    for (const message of messages) {
      if (message.event === "reset") {
        this.#last = null; // another store, or a number that is gone: load the snapshot again
        stream.abort();
        return;
      }
      const followed = parsed(message);
      if (followed === null) continue;
      if (message.id !== null) this.#last = message.id;
      this.#queue.push(followed);
    }
    if (this.#queue.length > 0 && !this.#framed) {
      this.#framed = true;
      this.world.frame(this.#flush);
    }
  }

  readonly #flush = (): void => {
    this.#framed = false;
    if (this.#live.hive === null || this.#queue.length === 0) return;
    const { hive, fresh } = fold(this.#live.hive, this.#queue.splice(0));
    this.#set({ hive });
    if (fresh.length > 0) this.onStale(together(fresh.map(staleKeys)));
  };

  #set(change: Partial<Live>): void {
    const { hive, link } = { ...this.#live, ...change };
    const { hive: before, link: linkBefore, since } = this.#live;
    if (hive === before && link === linkBefore) return;
    this.#live = { hive, link, since: link === linkBefore && since > 0 ? since : this.world.now() };
    for (const listener of this.#listeners) listener();
  }
}

class LoggedOut extends Error {}

/** Calls `silent` when `heard` was not called for a while. */
class Watch {
  readonly #end = new AbortController();
  #last: number;
  constructor(
    private readonly world: World,
    private readonly limit: number,
    private readonly silent: () => void,
  ) {
    this.#last = world.now();
    void this.#run();
  }
  readonly heard = (): void => {
    this.#last = this.world.now();
  };
  end(): void {
    this.#end.abort();
  }
  async #run(): Promise<void> {
    while (!this.#end.signal.aborted) {
      const left = this.#last + this.limit - this.world.now();
      if (left <= 0) return this.silent();
      await this.world.wait(left, this.#end.signal);
    }
  }
}

function parsed(message: SseMessage): Followed | null {
  try {
    const data: unknown = JSON.parse(message.data);
    if (message.event === "rows") return { type: "rows", rows: data as Rows };
    return message.event === "message" ? { type: "event", event: data as never } : null;
  } catch {
    return null; // one bad line must not end the stream (LE-15)
  }
}

/** The keys of many events, each once. */
export function together(many: readonly (readonly Stale[] | "all")[]): readonly Stale[] | "all" {
  const found = new Map<string, Stale>();
  for (const keys of many) {
    if (keys === "all") return "all";
    for (const key of keys) found.set(key.join("\0"), key);
  }
  return [...found.values()];
}
