// Fields that an agent has when it is made and when it is changed: one look, one set of words.
import type { ReactNode } from "react";
import { Field, Input, TextArea } from "~/ui/field";

interface Props {
  value: string;
  onChange: (value: string) => void;
}

export function ModelField({ value, onChange, hint }: Props & { hint: string }): ReactNode {
  return (
    <Field label="Model" hint={hint}>
      {(id) => (
        <Input
          id={id}
          value={value}
          onChange={(event) => onChange(event.target.value)}
          spellCheck={false}
          autoComplete="off"
        />
      )}
    </Field>
  );
}

export function PlaybookField({
  value,
  onChange,
  hint,
  rows,
}: Props & { hint: string; rows: number }): ReactNode {
  return (
    <Field label="Playbook" hint={hint}>
      {(id) => (
        <TextArea
          id={id}
          value={value}
          onChange={(event) => onChange(event.target.value)}
          rows={rows}
          spellCheck={false}
          className="font-mono text-sm"
          placeholder={'[[rule]]\nsteps = [{ send = "hello {sender}" }]'}
        />
      )}
    </Field>
  );
}

export function BudgetField(props: Props): ReactNode {
  return <Amount {...props} label="Budget a day, USD" hint="Empty or 0: the hive's default." step="0.01" />;
}

export function TurnsField(props: Props): ReactNode {
  return <Amount {...props} label="Turns an hour" hint="Empty: the hive's default; 0: no limit." step="1" />;
}

function Amount({
  value,
  onChange,
  label,
  hint,
  step,
}: Props & { label: string; hint: string; step: string }): ReactNode {
  return (
    <Field label={label} hint={hint}>
      {(id) => (
        <Input
          id={id}
          type="number"
          min="0"
          step={step}
          value={value}
          onChange={(event) => onChange(event.target.value)}
        />
      )}
    </Field>
  );
}
