// The one connection of this page, and hooks to look at it.
import { keepPreviousData, QueryClient } from "@tanstack/react-query";
import { useSyncExternalStore } from "react";
import { type Agent, onLoggedOut, Problem } from "~/api/client";
import { Connection, type Link, type Live } from "./connection";
import type { Hive } from "./fold";
import { loadMe } from "./may";
import type { Stale } from "./stale";
import { Staleness, whenBack } from "./staleness";

export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: Number.POSITIVE_INFINITY, // events say what is stale (stale.ts)
      gcTime: 5 * 60_000,
      refetchOnWindowFocus: false,
      refetchOnReconnect: false,
      retry: (failures, error) => error instanceof Problem && error.status === 0 && failures < 3,
      placeholderData: keepPreviousData,
    },
    mutations: { retry: false },
  },
});

function frame(act: () => void): void {
  if (document.visibilityState === "visible") requestAnimationFrame(act);
  else setTimeout(act, 1000);
}

function wait(ms: number, wake: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (wake.aborted) return done();
    const timer = setTimeout(done, ms);
    const woken = () => {
      clearTimeout(timer);
      done();
    };
    wake.addEventListener("abort", woken, { once: true });
  });
}

const staleness = new Staleness(queries);
export const connection = new Connection(
  {
    fetch: (path, init) => fetch(path, init),
    now: () => performance.now(),
    frame,
    wait,
    reload: () => location.reload(),
  },
  (keys) => {
    staleness.tell(keys);
    if (tellsOfMe(keys)) void loadMe(); // another role counts at once
  },
);

function tellsOfMe(keys: readonly Stale[] | "all"): boolean {
  return keys !== "all" && keys.some(([noun]) => noun === "me");
}

/** Begins to follow; what it returns ends it. */
export function goLive(): () => void {
  const end = new AbortController();
  const hurry = () => connection.hurry();
  const seen = () => document.visibilityState === "visible" && connection.hurry();
  const drop = () => connection.drop();
  addEventListener("online", hurry);
  addEventListener("offline", drop);
  document.addEventListener("visibilitychange", seen);
  const forget = onLoggedOut(() => queries.cancelQueries());
  const rest = whenBack(connection, staleness.resumed);
  void connection.run(end.signal);
  return () => {
    end.abort();
    forget();
    rest();
    removeEventListener("online", hurry);
    removeEventListener("offline", drop);
    document.removeEventListener("visibilitychange", seen);
  };
}

export function useLive(): Live {
  return useSyncExternalStore(connection.subscribe, connection.current);
}

export function useHive(): Hive | null {
  return useSyncExternalStore(connection.subscribe, () => connection.current().hive);
}

/** What an agent without a budget of its own may spend a day; null: without a limit. */
export function useAgentBudget(): number | null {
  return useSyncExternalStore(
    connection.subscribe,
    () => connection.current().hive?.spent.agent_budget_usd ?? null,
  );
}

export function useLink(): Link {
  return useSyncExternalStore(connection.subscribe, () => connection.current().link);
}

export function useAgentRow(name: string): Agent | null {
  return useSyncExternalStore(
    connection.subscribe,
    () => connection.current().hive?.agents.get(name) ?? null,
  );
}
