// What the person at this page may do. Until the hive has said so, everything is offered: it refuses by itself.
import { useSyncExternalStore } from "react";
import { api, body } from "~/api/client";
import type { components } from "~/api/schema";

export type Me = components["schemas"]["Me"];
export type Authority = "read" | "own" | "act" | "approve" | "admin";

let me: Me | null = null;
const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function setMe(next: Me | null): void {
  me = next;
  for (const listener of listeners) listener();
}

/** Asks the hive; a failure changes nothing. */
export async function loadMe(): Promise<void> {
  try {
    setMe((await body(api.GET("/api/v1/me"))) ?? null);
  } catch {
    // Who is away or logged out is told elsewhere.
  }
}

export function mayNow(needed: Authority): boolean {
  return me === null || me.may.includes(needed);
}

export function useMe(): Me | null {
  return useSyncExternalStore(subscribe, () => me);
}

export function useMay(needed: Authority): boolean {
  useMe();
  return mayNow(needed);
}

/** Why something is not offered; null when it is. */
export function whyNot(needed: Authority): string | null {
  if (me === null || me.may.includes(needed)) return null;
  const role = needed === "admin" ? "an admin" : "an operator";
  return `You are a ${me.role} here; that takes ${role}`;
}
