import { type ReactNode, useState } from "react";
import type { Agent } from "~/api/client";
import { act } from "~/features/agents/actions";
import { PurgeDialog } from "~/features/agents/controls";
import { plural } from "~/text/format";
import { Button } from "~/ui/button";
import { Fold } from "~/ui/fold";
import { Ago } from "~/ui/text";

/** Agents that were destroyed and whose files are kept (TB-1). */
export function Tombstones({ agents }: { agents: readonly Agent[] }): ReactNode {
  const [purging, setPurging] = useState<string | null>(null);
  return (
    <Fold
      summary={<span className="text-muted">{plural(agents.length, "destroyed agent")}, files kept</span>}
      className="mt-4 max-md:px-3"
    >
      {() => (
        <ul>
          {agents.map((agent) => (
            <li key={agent.name} className="flex min-h-9 items-center gap-3">
              <span className="font-medium">{agent.name}</span>
              <span className="text-muted">
                destroyed <Ago at={agent.since} /> ago
              </span>
              <Button
                needs="act"
                small
                look="quiet"
                className="ml-auto text-danger"
                onClick={() => setPurging(agent.name)}
              >
                Purge
              </Button>
            </li>
          ))}
          <PurgeDialog
            name={purging ?? ""}
            open={purging !== null}
            onClose={() => setPurging(null)}
            act={() => act("purge", purging ?? "")}
          />
        </ul>
      )}
    </Fold>
  );
}
