// The whole page in a browser of no pixels, with a hive of one's own on the other side of `fetch`.
import { QueryClientProvider } from "@tanstack/react-query";
import { createMemoryHistory, RouterProvider } from "@tanstack/react-router";
import { act } from "react";
import { createRoot, type Root } from "react-dom/client";
import { vi } from "vitest";
import type { Agent } from "~/api/client";
import { makeRouter } from "~/app/router";
import { type Authority, type Me, setMe } from "~/live/may";
import { queries } from "~/live/store";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

export const AT = "2026-11-21T12:00:00Z";
const MAY: Record<string, Authority[]> = {
  viewer: ["read", "own"],
  operator: ["read", "own", "act", "approve"],
  admin: ["read", "own", "act", "approve", "admin"],
};

export function agentRow(name: string, more: Partial<Agent> = {}): Agent {
  return {
    id: name,
    name,
    state: "idle",
    reason: null,
    detail: null,
    until: null,
    since: AT,
    status: null,
    status_at: null,
    engine: "claude",
    model: "claude-sonnet-4-5",
    role: "worker",
    wish: "running",
    paused_at: null,
    turn: null,
    pending: null,
    waiting: 0,
    context: { tokens: null, window: null },
    spent_usd: 0,
    budget_usd: null,
    turns_per_hour: null,
    send_allow: null,
    crashes: 0,
    created_at: AT,
    ...more,
  } as unknown as Agent;
}

export function messageRow(id: number, more: object = {}): object {
  return {
    id,
    sender: "operator",
    recipient: "ana",
    kind: "mail",
    state: "handled",
    body: `words ${id}`,
    body_bytes: 7,
    body_path: null,
    files: [],
    sent_at: AT,
    attempts: 0,
    maybe_seen: false,
    next_try_at: null,
    last_error: null,
    turn: null,
    thread: null,
    reply_to: null,
    ...more,
  };
}

export interface Asked {
  readonly method: string;
  readonly path: string;
}

/** What a hive answers to this page, and what it was asked. */
export class Answers {
  readonly asked: Asked[] = [];
  agents: Agent[] = [agentRow("ana")];
  messages: object[] = [];
  gone: Agent[] = [];
  role = "operator";
  parked = 0;
  /** How requests that change something go; by default well. */
  change: (asked: Asked) => Promise<Response> = async () => json({ id: 9, items: [] });

  get changes(): Asked[] {
    return this.asked.filter((each) => each.method !== "GET");
  }
  me(): Me {
    return { name: "vera", role: this.role, may: MAY[this.role] } as unknown as Me;
  }
  answer = async (input: Request | string | URL, init?: RequestInit): Promise<Response> => {
    const url = new URL(input instanceof Request ? input.url : String(input), location.href);
    const method = (input instanceof Request ? input.method : init?.method) ?? "GET";
    const asked = { method, path: url.pathname.replace("/api/v1", "") };
    this.asked.push(asked);
    if (method !== "GET") return this.change(asked);
    return json(this.read(asked.path, url.searchParams));
  };
  private read(path: string, query: URLSearchParams): unknown {
    if (path === "/me") return this.me();
    if (path === "/state") return this.state();
    if (path === "/events/page" || path === "/inbox/unread" || path === "/turns")
      return { items: [], next: null };
    if (path === "/messages") {
      const state = query.get("state");
      const items = this.messages.filter(
        (each) => state === null || (each as { state: string }).state === state,
      );
      return { items, next: null };
    }
    if (path === "/agents") return { items: query.get("gone") ? this.gone : this.agents, next: null };
    if (path === "/passkeys")
      return { items: [], codes: 0, links: true, place: { here: false, address: "", why: "" }, next: null };
    if (path === "/health") return health;
    if (path === "/costs") return costs;
    if (path.startsWith("/why/")) return { subject: "ana", state: "idle", sentences: [], lines: [] };
    if (/^\/agents\/[^/]+$/.test(path))
      return { ...this.agents[0], work_folder: "/hive/agents/ana/work", limits: [] };
    return { items: [], entries: [], next: null };
  }
  private state(): object {
    return {
      store: "s1",
      event: 1,
      at: AT,
      name: "hive",
      data: "/hive",
      api: null,
      daemon: null,
      agents: this.agents,
      agents_next: null,
      agents_total: this.agents.length,
      mail: { waiting: 0, leased: 0, parked: this.parked, unread: 0 },
      turns: 0,
      operations: [],
      spent: { day: "2026-11-21", usd: 0, budget_usd: null, agent_budget_usd: null },
      disk: null,
      checked: null,
    };
  }
}

