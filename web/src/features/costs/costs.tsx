import { keepPreviousData, queryOptions, useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { lazy, type ReactNode, Suspense, useMemo } from "react";
import { api, body, type Cost, type Costs } from "~/api/client";
import { count, limit, model, money, span } from "~/text/format";
import { Select } from "~/ui/field";
import { Meter } from "~/ui/meter";
import { Empty, ProblemNotice } from "~/ui/notice";
import { Foreign, Name } from "~/ui/text";
import { AgentBudgets } from "./agent-budgets";
import { byDay, cacheShare, days, drawn, forecast, type Sum, stacked, sums } from "./figures";

const Chart = lazy(() => import("./chart").then((it) => ({ default: it.Chart })));
const NAMES_MOST = 6;

const costs = (back: number) =>
  queryOptions({
    queryKey: ["costs", back],
    queryFn: () => body(api.GET("/api/v1/costs", { params: { query: { days: back } } })),
    placeholderData: keepPreviousData,
  });

/** What it costs: today against its budget, the days, and where the tokens went. */
export function CostsView(): ReactNode {
  const { days: back = 14, by } = useSearch({ from: "/frame/costs" });
  const query = useQuery(costs(Math.min(back, 366)));
  if (query.error !== null)
    return (
      <div className="p-4">
        <ProblemNotice error={query.error} />
      </div>
    );
  if (!query.data) return <p className="p-6 text-muted">Adding up.</p>;
  return <Shown costs={query.data} back={back} by={by} />;
}

function Shown({
  costs: it,
  back,
  by,
}: {
  costs: Costs;
  back: number;
  by: "agent" | "day" | undefined;
}): ReactNode {
  const navigate = useNavigate({ from: "/costs" });
  const nameOf = useMemo(() => (by === "agent" ? (row: Cost) => row.agent : (row: Cost) => row.model), [by]);
  const figures = useMemo(() => {
    const total = sums(it.items, nameOf);
    const rows = by === "day" ? byDay(it.items) : total;
    const { names: named, rest } = drawn(total, NAMES_MOST);
    const names = rest ? [...named, "others"] : named;
    const of = (row: Cost) => (named.includes(nameOf(row)) ? nameOf(row) : "others");
    const on = days(it.since, it.day);
    const labels = by === "agent" ? names : names.map(model);
    return { rows, names, labels, on, tops: stacked(it.items, of, names, on) };
  }, [it, nameOf, by]);
  const set = (change: object) =>
    void navigate({ search: (before) => ({ ...before, ...change }), replace: true });
  return (
    <div className="mx-auto max-w-[1100px] space-y-6 px-4 py-4">
      <Today costs={it} />
      <AgentBudgets costs={it} />
      <section className="space-y-3">
        <div className="flex flex-wrap items-center gap-2">
          <h2 className="mr-auto font-semibold">The last {back} days</h2>
          <Select
            aria-label="Days"
            value={String(back)}
            onPick={(value) => set({ days: Number(value) })}
            choices={[7, 14, 30, 90, 365].map((each) => ({ value: String(each), label: `${each} days` }))}
          />
          <Select
            aria-label="By"
            value={by ?? "model"}
            onPick={(value) => set({ by: value === "model" ? undefined : value })}
            choices={[
              { value: "model", label: "by model" },
              { value: "agent", label: "by agent" },
              { value: "day", label: "by day" },
            ]}
          />
        </div>
        {it.items.length === 0 ? (
          <Empty title="Nothing was spent">
            <p>
              Agents with a model cost money by the token; it is counted where their calls leave this machine.
              Playbooks cost nothing.
            </p>
          </Empty>
        ) : (
          <>
            <Suspense fallback={<div className="h-[220px]" />}>
              <Chart days={figures.on} names={figures.labels} tops={figures.tops} budget={it.budget_usd} />
            </Suspense>
            <Table sums={figures.rows} names={figures.names} by={by ?? "model"} />
          </>
        )}
      </section>
    </div>
  );
}

function Today({ costs: it }: { costs: Costs }): ReactNode {
  const ahead = forecast(it);
  const over = it.budget_usd !== null && ahead > it.budget_usd;
  return (
    <section className="space-y-2">
      <h1 className="text-2xl font-semibold">
        {money(it.usd)}
        <span className="text-lg font-normal text-muted">
          {it.budget_usd === null ? " today, without a limit" : ` of ${limit(it.budget_usd)} today`}
        </span>
      </h1>
      {it.budget_usd !== null && (
        <Meter
          value={it.usd}
          most={it.budget_usd}
          label={`Today: ${money(it.usd)} of ${limit(it.budget_usd)}`}
          className="h-2"
        />
      )}
      <p className={over ? "text-warn" : "text-muted"}>
        {it.last_hour_usd === 0
          ? `Nothing in the last hour; the day ends in ${span(Date.parse(it.day_ends_at) - Date.parse(it.at))}.`
          : `${money(it.last_hour_usd)} in the last hour. If it goes on like this, the day costs ${money(ahead)}${over ? " and the budget ends it earlier" : ""}.`}
      </p>
    </section>
  );
}

const TITLES: Readonly<Record<string, string>> = {
  new: "tokens that the model read anew",
  "re-read": "tokens that it read again from its cache",
  cached: "share of what it read that came from its cache",
  written: "tokens that it wrote",
};

function Table({
  sums: rows,
  names,
  by,
}: {
  sums: readonly Sum[];
  names: readonly string[];
  by: string;
}): ReactNode {
  const cell = "h-8 px-2 max-md:px-1.5 text-right whitespace-nowrap last:pr-0";
  return (
    <div data-wide className="overflow-x-auto">
      <table className="w-full border-collapse">
        <thead className="text-sm text-muted">
          <tr className="border-b border-line">
            <th scope="col" className="h-8 text-left font-normal">
              {by}
            </th>
            {["cost", "calls", "new", "re-read", "cached", "written"].map((name) => (
              <th
                key={name}
                scope="col"
                title={TITLES[name]}
                className={`${cell} font-normal ${name === "calls" || name === "written" ? "max-md:hidden" : ""}`}
              >
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((sum) => {
            const share = cacheShare(sum);
            const at = names.indexOf(sum.name);
            const colour = (at < 0 ? names.length - 1 : at) % 6;
            return (
              <tr key={sum.name} className="border-b border-line">
                <td className="h-8 pr-3">
                  <span className="flex items-center gap-2">
                    {by !== "day" && (
                      <span
                        className="size-2.5 shrink-0 rounded-sm"
                        style={{ background: `var(--series-${colour + 1})` }}
                      />
                    )}
                    <span className="truncate font-medium whitespace-nowrap max-md:max-w-24">
                      {by === "agent" ? (
                        <Name>{sum.name}</Name>
                      ) : (
                        <Foreign text={by === "model" ? model(sum.name) : sum.name} />
                      )}
                    </span>
                  </span>
                </td>
                <td className={cell}>{money(sum.usd)}</td>
                <td className={`${cell} max-md:hidden`}>
                  {sum.calls}
                  {sum.estimated > 0 && <span className="text-muted"> ({sum.estimated} estimated)</span>}
                </td>
                <td className={cell}>{count(sum.fresh)}</td>
                <td className={cell}>{count(sum.again)}</td>
                <td className={cell}>{share === null ? "" : `${Math.round(share * 100)} %`}</td>
                <td className={`${cell} max-md:hidden`}>{count(sum.output)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
