import { queryOptions, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { api, body, type Message } from "~/api/client";
import { markRead, useAct } from "~/features/agents/actions";
import { useHive } from "~/live/store";
import { firstLine, plural } from "~/text/format";
import { Button } from "~/ui/button";
import { Icon } from "~/ui/icons";
import { Ago, Foreign, Name } from "~/ui/text";

const SHOWN = 4;

export const unread = queryOptions({
  queryKey: ["inbox", "unread"],
  queryFn: async () =>
    (await body(api.GET("/api/v1/inbox/unread", { params: { query: { limit: 20 } } }))).items,
});

/** What waits for a person, above everything else; nothing at all when nothing does. */
export function ForYou(): ReactNode {
  const hive = useHive();
  const { data = [] } = useQuery(unread);
  const { busy, run } = useAct();
  const parked = hive?.mail.parked ?? 0;
  const more = Math.max(data.length, hive?.mail.unread ?? 0) - SHOWN;
  if (data.length === 0 && parked === 0) return null;
  return (
    <section aria-label="For you" className="mb-5 max-md:px-4">
      <div className="mb-1 flex items-center gap-3">
        <h2 className="font-semibold text-accent">For you</h2>
        {data.length > 0 && (
          <Button
            needs="act"
            small
            look="quiet"
            icon="check"
            className="ml-auto"
            busy={busy === "all"}
            onClick={() => void run("all", () => markRead(data.map((message) => message.id)))}
          >
            Mark {data.length === 1 ? "it" : `these ${data.length}`} read
          </Button>
        )}
      </div>
      <ul className="rounded-md border border-line bg-surface">
        {parked > 0 && (
          <li className="border-b border-line last:border-b-0">
            <Link
              to="/messages"
              search={{ state: "parked" }}
              className="flex min-h-9 items-center gap-2 px-3 hover:bg-hover"
            >
              <span className="font-medium text-warn">{plural(parked, "message")} failed too often</span>
              <span className="text-muted max-md:hidden">
                {parked === 1 ? "it waits" : "they wait"} for you to retry
              </span>
              <Icon name="chevron" className="ml-auto text-muted" />
            </Link>
          </li>
        )}
        {data.slice(0, SHOWN).map((message) => (
          <Mail key={message.id} message={message} />
        ))}
        {data.length > 0 && more > 0 && (
          <li>
            <Link
              to="/messages"
              search={{ agent: "operator", state: "waiting" }}
              className="flex min-h-9 items-center px-3 text-muted hover:bg-hover"
            >
              {more} more
            </Link>
          </li>
        )}
      </ul>
    </section>
  );
}

function Mail({ message }: { message: Message }): ReactNode {
  return (
    <li className="border-b border-line last:border-b-0">
      <Link
        to="/agents/$name"
        params={{ name: message.sender }}
        search={{}}
        className="flex min-h-9 items-baseline gap-3 px-3 py-1.5 hover:bg-hover"
      >
        <span className="w-24 shrink-0 font-semibold">
          <Name>{message.sender}</Name>
        </span>
        <span className="min-w-0 flex-1 truncate">
          <Foreign text={firstLine(message.body)} />
        </span>
        <Ago at={message.sent_at} className="shrink-0 text-sm text-muted" />
      </Link>
    </li>
  );
}
