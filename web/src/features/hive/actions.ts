// What a person can do to the hive as a whole, and what is asked before it.
import { queryOptions } from "@tanstack/react-query";
import { api, body } from "~/api/client";

/** Questions about the hive that an address may ask: `?hive=backup`. */
export const HIVE_ASKED = ["backup", "stop"] as const;
export type HiveAsked = (typeof HIVE_ASKED)[number];

export interface Check {
  readonly name: string;
  readonly ok: "yes" | "warn" | "no";
  readonly detail: string;
  readonly remedy: string;
}

/** `mel doctor` in the daemon. It starts a real box, so it runs when somebody asks for it and at no other time. */
export const doctor = queryOptions({
  queryKey: ["doctor"],
  queryFn: async () => ((await body(api.POST("/api/v1/doctor"))) as unknown as { items: Check[] }).items,
  enabled: false,
  retry: false,
  staleTime: 0,
});

export interface Backup {
  readonly path: string;
  readonly bytes: number;
  /** What could not be read and was left out. */
  readonly notes: readonly string[];
}

export async function backUp(path: string, homes: boolean): Promise<Backup> {
  return (await body(api.POST("/api/v1/backup", { body: { path, homes } }))) as unknown as Backup;
}

export async function stopHive(): Promise<void> {
  await api.POST("/api/v1/stop");
}
