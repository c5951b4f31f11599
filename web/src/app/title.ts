import { useMatches } from "@tanstack/react-router";
import { useEffect } from "react";
import { useHive } from "~/live/store";
import { visible } from "~/text/visible";

/** What waits for a person stands in the page's title and on its icon: `2 · ana · Melipona`. */
export function useTitle(): void {
  const hive = useHive();
  const params = useMatches({ select: (matches) => matches.at(-1)?.params as { name?: string } | undefined });
  const waits =
    hive === null
      ? 0
      : hive.mail.unread +
        hive.mail.parked +
        [...hive.agents.values()].filter((agent) => agent.state === "needs_you").length;
  const where = params?.name;
  useEffect(() => {
    const parts = [waits > 0 ? String(waits) : "", where ? visible(where, false) : "", "Melipona"];
    document.title = parts.filter(Boolean).join(" · ");
  }, [waits, where]);
  useEffect(() => {
    const icon = document.querySelector<HTMLLinkElement>("link[rel=icon]");
    if (icon) icon.href = waits > 0 ? BADGED : "/assets/mark.svg";
  }, [waits]);
}

const BADGED = `data:image/svg+xml,${encodeURIComponent(
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20"><path d="M10 1.5 17.4 5.75v8.5L10 18.5l-7.4-4.25v-8.5z" fill="none" stroke="#b07a1e" stroke-width="1.8"/><circle cx="10" cy="10" r="2.6" fill="#b07a1e"/><circle cx="15" cy="5" r="5" fill="#d9480f"/></svg>',
)}`;
