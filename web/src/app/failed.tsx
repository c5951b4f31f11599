import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { buttonClass } from "~/ui/button";
import { Empty, ProblemNotice } from "~/ui/notice";

/** A view that threw. The rest of the page goes on. */
export function Failed({ error }: { error: unknown }): ReactNode {
  return (
    <div className="mx-auto max-w-lg p-6">
      <ProblemNotice error={error} />
    </div>
  );
}

/** An address that leads nowhere. */
export function Lost(): ReactNode {
  return (
    <Empty title="There is no such page">
      <Link to="/" className={buttonClass("plain")}>
        To the swarm
      </Link>
    </Empty>
  );
}