const health = {
  at: AT,
  reach: { ok: true, detail: "from this machine alone (127.0.0.1)", remedy: "" },
  version: "1",
  pid: 1,
  started_at: AT,
  data: "/hive",
  live_streams: 1,
  mail: { waiting: 0, leased: 0, parked: 0 },
  gauges: {},
  loop_lag_seconds: 0,
  events: 1,
  disk: { free: 50, total: 100 },
};
const costs = {
  day: "2026-11-21",
  since: "2026-11-08",
  at: AT,
  day_ends_at: "2026-11-22T00:00:00Z",
  usd: 0,
  last_hour_usd: 0,
  budget_usd: null,
  agent_budget_usd: null,
  items: [],
};

export function json(value: unknown, status = 200): Response {
  return new Response(JSON.stringify(value), { status, headers: { "Content-Type": "application/json" } });
}

/** Lets what is under way come to rest. */
export async function settle(rounds = 6): Promise<void> {
  for (let at = 0; at < rounds; at += 1)
    await act(async () => void (await new Promise((done) => setTimeout(done, 0))));
}

export async function until(holds: () => boolean, what = "it"): Promise<void> {
  for (let at = 0; at < 300; at += 1) {
    if (holds()) return;
    await settle(1);
  }
  throw new Error(`${what} did not happen: ${document.body.textContent?.slice(0, 400)}`);
}

/** Views come in chunks of their own; here they are there before they are asked for. */
const chunks = Promise.all([
  import("~/features/messages/messages"),
  import("~/features/health/health"),
  import("~/features/settings/settings"),
  import("~/features/audit/audit"),
  import("~/features/costs/costs"),
  import("~/features/terminal/terminal-tab"),
  import("~/features/agents/settings-tab"),
  import("~/features/agents/turns-tab"),
  import("~/features/palette/palette"),
]);

let open: { root: Root; host: HTMLElement } | null = null;

/** Opens the page at `path` with this hive behind it. */
export async function sit(answers: Answers, path: string): Promise<void> {
  leave();
  await chunks;
  vi.stubGlobal("fetch", (input: Request | string, init?: RequestInit) =>
    String(input instanceof Request ? input.url : input).includes("/api/v1/events?") ||
    String(input instanceof Request ? input.url : input).endsWith("/api/v1/events")
      ? Promise.resolve(new Response(new ReadableStream({})))
      : answers.answer(input, init),
  );
  queries.clear();
  setMe(answers.me());
  const router = makeRouter(createMemoryHistory({ initialEntries: [path] }));
  const host = document.createElement("div");
  document.body.append(host);
  const root = createRoot(host);
  open = { root, host };
  await act(async () => {
    root.render(
      <QueryClientProvider client={queries}>
        <RouterProvider router={router} />
      </QueryClientProvider>,
    );
  });
  await settle(10);
}

export function leave(): void {
  if (open === null) return;
  const { root, host } = open;
  act(() => root.unmount());
  host.remove();
  open = null;
  document.body.replaceChildren();
}

export const controls = (): HTMLElement[] =>
  [...document.querySelectorAll<HTMLElement>("button, [role=menuitem], [cmdk-item]")].filter(
    (each) => !(each as HTMLButtonElement).disabled && each.getAttribute("aria-disabled") !== "true",
  );
