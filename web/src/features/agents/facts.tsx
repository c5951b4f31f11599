import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import type { Agent } from "~/api/client";
import { contextShare } from "~/features/swarm/roster";
import { useAgentBudget } from "~/live/store";
import { count, limit, money } from "~/text/format";
import { Button } from "~/ui/button";
import { Fold } from "~/ui/fold";
import { Meter } from "~/ui/meter";
import { Ago, Foreign } from "~/ui/text";
import { agentDetail, agentQueue, why } from "./queries";
import { WhyText } from "./why";

/** The narrow column: what is true of this agent now. */
export function Facts({ agent }: { agent: Agent }): ReactNode {
  const explained = agent.state !== "working" && agent.state !== "idle";
  return (
    <div className="space-y-5">
      {explained && <Because agent={agent} />}
      <Numbers agent={agent} />
      {agent.waiting > 0 && <Queue name={agent.name} />}
      <Place agent={agent} />
    </div>
  );
}

function Heading({ children }: { children: ReactNode }): ReactNode {
  return <h2 className="mb-1.5 text-sm font-medium text-muted">{children}</h2>;
}

/** Nothing stands still without a why. */
function Because({ agent }: { agent: Agent }): ReactNode {
  const { data } = useQuery(why(agent.name));
  if (data === undefined) return null;
  return (
    <section>
      <Heading>Why</Heading>
      <WhyText why={data} />
    </section>
  );
}

function Numbers({ agent }: { agent: Agent }): ReactNode {
  const usual = useAgentBudget();
  const share = contextShare(agent);
  const { tokens, window } = agent.context;
  const budget = agent.budget_usd ?? usual;
  return (
    <section className="space-y-3">
      <dl className="grid grid-cols-[max-content_1fr] gap-x-4 gap-y-1">
        <dt className="text-muted">model</dt>
        <dd className="text-right">
          <Foreign text={agent.model ?? (agent.engine === "playbook" ? "none: a playbook" : "the default")} />
        </dd>
        <dt className="text-muted">today</dt>
        <dd className="text-right">
          {money(agent.spent_usd)}
          {budget !== null && ` of ${limit(budget)}`}
          {budget !== null && (
            <Meter
              value={agent.spent_usd}
              most={budget}
              label={`Budget: ${money(agent.spent_usd)} of ${limit(budget)}`}
              className="mt-1 mb-1.5"
            />
          )}
        </dd>
        <dt className="text-muted">context</dt>
        <dd className="text-right">
          {tokens === null ? (
            <span className="text-muted">not known yet</span>
          ) : (
            `${count(tokens)}${window === null ? "" : ` of ${count(window)}`}`
          )}
          {share !== null && tokens !== null && window !== null && (
            <Meter
              value={tokens}
              most={window}
              label={`Context: ${Math.round(share * 100)} % used`}
              className="mt-1 mb-1.5"
            />
          )}
        </dd>
      </dl>
    </section>
  );
}

function Queue({ name }: { name: string }): ReactNode {
  const { data = [] } = useQuery(agentQueue(name));
  if (data.length === 0) return null;
  return (
    <section>
      <Heading>Waits for it</Heading>
      <ol className="space-y-1.5">
        {data.slice(0, 6).map((message) => (
          <li key={message.id} className="text-sm">
            <span className="flex items-baseline gap-2">
              <span className="font-medium">
                <Foreign text={message.sender} />
              </span>
              <Ago at={message.sent_at} className="text-xs text-muted" />
            </span>
            <span className="line-clamp-2 text-muted">
              <Foreign text={message.body} />
            </span>
          </li>
        ))}
        {data.length > 6 && <li className="text-sm text-muted">{data.length - 6} more</li>}
      </ol>
    </section>
  );
}

function Place({ agent }: { agent: Agent }): ReactNode {
  const { data } = useQuery(agentDetail(agent.name));
  return (
    <section className="space-y-2">
      <dl className="grid grid-cols-[max-content_1fr] gap-x-4 gap-y-1">
        <dt className="text-muted">engine</dt>
        <dd className="text-right">{agent.engine}</dd>
        <dt className="text-muted">made</dt>
        <dd className="text-right">
          <Ago at={agent.created_at} /> ago
        </dd>
        {agent.crashes > 0 && (
          <>
            <dt className="text-muted">crashes in a row</dt>
            <dd className="text-right text-warn">{agent.crashes}</dd>
          </>
        )}
      </dl>
      {data && (
        <>
          <div>
            <Heading>Work folder on the host</Heading>
            <Copied text={data.work_folder} />
          </div>
          <Fold summary={<span className="text-sm text-muted">Limits of its box</span>} className="-ml-1.5">
            {() => (
              <ul className="space-y-1 text-sm">
                {data.limits.map((each) => (
                  <li key={each.name}>
                    <span className={each.binds ? "" : "text-warn"}>
                      {each.name}
                      {!each.binds && " does not bind"}
                    </span>
                    <span className="block text-muted">
                      <Foreign text={each.how} />
                    </span>
                  </li>
                ))}
              </ul>
            )}
          </Fold>
        </>
      )}
    </section>
  );
}

export function Copied({ text }: { text: string }): ReactNode {
  const [done, setDone] = useState(false);
  return (
    <span className="flex items-start gap-1">
      <code className="min-w-0 flex-1 font-mono text-xs break-all">
        <Foreign text={text} />
      </code>
      <Button
        small
        look="quiet"
        icon={done ? "check" : "copy"}
        aria-label={done ? "Copied" : "Copy"}
        onClick={() => void navigator.clipboard.writeText(text).then(() => setDone(true))}
        onBlur={() => setDone(false)}
      />
    </span>
  );
}
