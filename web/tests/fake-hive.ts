// A hive as the page's connection sees it: a snapshot by pages, a stream of rows and events, losses.
import { expect } from "vitest";
import type { Agent, AgentPage, HiveEvent, State } from "~/api/client";
import type { Live, World } from "~/live/connection";
import { fromSnapshot, type Rows } from "~/live/fold";

export const NAMES = ["ana", "ben", "cleo"] as const;
export const PAGE = 2;

export function agent(name: string, version: number): Agent {
  return { name, id: name, state: "idle", waiting: version, detail: null } as unknown as Agent;
}
export function event(id: number, kind = "agent.changed"): HiveEvent {
  return {
    id,
    at: "2026-11-21T12:00:00Z",
    kind,
    agent: "ana",
    subject: null,
    by: "operator",
    person: null,
    via: null,
    request_id: null,
    data: {},
  };
}

/** A hive as the page sees it from outside: the same rules as api/board.py, small enough to walk at random. */
export class FakeHive {
  store = "s1";
  event = 0;
  readonly agents = new Map<string, Agent>();
  readonly changedAt = new Map<string, number>();
  turns = 0;
  readonly events: HiveEvent[] = [];
  readonly streams = new Set<(text: string) => void>();
  readonly cuts = new Set<() => void>();
  snapshots = 0;

  snapshot(): State {
    const mail = { waiting: 0, leased: 0, parked: 0, unread: this.turns };
    const spent = { day: "2026-11-21", usd: this.turns, budget_usd: null, agent_budget_usd: null };
    const { items: agents, next: agents_next } = this.page("");
    return {
      store: this.store,
      event: this.event,
      at: "",
      name: "hive",
      data: "",
      api: null,
      daemon: null,
      agents,
      agents_next,
      agents_total: this.agents.size,
      mail,
      turns: this.turns,
      operations: [],
      spent,
      disk: null,
      checked: null,
    };
  }
  /** Two agents at a time, by name, so that every snapshot leaves some out. */
  page(after: string): AgentPage {
    const names = [...this.agents.keys()].filter((name) => name > after).sort();
    const items = names.slice(0, PAGE).flatMap((name) => this.agents.get(name) ?? []);
    return { items, next: names.length > PAGE ? (names[PAGE - 1] ?? null) : null };
  }
  change(name: string, gone: boolean): void {
    this.event += 1;
    this.turns += 1;
    if (gone) this.agents.delete(name);
    else this.agents.set(name, agent(name, this.event));
    this.changedAt.set(name, this.event);
    const one = event(this.event);
    this.events.push(one);
    this.say(`id: ${this.store}-${one.id}\ndata: ${JSON.stringify(one)}\n\n${this.rows([name])}`);
  }
  rows(names: readonly string[]): string {
    const { mail, turns, operations, spent, checked } = this.snapshot();
    const there = names.flatMap((name) => this.agents.get(name) ?? []);
    const gone = names.filter((name) => !this.agents.has(name));
    const data: Rows = {
      event: this.event,
      agents: there,
      gone,
      hive: { mail, turns, operations, spent, checked, disk: null },
    };
    return `event: rows\ndata: ${JSON.stringify(data)}\n\n`;
  }
  say(text: string): void {
    for (const stream of [...this.streams]) stream(text);
  }
  cut(): void {
    for (const each of [...this.cuts]) each();
  }
  restore(): void {
    this.store += "x";
    this.cut();
  }

  async answer(path: string, init: RequestInit): Promise<Response> {
    if (path === "/api/v1/state") {
      this.snapshots += 1;
      return new Response(JSON.stringify(this.snapshot()));
    }
    if (path.startsWith("/api/v1/agents?")) {
      const after = new URLSearchParams(path.split("?")[1]).get("next") ?? "";
      return new Response(JSON.stringify(this.page(after)));
    }
    const last = new Headers(init.headers).get("Last-Event-ID") ?? "";
    const [store = "", number = "0"] = last.split("-");
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        const encoder = new TextEncoder();
        const send = (text: string) => controller.enqueue(encoder.encode(text));
        const end = () => {
          this.streams.delete(send);
          this.cuts.delete(end);
          try {
            controller.error(new TypeError("network"));
          } catch {
            // closed by the page already
          }
        };
        init.signal?.addEventListener("abort", end, { once: true });
        send("retry: 1000\n\n");
        if (store !== this.store) {
          send(`id: ${this.store}-${this.event}\nevent: reset\ndata: {}\n\n`);
        } else {
          for (const one of this.events)
            if (one.id > Number(number)) send(`id: ${store}-${one.id}\ndata: ${JSON.stringify(one)}\n\n`);
          const missed = [...this.changedAt].filter(([, at]) => at >= Number(number)).map(([name]) => name);
          send(this.rows(missed));
        }
        this.streams.add(send);
        this.cuts.add(end);
      },
    });
    return new Response(body);
  }
}

/** Everything that waits waits for the next turn of the loop; nothing here knows a clock. */
export function worldOf(hive: FakeHive, waits: number[] = []): World {
  return {
    fetch: (path, init) => hive.answer(path, init),
    now: () => 1,
    frame: (act) => setTimeout(act, 0),
    wait: (ms, wake) => {
      waits.push(ms);
      if (ms > 10_000)
        return new Promise((done) => wake.addEventListener("abort", () => done(), { once: true }));
      return new Promise((done) => setTimeout(done, 0));
    },
    reload: () => {},
  };
}

export const turns = async (many = 12) => {
  for (let at = 0; at < many; at += 1) await new Promise((done) => setTimeout(done, 0));
};
export async function until(holds: () => boolean): Promise<void> {
  for (let at = 0; at < 400 && !holds(); at += 1) await turns(1);
  expect(holds()).toBe(true);
}
export const shown = (live: Live) =>
  live.hive && {
    event: live.hive.event,
    agents: [...live.hive.agents].sort(),
    turns: live.hive.turns,
    mail: live.hive.mail,
  };
export const cold = (hive: FakeHive) => {
  const now = fromSnapshot({ ...hive.snapshot(), agents: [...hive.agents.values()] });
  return { event: now.event, agents: [...now.agents].sort(), turns: now.turns, mail: now.mail };
};
export const same = (live: Live, hive: FakeHive) =>
  JSON.stringify(shown(live)) === JSON.stringify(cold(hive));
