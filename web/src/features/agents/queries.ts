// What the agent's views ask for. Keys begin with what events make stale (live/stale.ts).
import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { api, body } from "~/api/client";

const PAGE = 50;
const NOTES = 100;

export const keys = {
  agent: (name: string) => ["agent", name] as const,
  messages: (name: string) => ["messages", name, "all"] as const,
  waiting: (name: string) => ["messages", name, "waiting"] as const,
  turns: (name: string) => ["turns", name] as const,
  turn: (id: number) => ["turn", id] as const,
  why: (subject: string) => ["why", subject] as const,
  tombstones: ["tombstones"] as const,
};

export const agentDetail = (name: string) =>
  queryOptions({
    queryKey: keys.agent(name),
    queryFn: () => body(api.GET("/api/v1/agents/{name}", { params: { path: { name } } })),
  });

export const agentMessages = (name: string) =>
  infiniteQueryOptions({
    queryKey: keys.messages(name),
    queryFn: ({ pageParam }) =>
      body(
        api.GET("/api/v1/messages", {
          params: { query: { agent: name, limit: PAGE, ...(pageParam ? { next: pageParam } : {}) } },
        }),
      ),
    initialPageParam: 0,
    getNextPageParam: (page) => page.next,
  });

/** The mail that the agent has not been handed yet, oldest first. */
export const agentQueue = (name: string) =>
  queryOptions({
    queryKey: keys.waiting(name),
    queryFn: async () => {
      const page = await body(
        api.GET("/api/v1/messages", { params: { query: { agent: name, state: "waiting" } } }),
      );
      return page.items.filter((message) => message.recipient === name).reverse();
    },
  });

/** What persons and the daemon did to the agent, newest first: notes between what it said. */
export const agentNotes = (name: string) =>
  queryOptions({
    queryKey: [...keys.agent(name), "notes"] as const,
    queryFn: async () => {
      const query = { agent: name, kind: "agent.", limit: NOTES };
      return (await body(api.GET("/api/v1/events/page", { params: { query } }))).items;
    },
  });

export const agentTurns = (name: string) =>
  infiniteQueryOptions({
    queryKey: keys.turns(name),
    queryFn: ({ pageParam }) =>
      body(
        api.GET("/api/v1/agents/{name}/turns", {
          params: { path: { name }, query: { limit: PAGE, ...(pageParam ? { next: pageParam } : {}) } },
        }),
      ),
    initialPageParam: 0,
    getNextPageParam: (page) => page.next,
  });

export interface Why {
  readonly sentences: readonly string[];
  readonly next_actor: string | null;
  readonly timer: { readonly what: string; readonly until: string } | null;
  readonly commands: readonly string[];
}

export const why = (subject: string) =>
  queryOptions({
    queryKey: keys.why(subject),
    queryFn: async () =>
      (await body(api.GET("/api/v1/why/{subject}", { params: { path: { subject } } }))) as unknown as Why,
  });

/** Destroyed agents whose files are kept. */
export const tombstones = queryOptions({
  queryKey: keys.tombstones,
  queryFn: async () => {
    const all = await body(api.GET("/api/v1/agents", { params: { query: { gone: true } } }));
    return all.items.filter((agent) => agent.wish === "destroyed");
  },
});
