// What the view of an agent's files asks for. No event tells that a file has changed: they are looked at when shown.
import { queryOptions } from "@tanstack/react-query";
import { api, body } from "~/api/client";
import type { components } from "~/api/schema";

export type Entry = components["schemas"]["EntryView"];

export const folder = (path: string) =>
  queryOptions({
    queryKey: ["folder", path] as const,
    queryFn: () => body(api.GET("/api/v1/folders", { params: { query: { path: path.replace(/\/$/, "") } } })),
    staleTime: 0,
    retry: false,
  });

export const fileContent = (path: string) =>
  queryOptions({
    queryKey: ["file", path] as const,
    queryFn: () => body(api.GET("/api/v1/files", { params: { query: { path } } })),
    staleTime: 0,
    retry: false,
  });
