import type { ReactNode } from "react";
import { Problem } from "~/api/client";
import { Foreign } from "./text";

/** Something the page has to say: not a toast, it stands where it belongs and covers nothing. */
export function Notice({
  tone = "muted",
  children,
}: {
  tone?: "muted" | "warn" | "danger" | "accent";
  children: ReactNode;
}): ReactNode {
  const bar = {
    muted: "border-l-line-strong",
    warn: "border-l-warn",
    danger: "border-l-danger",
    accent: "border-l-accent",
  };
  return (
    <div
      role={tone === "danger" ? "alert" : undefined}
      className={`rounded-md border border-l-2 border-line bg-surface px-3 py-2 ${bar[tone]}`}
    >
      {children}
    </div>
  );
}

/** What happened, and what to do. */
export function ProblemNotice({ error }: { error: unknown }): ReactNode {
  const detail = error instanceof Problem ? error.detail : "this page failed";
  const remedy = error instanceof Problem ? error.remedy : "reload it; if it stays so, that is a bug";
  return (
    <Notice tone="danger">
      <p className="font-medium first-letter:uppercase">
        <Foreign text={detail} lines />
      </p>
      {remedy && (
        <p className="text-muted first-letter:uppercase">
          <Foreign text={remedy} lines />
        </p>
      )}
    </Notice>
  );
}

/** Nothing is here: says why, and what would change that. */
export function Empty({ title, children }: { title: string; children?: ReactNode }): ReactNode {
  return (
    <div className="mx-auto max-w-md space-y-2 px-4 py-16 text-center">
      <p className="font-medium">{title}</p>
      {children && <div className="space-y-3 text-muted">{children}</div>}
    </div>
  );
}
