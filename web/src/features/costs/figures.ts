// Sums over the rows of /costs: pure.
import type { Cost, Costs } from "~/api/client";
import { money } from "~/text/format";

export interface Sum {
  readonly name: string;
  readonly usd: number;
  readonly calls: number;
  /** Tokens that the model read anew: what was never in its cache, and what was put there. */
  readonly fresh: number;
  /** Tokens read again from the cache: a bloated context shows here. */
  readonly again: number;
  readonly output: number;
  readonly estimated: number;
}

export function sums(rows: readonly Cost[], by: (row: Cost) => string): Sum[] {
  const found = new Map<string, Sum>();
  for (const row of rows) {
    const name = by(row);
    const so = found.get(name) ?? { name, usd: 0, calls: 0, fresh: 0, again: 0, output: 0, estimated: 0 };
    found.set(name, {
      name,
      usd: so.usd + row.usd,
      calls: so.calls + row.calls,
      fresh: so.fresh + row.input + row.cache_creation,
      again: so.again + row.cache_read,
      output: so.output + row.output,
      estimated: so.estimated + row.estimated,
    });
  }
  return [...found.values()].sort((a, b) => b.usd - a.usd || (a.name < b.name ? -1 : 1));
}

/**
 * The names that a chart has a band and a colour for: those that cost most, in the order of the alphabet, so that a name
 * keeps its colour when amounts or the days change.
 */
export function drawn(total: readonly Sum[], most: number): { names: string[]; rest: boolean } {
  const names = total
    .slice(0, most - 1)
    .map((sum) => sum.name)
    .sort();
  return { names, rest: total.length > most - 1 };
}

/** What a day says under the pointer: `2026-11-30: $3.20, opus-4 $2.10, sonnet-4-5 $1.10`. */
export function told(
  at: number | null,
  on: readonly string[],
  names: readonly string[],
  tops: readonly (readonly number[])[],
): string | null {
  const day = at === null ? undefined : on[at];
  if (at === null || day === undefined) return null;
  const top = (name: number): number => tops[name]?.[at] ?? 0;
  const parts = names
    .map((name, each) => ({ name, usd: top(each) - (each > 0 ? top(each - 1) : 0) }))
    .filter(({ usd }) => usd > 1e-9)
    .map(({ name, usd }) => `${name} ${money(usd)}`);
  return [`${day}: ${money(top(names.length - 1))}`, ...(parts.length > 1 ? parts : [])].join(", ");
}

/** What each day cost, newest first. */
export function byDay(rows: readonly Cost[]): Sum[] {
  return sums(rows, (row) => row.day).sort((a, b) => (a.name < b.name ? 1 : -1));
}

export interface AgentToday {
  readonly name: string;
  readonly usd: number;
  /** Null: no limit but the hive's. */
  readonly budget: number | null;
}

/** What each agent spent today against what it may; `own` says its own budget. Who is nearest to the end comes first. */
export function agentsToday(costs: Costs, own: (name: string) => number | null): AgentToday[] {
  const share = (each: AgentToday) => (each.budget === null ? -1 : each.usd / each.budget);
  return sums(
    costs.items.filter((row) => row.day === costs.day),
    (row) => row.agent,
  )
    .map(({ name, usd }) => ({ name, usd, budget: own(name) ?? costs.agent_budget_usd }))
    .sort((a, b) => share(b) - share(a) || b.usd - a.usd || (a.name < b.name ? -1 : 1));
}

/** Of what was read, how much came from the cache; null when nothing was read. */
export function cacheShare(sum: Pick<Sum, "fresh" | "again">): number | null {
  const all = sum.fresh + sum.again;
  return all === 0 ? null : sum.again / all;
}

/** What the day will have cost if it goes on like the last hour. */
export function forecast(costs: Costs): number {
  const hours = Math.max(0, (Date.parse(costs.day_ends_at) - Date.parse(costs.at)) / 3_600_000);
  return costs.usd + costs.last_hour_usd * hours;
}

/** Every day from `since` to `day`, oldest first, also those on which nothing was spent. */
export function days(since: string, day: string): string[] {
  const found: string[] = [];
  const end = Date.parse(`${day}T00:00:00Z`);
  for (let at = Date.parse(`${since}T00:00:00Z`); at <= end && found.length < 400; at += 86_400_000)
    found.push(new Date(at).toISOString().slice(0, 10));
  return found;
}

/** Stacked amounts for a chart: for each name, the top of its band on each day. The first name is the lowest band. */
export function stacked(
  rows: readonly Cost[],
  by: (row: Cost) => string,
  names: readonly string[],
  on: readonly string[],
): number[][] {
  const amount = new Map<string, number>();
  for (const row of rows) {
    const key = `${row.day}\0${by(row)}`;
    amount.set(key, (amount.get(key) ?? 0) + row.usd);
  }
  const tops = on.map(() => 0);
  return names.map((name) =>
    on.map((day, at) => {
      tops[at] = (tops[at] ?? 0) + (amount.get(`${day}\0${name}`) ?? 0);
      return tops[at] ?? 0;
    }),
  );
}
