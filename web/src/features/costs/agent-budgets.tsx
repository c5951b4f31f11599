import { Link } from "@tanstack/react-router";
import { type ReactNode, useState } from "react";
import type { Costs } from "~/api/client";
import { useHive } from "~/live/store";
import { limit, money } from "~/text/format";
import { Button } from "~/ui/button";
import { Meter } from "~/ui/meter";
import { Name } from "~/ui/text";
import { type AgentToday, agentsToday } from "./figures";

const FEW = 8;

/** Today of each agent that spent something, against its budget: who is nearest to its end stands on top. */
export function AgentBudgets({ costs }: { costs: Costs }): ReactNode {
  const hive = useHive();
  const [all, setAll] = useState(false);
  const agents = agentsToday(costs, (name) => hive?.agents.get(name)?.budget_usd ?? null);
  if (agents.length === 0) return null;
  const shown = all ? agents : agents.slice(0, FEW);
  return (
    <section className="space-y-2">
      <h2 className="font-semibold">Today by agent</h2>
      <ul className="gap-x-8 md:grid md:grid-cols-2">
        {shown.map((agent) => (
          <Line key={agent.name} agent={agent} there={hive?.agents.has(agent.name) ?? false} />
        ))}
      </ul>
      {agents.length > FEW && (
        <Button small look="quiet" onClick={() => setAll(!all)}>
          {all ? "Fewer" : `All ${agents.length}`}
        </Button>
      )}
    </section>
  );
}

function Line({ agent: { name, usd, budget }, there }: { agent: AgentToday; there: boolean }): ReactNode {
  const said = budget === null ? `${money(usd)}, without a limit` : `${money(usd)} of ${limit(budget)}`;
  return (
    <li className="flex h-8 items-center gap-3 max-md:h-11">
      <span className="w-40 shrink-0 font-medium max-md:w-28">
        {there ? (
          <Link to="/agents/$name" params={{ name }} search={{}}>
            <Name>{name}</Name>
          </Link>
        ) : (
          <Name>{name}</Name>
        )}
      </span>
      <span className="min-w-0 flex-1">
        {budget !== null && <Meter value={usd} most={budget} label={`${name} today: ${said}`} />}
      </span>
      <span
        className={`w-36 shrink-0 text-right whitespace-nowrap max-md:w-28 max-md:text-sm ${budget !== null && usd >= budget ? "text-danger" : ""}`}
      >
        {money(usd)}
        <span className="text-muted">{budget === null ? ", no limit" : ` of ${limit(budget)}`}</span>
      </span>
    </li>
  );
}
