import { infiniteQueryOptions, keepPreviousData, useInfiniteQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { api, body, type HiveEvent } from "~/api/client";
import { useAct } from "~/features/agents/actions";
import { FilePreview } from "~/features/files/file";
import { KINDS } from "~/live/kinds";
import { useHive } from "~/live/store";
import { moment } from "~/text/format";
import { Button } from "~/ui/button";
import { Select } from "~/ui/field";
import { Linked, WithFiles } from "~/ui/file-links";
import { Menu } from "~/ui/menu";
import { Empty, Notice, ProblemNotice } from "~/ui/notice";
import { Foreign } from "~/ui/text";
import { asCsv, asJsonLines, save } from "./export";

interface Asked {
  readonly agent?: string;
  readonly kind?: string;
}

const PAGE = 100;
const EXPORT_PAGE = 500;
/** More than this in one file is what `mel events --json` is for. */
const EXPORT_MOST = 20_000;

function ask(asked: Asked, limit: number, next: number) {
  return body(
    api.GET("/api/v1/events/page", {
      params: {
        query: {
          limit,
          ...(asked.agent ? { agent: asked.agent } : {}),
          ...(asked.kind ? { kind: asked.kind } : {}),
          ...(next ? { next } : {}),
        },
      },
    }),
  );
}

const events = (asked: Asked) =>
  infiniteQueryOptions({
    queryKey: ["events", asked],
    queryFn: ({ pageParam }) => ask(asked, PAGE, pageParam),
    initialPageParam: 0,
    getNextPageParam: (page) => page.next,
    placeholderData: keepPreviousData,
  });

/** Everything that happened, by whom, newest first. */
export function Audit(): ReactNode {
  const search = useSearch({ from: "/frame/audit" });
  const navigate = useNavigate({ from: "/audit" });
  const hive = useHive();
  const asked: Asked = {
    ...(search.agent ? { agent: search.agent } : {}),
    ...(search.kind ? { kind: search.kind } : {}),
  };
  const query = useInfiniteQuery(events(asked));
  const items = query.data?.pages.flatMap((page) => page.items) ?? [];
  const { busy, error, run } = useAct();
  const set = (change: object) =>
    void navigate({ search: (before) => ({ ...before, ...change }), replace: true });
  const names = [...(hive?.agents.keys() ?? [])].sort();
  const nouns = [...new Set(KINDS.map((kind) => `${kind.split(".")[0]}.`))];

  async function all(): Promise<HiveEvent[]> {
    const found: HiveEvent[] = [];
    let next = 0;
    do {
      const page = await ask(asked, EXPORT_PAGE, next);
      found.push(...page.items);
      next = page.next ?? 0;
    } while (next && found.length < EXPORT_MOST);
    return found;
  }
  const name = `${hive?.name ?? "hive"}-events-${new Date().toISOString().slice(0, 10)}`.replace(
    /[^\w.-]+/g,
    "-",
  );
  return (
    <div className="mx-auto max-w-[1200px] px-4 py-4 max-md:px-0">
      <div className="mb-3 flex flex-wrap items-center gap-2 max-md:px-4">
        <h1 className="mr-auto py-1 text-lg font-semibold">What happened</h1>
        <Select
          aria-label="Agent"
          value={search.agent ?? ""}
          onPick={(agent) => set({ agent: agent || undefined })}
          choices={[
            { value: "", label: "every agent" },
            ...(search.agent && !names.includes(search.agent) ? [search.agent, ...names] : names).map(
              (each) => ({ value: each, label: each }),
            ),
          ]}
        />
        <Select
          aria-label="Kind"
          value={search.kind ?? ""}
          onPick={(kind) => set({ kind: kind || undefined })}
          choices={[
            { value: "", label: "every kind" },
            ...nouns.map((noun) => ({ value: noun, label: `${noun}*` })),
            ...KINDS.map((kind) => ({ value: kind, label: kind })),
          ]}
        />
        <Menu
          trigger={
            <Button icon="download" busy={busy !== null}>
              Export
            </Button>
          }
          items={[
            {
              label: "JSON lines",
              act: () =>
                void run("export", async () =>
                  save(`${name}.jsonl`, asJsonLines(await all()), "application/x-ndjson"),
                ),
            },
            {
              label: "CSV",
              act: () => void run("export", async () => save(`${name}.csv`, asCsv(await all()), "text/csv")),
            },
          ]}
        />
      </div>
      {error !== null && <ProblemNotice error={error} />}
      {query.error !== null && <ProblemNotice error={query.error} />}
      {query.data && items.length === 0 && <Empty title="Nothing like that happened" />}
      <ul className="border-line bg-surface max-md:border-y md:rounded-md md:border">
        {items.map((event) => (
          <Line
            key={event.id}
            event={event}
            open={search.e === event.id}
            onToggle={() => set({ e: search.e === event.id ? undefined : event.id })}
          />
        ))}
      </ul>
      {query.hasNextPage && (
        <div className="py-3 text-center">
          <Button
            small
            look="quiet"
            busy={query.isFetchingNextPage}
            onClick={() => void query.fetchNextPage()}
          >
            Older
          </Button>
        </div>
      )}
      <div className="mt-4 max-md:px-4">
        <Notice>
          <p className="text-sm text-muted">
            Events are sealed in a chain of hashes. <code className="font-mono">mel events --verify</code>{" "}
            recomputes it. An export here holds the newest {EXPORT_MOST.toLocaleString("en")} that fit;{" "}
            <code className="font-mono">mel events --json</code> has no such end.
          </p>
        </Notice>
      </div>
    </div>
  );
}

function Line({
  event,
  open,
  onToggle,
}: {
  event: HiveEvent;
  open: boolean;
  onToggle: () => void;
}): ReactNode {
  return (
    <li className="border-b border-line last:border-b-0">
      <button
        type="button"
        aria-expanded={open}
        onClick={onToggle}
        className="flex min-h-8 w-full items-baseline gap-x-3 px-3 py-1 text-left hover:bg-hover max-md:flex-wrap"
      >
        <time dateTime={event.at} className="w-36 shrink-0 text-sm text-muted">
          {moment(event.at)}
        </time>
        <span className="w-44 shrink-0 truncate font-medium max-md:w-auto">
          <Foreign text={event.kind} />
        </span>
        <span className="w-24 shrink-0 truncate max-md:w-auto">
          {event.agent !== null && <Foreign text={event.agent} />}
        </span>
        <span className="min-w-0 flex-1 truncate text-muted max-md:min-w-[65%] max-md:empty:hidden">
          <Foreign text={[event.subject ?? "", gist(event.data)].filter(Boolean).join("  ")} />
        </span>
        <span className="ml-auto shrink-0 text-sm text-muted">
          <Foreign text={event.person === null ? event.by : `${event.by} (${event.person})`} />
        </span>
      </button>
      {open && (
        <div className="space-y-2 px-3 pb-3">
          <WithFiles
            files={filesOf(event)}
            preview={(file, close) => <FilePreview path={file} onClose={close} />}
          >
            <pre className="overflow-auto rounded-md border border-line bg-sunken px-3 py-2 font-mono text-sm whitespace-pre-wrap">
              <Linked text={JSON.stringify(event, null, 2)} />
            </pre>
          </WithFiles>
          <Subject event={event} />
        </div>
      )}
    </li>
  );
}

/** The files that it carries, which the hive vouched for (FR-11). */
export function filesOf(event: HiveEvent): readonly string[] {
  const { files } = event.data;
  return Array.isArray(files) ? files.filter((file): file is string => typeof file === "string") : [];
}

/** From an event to what it tells of. */
function Subject({ event }: { event: HiveEvent }): ReactNode {
  const look = "text-accent underline underline-offset-2";
  const message = /^m(\d+)$/.exec(event.subject ?? "");
  const turn = /^t(\d+)$/.exec(event.subject ?? "");
  return (
    <p className="flex gap-4 text-sm">
      {message && (
        <Link to="/messages" search={{ m: Number(message[1]) }} className={look}>
          Message {event.subject}
        </Link>
      )}
      {turn && event.agent !== null && (
        <Link
          to="/agents/$name"
          params={{ name: event.agent }}
          search={{ tab: "turns", turn: Number(turn[1]) }}
          className={look}
        >
          Turn {event.subject}
        </Link>
      )}
      {event.agent !== null && (
        <Link to="/agents/$name" params={{ name: event.agent }} search={{}} className={look}>
          {event.agent}
        </Link>
      )}
    </p>
  );
}

/** Its facts in one line. */
export function gist(data: Readonly<Record<string, unknown>>): string {
  return Object.entries(data)
    .filter(([key, value]) => key !== "id" && key !== "agent_id" && value !== null && value !== "")
    .map(([key, value]) => `${key} ${typeof value === "object" ? JSON.stringify(value) : String(value)}`)
    .join(", ");
}
