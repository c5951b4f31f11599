// Two texts side by side in one column: what went, what came. A chunk of its own.
import { structuredPatch } from "diff";
import { type ReactNode, useMemo } from "react";
import { Foreign } from "./text";

const LINES_MOST = 1500;
const SLOWEST_MS = 500;

export interface DiffLine {
  readonly sign: " " | "+" | "-" | "@";
  readonly text: string;
  readonly old: number | null;
  readonly new: number | null;
}

export function diffLines(before: string, after: string): DiffLine[] | null {
  const patch = structuredPatch("", "", before, after, "", "", { context: 3, timeout: SLOWEST_MS });
  if (patch === undefined) return null;
  const found: DiffLine[] = [];
  for (const hunk of patch.hunks) {
    if (found.length > 0) found.push({ sign: "@", text: "", old: null, new: null });
    let old = hunk.oldStart;
    let now = hunk.newStart;
    for (const line of hunk.lines) {
      const sign = line[0];
      const text = line.slice(1);
      if (sign === "+") found.push({ sign, text, old: null, new: now++ });
      else if (sign === "-") found.push({ sign, text, old: old++, new: null });
      else if (sign === " ") found.push({ sign, text, old: old++, new: now++ });
    }
  }
  return found;
}

const LOOK: Record<DiffLine["sign"], string> = {
  "+": "bg-added",
  "-": "bg-removed",
  " ": "",
  "@": "bg-sunken text-muted",
};

export function Diff({ path, before, after }: { path: string; before: string; after: string }): ReactNode {
  const lines = useMemo(() => diffLines(before, after), [before, after]);
  return (
    <figure className="overflow-hidden rounded-md border border-line bg-surface">
      <figcaption className="border-b border-line px-3 py-1 font-mono text-sm text-muted">
        <Foreign text={path} />
      </figcaption>
      {lines === null ? (
        <p className="px-3 py-2 text-muted">These texts differ too much to be compared here.</p>
      ) : (
        <div className="max-h-96 overflow-auto font-mono text-sm">
          {lines.slice(0, LINES_MOST).map((line, at) => (
            <div key={at} className={`flex ${LOOK[line.sign]}`}>
              <span className="w-10 shrink-0 pr-2 text-right text-muted select-none">
                {line.new ?? line.old}
              </span>
              <span className="w-4 shrink-0 select-none">{line.sign === "@" ? "⋯" : line.sign}</span>
              <span className="min-w-0 pr-3 whitespace-pre-wrap">
                <Foreign text={line.text} />
              </span>
            </div>
          ))}
          {lines.length > LINES_MOST && (
            <p className="px-3 py-1 text-muted">{lines.length - LINES_MOST} more lines</p>
          )}
        </div>
      )}
    </figure>
  );
}
