// Events as files: JSON lines for programs, CSV for tables. Pure but for the asking.
import type { HiveEvent } from "~/api/client";

const COLUMNS = [
  "id",
  "at",
  "kind",
  "agent",
  "subject",
  "by",
  "person",
  "via",
  "request_id",
  "data",
] as const;

export function asJsonLines(events: readonly HiveEvent[]): string {
  return events.map((event) => `${JSON.stringify(event)}\n`).join("");
}

/** RFC 4180; a cell that a spreadsheet would take for a formula begins with an apostrophe. */
export function asCsv(events: readonly HiveEvent[]): string {
  const rows = events.map((event) => COLUMNS.map((column) => cell(event[column])).join(","));
  return [COLUMNS.join(","), ...rows].map((row) => `${row}\r\n`).join("");
}

function cell(value: unknown): string {
  const text =
    value === null || value === undefined
      ? ""
      : typeof value === "object"
        ? JSON.stringify(value)
        : String(value);
  const safe = typeof value !== "number" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function save(name: string, text: string, type: string): void {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
