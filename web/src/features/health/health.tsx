import { queryOptions, useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { api, body, type Health } from "~/api/client";
import { doctor, type HiveAsked } from "~/features/hive/actions";
import { useLive } from "~/live/store";
import { bytes, moment, span } from "~/text/format";
import { Button } from "~/ui/button";
import { Meter } from "~/ui/meter";
import { Notice, ProblemNotice } from "~/ui/notice";
import { StateShape } from "~/ui/state";
import { Ago, Foreign } from "~/ui/text";

const AGAIN_MS = 5000;
const DISK_WARN = 0.85;

const health = queryOptions({
  queryKey: ["health"],
  queryFn: () => body(api.GET("/api/v1/health")),
  refetchInterval: AGAIN_MS, // gauges are no events; only while this view is open
  refetchIntervalInBackground: false,
});

/** The daemon, its disk and its queues, and what the doctor says about the machine. */
export function HealthView(): ReactNode {
  const query = useQuery(health);
  return (
    <div className="mx-auto max-w-3xl space-y-8 px-4 py-4">
      <h1 className="text-lg font-semibold">Health</h1>
      {query.error !== null && <ProblemNotice error={query.error} />}
      {query.data && <Numbers health={query.data} heard={query.dataUpdatedAt} />}
      <Doctor />
      <WholeHive />
    </div>
  );
}

function Numbers({ health: it, heard }: { health: Health; heard: number }): ReactNode {
  const { link } = useLive();
  const used = 1 - it.disk.free / it.disk.total;
  const lag = it.loop_lag_seconds * 1000;
  const facts: [string, ReactNode][] = [
    [
      "daemon",
      <>
        version {it.version}, process {it.pid}, up <Ago at={it.started_at} />
      </>,
    ],
    [
      "data",
      <code key="d" className="font-mono text-sm">
        <Foreign text={it.data} />
      </code>,
    ],
    [
      "can be reached",
      <span key="r" className={it.reach.ok ? "" : "text-warn"}>
        <Foreign text={it.reach.detail} />
        {it.reach.remedy !== "" && (
          <span className="block text-muted">
            <Foreign text={it.reach.remedy} />
          </span>
        )}
      </span>,
    ],
    ["clocks", <Clocks key="c" at={it.at} heard={heard} />],
    ["this page", link === "live" ? "follows live" : "not connected"],
    ["pages that follow", it.live_streams],
    ["mail", `${it.mail.waiting} waiting, ${it.mail.leased} worked on, ${it.mail.parked} parked`],
    ["store's queue", it.gauges.store_queue ?? "not known"],
    [
      "write-ahead log",
      it.gauges.store_wal_bytes === undefined ? "not known" : bytes(it.gauges.store_wal_bytes),
    ],
    [
      "loop is late by",
      <span key="l" className={lag > 100 ? "text-warn" : ""}>
        {lag.toFixed(1)} ms
      </span>,
    ],
    ["events so far", it.events.toLocaleString("en")],
  ];
  return (
    <section className="space-y-4">
      {used >= DISK_WARN && (
        <Notice tone={used >= 0.95 ? "danger" : "warn"}>
          <p className="font-medium">The disk is {Math.round(used * 100)} % full</p>
          <p className="text-muted">
            A full disk stops all agents. Free space below {it.data}, or move the hive.
          </p>
        </Notice>
      )}
      <div className="space-y-1">
        <p className="flex justify-between">
          <span>Disk of the hive</span>
          <span className="text-muted">
            {bytes(it.disk.free)} free of {bytes(it.disk.total)}
          </span>
        </p>
        <Meter
          value={it.disk.total - it.disk.free}
          most={it.disk.total}
          label={`Disk: ${Math.round(used * 100)} % used`}
        />
      </div>
      <dl className="grid grid-cols-[max-content_1fr] gap-x-6 gap-y-1">
        {facts.map(([name, value]) => (
          <div key={name} className="contents">
            <dt className="text-muted">{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

const CLOCK_WARN_MS = 5000;
const jumps = queryOptions({
  queryKey: ["events", "clock.jumped", "newest"],
  queryFn: () =>
    body(api.GET("/api/v1/events/page", { params: { query: { kind: "clock.jumped", limit: 1 } } })),
});

/** How far the hive's clock and this browser's are apart; what goes wrong with ages when they are. */
export function apart(at: string, heard: number): string | null {
  const ms = Date.parse(at) - heard;
  if (Math.abs(ms) < CLOCK_WARN_MS) return null;
  return `the hive's clock is ${span(Math.abs(ms))} ${ms > 0 ? "ahead of" : "behind"} this browser's: ages here are wrong by that`;
}

function Clocks({ at, heard }: { at: string; heard: number }): ReactNode {
  const { data } = useQuery(jumps);
  const wrong = apart(at, heard);
  const last = data?.items[0];
  return (
    <>
      <span className={wrong === null ? "" : "text-warn"}>
        {wrong ?? "the hive's and this browser's agree"}
      </span>
      {last && (
        <span className="block text-muted">
          the hive's was last moved <Ago at={last.at} /> ago, by {String(last.data.seconds)} s
        </span>
      )}
    </>
  );
}

/** What can be done to all of it at once. */
function WholeHive(): ReactNode {
  const navigate = useNavigate();
  const ask = (hive: HiveAsked) => () =>
    void navigate({ to: ".", search: (before: object) => ({ ...before, hive }) });
  return (
    <section className="space-y-3">
      <h2 className="font-semibold">The whole hive</h2>
      <div className="flex flex-wrap gap-2">
        <Button needs="admin" icon="download" onClick={ask("backup")}>
          Back up
        </Button>
        <Button needs="admin" icon="stop" onClick={ask("stop")}>
          Stop the hive
        </Button>
      </div>
    </section>
  );
}

const SHAPES = { yes: "working", warn: "stuck", no: "failed" } as const;
const WORDS = { yes: "works", warn: "could be better", no: "does not work" } as const;
const ORDER = { no: 0, warn: 1, yes: 2 } as const;

/** What `mel doctor` says; a real box is started for the answer. The palette can ask for it too. */
function Doctor(): ReactNode {
  const run = useQuery(doctor);
  const checks = [...(run.data ?? [])].sort((a, b) => ORDER[a.ok] - ORDER[b.ok]);
  return (
    <section className="space-y-3">
      <div className="flex items-center gap-3">
        <h2 className="font-semibold">Doctor</h2>
        <Button needs="act" className="ml-auto" busy={run.isFetching} onClick={() => void run.refetch()}>
          {run.isFetching ? "Trying a real box" : "Examine this machine"}
        </Button>
      </div>
      {run.error !== null && !run.isFetching && <ProblemNotice error={run.error} />}
      {checks.length === 0 && !run.isFetching && (
        <p className="text-muted">
          It starts a real box and says what works here, which limits bind, and what to do where one does not.
        </p>
      )}
      {checks.length > 0 && (
        <p className="text-sm text-muted">As of {moment(new Date(run.dataUpdatedAt).toISOString())}</p>
      )}
      <ul className="rounded-md border border-line bg-surface empty:hidden">
        {checks.map((check) => (
          <li key={check.name} className="flex gap-3 border-b border-line px-3 py-2 last:border-b-0">
            <span className="pt-1" title={WORDS[check.ok]}>
              <StateShape state={SHAPES[check.ok]} />
              <span className="sr-only">{WORDS[check.ok]}</span>
            </span>
            <span className="min-w-0">
              <span className="font-medium">
                <Foreign text={check.name} />
              </span>{" "}
              <span className="text-muted">
                <Foreign text={check.detail} lines />
              </span>
              {check.ok !== "yes" && check.remedy !== "" && (
                <span className="block">
                  <Foreign text={check.remedy} lines />
                </span>
              )}
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}
