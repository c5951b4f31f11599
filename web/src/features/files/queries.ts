import { queryOptions } from "@tanstack/react-query";
import { api, body } from "~/api/client";

/** A file as it is now: agents change theirs, so nothing is kept. */
export const fileContent = (path: string) =>
  queryOptions({
    queryKey: ["file", path],
    queryFn: () => body(api.GET("/api/v1/files", { params: { query: { path } } })),
    staleTime: 0,
    gcTime: 0,
    retry: false,
    refetchOnWindowFocus: false,
  });

export function downloadAddress(path: string): string {
  return `/api/v1/files/download?${new URLSearchParams({ path })}`;
}
