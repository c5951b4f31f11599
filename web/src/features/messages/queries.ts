import { infiniteQueryOptions, keepPreviousData } from "@tanstack/react-query";
import { api, body } from "~/api/client";

export type MessageState = "waiting" | "leased" | "handled" | "parked";
export const MESSAGE_STATES: readonly MessageState[] = ["waiting", "leased", "handled", "parked"];

export interface Asked {
  readonly q?: string;
  readonly agent?: string;
  readonly state?: MessageState;
  readonly thread?: number;
}

/** Messages that fit, newest first. Its key says whose mail makes it stale (live/stale.ts). */
export const messages = (asked: Asked, limit = 50) =>
  infiniteQueryOptions({
    queryKey: ["messages", asked.agent ?? "*", asked, limit],
    queryFn: ({ pageParam }) =>
      body(
        api.GET("/api/v1/messages", {
          params: {
            query: {
              limit,
              ...(asked.agent ? { agent: asked.agent } : {}),
              ...(asked.state ? { state: asked.state } : {}),
              ...(asked.thread ? { thread: asked.thread } : {}),
              ...(asked.q ? { text: asked.q } : {}),
              ...(pageParam ? { next: pageParam } : {}),
            },
          },
        }),
      ),
    initialPageParam: 0,
    getNextPageParam: (page) => page.next,
    placeholderData: keepPreviousData,
  });
