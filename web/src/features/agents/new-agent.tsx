import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, type ReactNode, useState } from "react";
import { useMe, whyNot } from "~/live/may";
import { useHive } from "~/live/store";
import { Button } from "~/ui/button";
import { Dialog } from "~/ui/dialog";
import { Field, Input, Select } from "~/ui/field";
import { Fold } from "~/ui/fold";
import { ProblemNotice } from "~/ui/notice";
import { create, useAct } from "./actions";
import { BudgetField, ModelField, PlaybookField } from "./fields";

const ENGINES = [
  { value: "playbook", label: "playbook: by a file, without a key" },
  { value: "claude", label: "claude: Claude Code, with a key" },
];
const NAMES = ["ana", "ben", "cleo", "dora", "emil", "fay", "gus", "hana"];

/** A name that is free. */
export function freeName(taken: ReadonlySet<string>): string {
  const free = NAMES.find((name) => !taken.has(name));
  if (free) return free;
  for (let at = 2; ; at += 1) if (!taken.has(`agent-${at}`)) return `agent-${at}`;
}

export function NewAgent({ open, onClose }: { open: boolean; onClose: () => void }): ReactNode {
  return (
    <Dialog open={open} onClose={onClose} title="Make an agent">
      <Form onClose={onClose} />
    </Dialog>
  );
}

function Form({ onClose }: { onClose: () => void }): ReactNode {
  const hive = useHive();
  const navigate = useNavigate();
  const [name, setName] = useState(() => freeName(new Set(hive?.agents.keys())));
  const [engine, setEngine] = useState("playbook");
  const [model, setModel] = useState("");
  const [playbook, setPlaybook] = useState("");
  const [budget, setBudget] = useState("");
  const [manager, setManager] = useState(false);
  const { busy, error, run } = useAct();
  useMe();
  const refusal = whyNot("act");

  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    const made = await run("create", () =>
      create({
        name,
        engine,
        role: manager ? "manager" : "worker",
        ...(model && engine !== "playbook" ? { model } : {}),
        ...(playbook && engine === "playbook" ? { playbook } : {}),
        ...(budget ? { budget_usd: Number(budget) } : {}),
      }),
    );
    if (made) await navigate({ to: "/agents/$name", params: { name }, search: {} });
  }

  return (
    <form onSubmit={submit} className="space-y-4">
      <Field label="Name" hint="1 to 32 of a-z, 0-9 and dash. Other agents write to it by this name.">
        {(id) => (
          <Input
            id={id}
            value={name}
            onChange={(event) => setName(event.target.value)}
            required
            maxLength={32}
            spellCheck={false}
            autoComplete="off"
          />
        )}
      </Field>
      <Field label="Engine">
        {(id) => <Select id={id} value={engine} onPick={setEngine} choices={ENGINES} className="w-full" />}
      </Field>
      {engine === "playbook" ? (
        <PlaybookField
          value={playbook}
          onChange={setPlaybook}
          hint="TOML; empty: it answers every message with what it heard."
          rows={playbook ? 10 : 2}
        />
      ) : (
        <ModelField value={model} onChange={setModel} hint="Empty: the hive's default." />
      )}
      <Fold summary="Budget and role" className="-ml-1.5">
        {() => (
          <div className="space-y-4 pt-1">
            <BudgetField value={budget} onChange={setBudget} />
            <label className="flex items-center gap-2">
              <input
                type="checkbox"
                checked={manager}
                onChange={(event) => setManager(event.target.checked)}
                className="size-4 accent-[var(--accent)]"
              />
              It is the manager; a hive has at most one
            </label>
          </div>
        )}
      </Fold>
      {refusal !== null && <p className="text-sm text-muted">{refusal}.</p>}
      {error !== null && <ProblemNotice error={error} />}
      <div className="flex justify-end gap-2">
        <Button onClick={onClose}>Cancel</Button>
        <Button needs="act" type="submit" look="primary" busy={busy !== null}>
          Make {name || "agent"}
        </Button>
      </div>
    </form>
  );
}
