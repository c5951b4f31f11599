// Numbers and times as DESIGN.md wants them: units always, tabular, never more digits than one reads.

export function ago(at: string, now: number): string {
  return span(now - Date.parse(at));
}

/** A duration in milliseconds: `38 s`, `4 min`, `2 h 10 min`, `3 d`. */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 90) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 10) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  if (hours < 48) return `${hours} h`;
  return `${Math.floor(hours / 24)} d`;
}

/** A short duration with a tenth: `1.8 s`; from ten seconds on as `span`. */
export function took(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  return ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : span(ms);
}

/** `$3.20`; what is not nothing and below a cent is `<$0.01`. */
export function money(usd: number): string {
  if (usd > 0 && usd < 0.005) return "<$0.01";
  return `$${usd.toFixed(2)}`;
}

/** `$20`, `$2.50`: a limit, without digits that say nothing. */
export function limit(usd: number): string {
  return Number.isInteger(usd) ? `$${usd}` : money(usd);
}

/** `12.4 k`, `1.2 M`. */
export function count(n: number): string {
  if (n < 1000) return String(n);
  if (n < 1_000_000) return `${(n / 1000).toFixed(n < 100_000 ? 1 : 0)} k`;
  return `${(n / 1_000_000).toFixed(1)} M`;
}

export function bytes(n: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  let value = n;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${at === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`;
}

/** Local date and time to the second, for tooltips and tables. */
export function moment(at: string): string {
  const date = new Date(at);
  const two = (n: number) => String(n).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** The time of day, for lists whose day is clear. */
export function clock(at: string): string {
  return moment(at).slice(11, 16);
}

/** `claude-sonnet-4-5-20250929` → `sonnet-4-5`: the part that tells models apart. */
export function model(name: string): string {
  return name.replace(/^claude-/, "").replace(/-20\d{6}$/, "");
}

/** The first line of a text without the signs of markdown: for a row that names it. */
export function firstLine(text: string): string {
  const line = text.trimStart().split("\n", 1)[0] ?? "";
  return line.replace(/^(#+|>|[-*])\s+/, "").replace(/\*\*|__|`/g, "");
}
