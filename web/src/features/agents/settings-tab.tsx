import { type FormEvent, type ReactNode, useState } from "react";
import type { Agent, Changes } from "~/api/client";
import { useMe, whyNot } from "~/live/may";
import { Button } from "~/ui/button";
import { Field, Input } from "~/ui/field";
import { ProblemNotice } from "~/ui/notice";
import { change, useAct } from "./actions";
import { Facts } from "./facts";
import { BudgetField, ModelField, PlaybookField, TurnsField } from "./fields";

/** What a person may change of an agent. Only what was touched is sent. */
export function SettingsTab({ agent }: { agent: Agent }): ReactNode {
  return (
    <div className="mx-auto max-w-xl space-y-8 px-4 py-5">
      <Form
        key={JSON.stringify([agent.model, agent.budget_usd, agent.turns_per_hour, agent.send_allow])}
        agent={agent}
      />
      <div className="lg:hidden">
        <Facts agent={agent} />
      </div>
    </div>
  );
}

function Form({ agent }: { agent: Agent }): ReactNode {
  const [model, setModel] = useState(agent.model ?? "");
  const [budget, setBudget] = useState(agent.budget_usd?.toString() ?? "");
  const [turns, setTurns] = useState(agent.turns_per_hour?.toString() ?? "");
  const [allow, setAllow] = useState(agent.send_allow?.join(", ") ?? "");
  const [playbook, setPlaybook] = useState("");
  const { busy, error, run } = useAct();
  useMe();
  const refusal = whyNot("act");
  const number = (text: string) => (text.trim() === "" ? null : Number(text));
  const names = allow.split(/[\s,]+/).filter(Boolean);
  const changes: Changes = {
    ...(model !== (agent.model ?? "") ? { model: model || null } : {}),
    ...(budget !== (agent.budget_usd?.toString() ?? "") ? { budget_usd: number(budget) } : {}),
    ...(turns !== (agent.turns_per_hour?.toString() ?? "") ? { turns_per_hour: number(turns) } : {}),
    ...(names.join() !== (agent.send_allow ?? []).join()
      ? { send_allow: names.length > 0 ? names : null }
      : {}),
    ...(playbook !== "" ? { playbook } : {}),
  };
  const touched = Object.keys(changes).length > 0;
  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    if (touched && (await run("change", () => change(agent.name, changes)))) setPlaybook("");
  }
  return (
    <form onSubmit={submit}>
      <fieldset disabled={refusal !== null} className="space-y-4">
        {refusal !== null && <p className="text-muted">{refusal}.</p>}
        {agent.engine === "playbook" ? (
          <PlaybookField
            value={playbook}
            onChange={setPlaybook}
            hint="Replaces the present one. Leave it empty to keep that."
            rows={6}
          />
        ) : (
          <ModelField
            value={model}
            onChange={setModel}
            hint="Empty: the hive's default. It applies from the next turn on."
          />
        )}
        <BudgetField value={budget} onChange={setBudget} />
        <TurnsField value={turns} onChange={setTurns} />
        <Field label="May write to" hint="Names, apart by commas. Empty: everybody.">
          {(id) => (
            <Input
              id={id}
              value={allow}
              onChange={(event) => setAllow(event.target.value)}
              spellCheck={false}
            />
          )}
        </Field>
        {error !== null && <ProblemNotice error={error} />}
        <Button needs="act" type="submit" look="primary" disabled={!touched} busy={busy !== null}>
          Change {agent.name}
        </Button>
      </fieldset>
    </form>
  );
}
