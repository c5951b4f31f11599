import { useQuery } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useState } from "react";
import { type Agent, api, body } from "~/api/client";
import { useMe, whyNot } from "~/live/may";
import { Button } from "~/ui/button";
import { Dialog } from "~/ui/dialog";
import { Field, Input } from "~/ui/field";
import { ProblemNotice } from "~/ui/notice";
import { change, useAct } from "./actions";

/** Another model from the next turn on: the conversation goes on with it. */
export function ModelDialog({
  agent,
  open,
  onClose,
}: {
  agent: Agent;
  open: boolean;
  onClose: () => void;
}): ReactNode {
  return (
    <Dialog open={open} onClose={onClose} title={`Model of ${agent.name}`}>
      <Form agent={agent} onClose={onClose} />
    </Dialog>
  );
}

/** Models that were paid for lately: what a person most likely means. */
const used = {
  queryKey: ["costs", 30] as const,
  queryFn: () => body(api.GET("/api/v1/costs", { params: { query: { days: 30 } } })),
};

function Form({ agent, onClose }: { agent: Agent; onClose: () => void }): ReactNode {
  const [model, setModel] = useState(agent.model ?? "");
  const { busy, error, run } = useAct();
  useMe();
  const refusal = whyNot("act");
  const { data } = useQuery(used);
  const known = [...new Set(data?.items.map((item) => item.model).filter((name) => name !== null))];
  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    if (await run("model", () => change(agent.name, { model: model.trim() || null }))) onClose();
  }
  return (
    <form onSubmit={submit} className="space-y-4">
      <Field
        label="Model"
        hint="As the model API calls it. Empty: the hive's default. It applies from the next turn on, in the same conversation."
      >
        {(id) => (
          <>
            <Input
              id={id}
              value={model}
              onChange={(event) => setModel(event.target.value)}
              list={`${id}-known`}
              spellCheck={false}
              autoComplete="off"
            />
            <datalist id={`${id}-known`}>
              {known.map((name) => (
                <option key={name} value={name} />
              ))}
            </datalist>
          </>
        )}
      </Field>
      {refusal !== null && <p className="text-sm text-muted">{refusal}.</p>}
      {error !== null && <ProblemNotice error={error} />}
      <Button
        needs="act"
        type="submit"
        look="primary"
        busy={busy !== null}
        disabled={model.trim() === (agent.model ?? "")}
      >
        Use this model
      </Button>
    </form>
  );
}
