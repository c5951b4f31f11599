import { useInfiniteQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import type { ReactNode } from "react";
import type { Agent, Turn } from "~/api/client";
import { causeOf, TurnBlock, toolsOf } from "~/features/turns/turn-block";
import { count, money, took } from "~/text/format";
import { Button } from "~/ui/button";
import { Empty, ProblemNotice } from "~/ui/notice";
import { Ago, Foreign } from "~/ui/text";
import { agentTurns } from "./queries";

/** Every turn with its statistics; one opens to what it said and did. */
export function TurnsTab({ agent }: { agent: Agent }): ReactNode {
  const query = useInfiniteQuery(agentTurns(agent.name));
  const { turn: opened } = useSearch({ from: "/frame/agents/$name" });
  const navigate = useNavigate({ from: "/agents/$name" });
  const turns = query.data?.pages.flatMap((page) => page.items) ?? [];
  if (query.error !== null) return <ProblemNotice error={query.error} />;
  if (query.data && turns.length === 0)
    return (
      <Empty title="No turns yet">
        <p>A turn is one run of the engine: from the mail that woke it to its result.</p>
      </Empty>
    );
  const open = (id: number | undefined) =>
    void navigate({ search: (before) => ({ ...before, turn: id }) as typeof before, replace: true });
  return (
    <div className="px-4 py-3">
      <table className="w-full border-collapse">
        <thead className="text-left text-sm text-muted">
          <tr className="border-b border-line">
            <Head>turn</Head>
            <Head>result</Head>
            <Head className="w-full max-md:hidden">woken by, tools</Head>
            <Head right>new</Head>
            <Head right className="max-md:hidden">
              re-read
            </Head>
            <Head right>cost</Head>
            <Head right className="max-md:pr-0">
              took
            </Head>
            <Head right className="max-md:hidden">
              began
            </Head>
          </tr>
        </thead>
        <tbody>
          {turns.map((turn) => (
            <Line
              key={turn.id}
              turn={turn}
              open={turn.id === opened}
              onOpen={(is) => open(is ? turn.id : undefined)}
            />
          ))}
        </tbody>
      </table>
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
    </div>
  );
}

function Head({
  children,
  right,
  className,
}: {
  children: ReactNode;
  right?: boolean;
  className?: string;
}): ReactNode {
  return (
    <th
      scope="col"
      className={`h-8 px-2 font-normal whitespace-nowrap first:pl-0 last:pr-0 ${right ? "text-right" : ""} ${className ?? ""}`}
    >
      {children}
    </th>
  );
}

function Line({
  turn,
  open,
  onOpen,
}: {
  turn: Turn;
  open: boolean;
  onOpen: (open: boolean) => void;
}): ReactNode {
  const { input, cache_creation, cache_read } = turn.tokens;
  const fresh = input === null ? null : input + (cache_creation ?? 0);
  const cell = "h-9 px-2 whitespace-nowrap first:pl-0 last:pr-0";
  return (
    <>
      <tr
        className={`cursor-pointer border-b border-line hover:bg-hover ${open ? "bg-hover" : ""}`}
        onClick={() => onOpen(!open)}
      >
        <td className={cell}>
          <button type="button" aria-expanded={open} className="font-medium">
            t{turn.id}
          </button>
        </td>
        <td
          className={`${cell} ${turn.result === "ok" ? "text-muted" : turn.state === "ended" ? "text-danger" : "text-live"}`}
        >
          {turn.state === "ended" ? (turn.result ?? "ended").replaceAll("_", " ") : turn.state}
          {turn.reason !== null && (
            <span className="text-muted max-md:block max-md:text-sm">
              {" "}
              {turn.reason.replaceAll("_", " ")}
            </span>
          )}
        </td>
        <td className={`${cell} max-w-0 truncate text-muted max-md:hidden`}>
          <Foreign text={[causeOf(turn), toolsOf(turn)].filter(Boolean).join(" · ")} />
        </td>
        <td className={`${cell} text-right`}>{fresh === null ? "" : count(fresh)}</td>
        <td className={`${cell} text-right text-muted max-md:hidden`}>
          {cache_read === null ? "" : count(cache_read)}
        </td>
        <td className={`${cell} text-right`}>{turn.cost_usd === null ? "" : money(turn.cost_usd)}</td>
        <td className={`${cell} text-right max-md:pr-0`}>
          {turn.duration_ms === null ? "" : took(turn.duration_ms)}
        </td>
        <td className={`${cell} text-right text-muted max-md:hidden`}>
          <Ago at={turn.started_at} />
        </td>
      </tr>
      {open && (
        <tr>
          <td colSpan={8} className="border-b border-line py-2">
            <TurnBlock turn={turn} open onToggle={() => onOpen(false)} />
          </td>
        </tr>
      )}
    </>
  );
}
