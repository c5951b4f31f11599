// Every part of the page in every state, for whoever draws a view.
import { type ReactNode, useState } from "react";
import { Problem } from "~/api/client";
import { Button } from "./button";
import { Confirm, Dialog } from "./dialog";
import { Diff } from "./diff";
import { Field, Input, Search, Select, TextArea } from "./field";
import { Fold } from "./fold";
import { Icon, type IconName } from "./icons";
import { Markdown } from "./markdown";
import { Menu } from "./menu";
import { Meter } from "./meter";
import { Empty, Notice, ProblemNotice } from "./notice";
import { STATES, StateMark } from "./state";
import { Ago, Badge, Foreign, Kbd, Until } from "./text";
import { Tip } from "./tip";

const ICONS: readonly IconName[] = [
  "swarm",
  "mail",
  "costs",
  "audit",
  "health",
  "settings",
  "pause",
  "play",
  "stop",
  "restart",
  "hand",
  "why",
  "send",
  "retry",
  "copy",
  "download",
];
const COLOURS = [
  "ground",
  "surface",
  "raised",
  "sunken",
  "hover",
  "line",
  "line-strong",
  "text",
  "muted",
  "accent",
  "accent-quiet",
  "live",
  "warn",
  "danger",
  "added",
  "removed",
];
const HOSTILE = "safe\u202Etxt.exe \u200Bhidden \u001b[31mred <img src=x onerror=alert(1)>";
const MARKDOWN = `A **list** of what was done:

1. Read \`src/api.py\`
2. [A link](https://example.org/x) and <b>raw HTML as text</b>
3. ![an image](https://example.org/pixel.png)

\`\`\`sh
pytest -q tests/api
\`\`\``;

function Shown({ name, children }: { name: string; children: ReactNode }): ReactNode {
  return (
    <section className="space-y-3 border-b border-line pb-6">
      <h2 className="text-sm font-medium text-muted">{name}</h2>
      <div className="flex flex-wrap items-center gap-3">{children}</div>
    </section>
  );
}

export function Parts(): ReactNode {
  const [dialog, setDialog] = useState(false);
  const [confirm, setConfirm] = useState(false);
  const [now] = useState(() => Date.now());
  const at = (seconds: number) => new Date(now + seconds * 1000).toISOString();
  return (
    <div className="mx-auto max-w-3xl space-y-6 px-4 py-6">
      <h1 className="text-xl font-semibold">Parts</h1>
      <Shown name="States: one word, one shape, one colour">
        {STATES.map((state) => (
          <span key={state} className="w-32">
            <StateMark state={state} />
          </span>
        ))}
        <StateMark state="changing" verb="restarting" />
        <StateMark state="from_the_future" />
      </Shown>
      <Shown name="Colours">
        {COLOURS.map((colour) => (
          <span key={colour} className="w-24 text-xs">
            <span
              className="mb-1 block h-8 rounded-sm border border-line-strong"
              style={{ background: `var(--${colour})` }}
            />
            {colour}
          </span>
        ))}
      </Shown>
      <Shown name="Buttons">
        <Button>Plain</Button>
        <Button look="primary">Primary</Button>
        <Button look="danger">Danger</Button>
        <Button look="quiet">Quiet</Button>
        <Button icon="pause">Pause ana</Button>
        <Button icon="more" look="quiet" aria-label="More" />
        <Button busy>Busy</Button>
        <Button disabled>Disabled</Button>
        <Button small>Small</Button>
      </Shown>
      <Shown name="Fields">
        <Search placeholder="Filter" aria-label="Filter" />
        <Select aria-label="Pick" choices={[{ value: "a", label: "by need" }]} onPick={() => {}} />
        <div className="w-full space-y-3">
          <Field label="Name" hint="What it is for.">
            {(id) => <Input id={id} defaultValue="ana" />}
          </Field>
          <Field label="Playbook">
            {(id) => <TextArea id={id} rows={3} className="font-mono text-sm" />}
          </Field>
        </div>
      </Shown>
      <Shown name="Text of others, ages, badges">
        <Foreign text={HOSTILE} />
        <Ago at={at(-250)} />
        <Until at={at(3000)} />
        <Badge>manager</Badge>
        <Badge tone="warn">parked</Badge>
        <Badge tone="live">leased</Badge>
        <Badge tone="accent">set</Badge>
        <Kbd>ctrl K</Kbd>
      </Shown>
      <Shown name="Markdown of agents">
        <Markdown text={MARKDOWN} />
      </Shown>
      <Shown name="Meter">
        <Meter value={3} most={10} label="30 %" className="w-40" />
        <Meter value={85} most={100} label="85 %" className="w-40" />
        <Meter value={1} most={1} label="100 %" className="w-40" />
      </Shown>
      <Shown name="Notices">
        <div className="w-full space-y-2">
          <Notice>Something to know.</Notice>
          <Notice tone="warn">Something to look at.</Notice>
          <ProblemNotice
            error={
              new Problem(409, "no_turn", 'agent "ana" runs no turn', "`mel why ana` says what it waits for")
            }
          />
          <Empty title="Nothing here">
            <p>What would change that.</p>
          </Empty>
        </div>
      </Shown>
      <Shown name="What opens">
        <Button onClick={() => setDialog(true)}>Dialog</Button>
        <Button onClick={() => setConfirm(true)}>Typed confirmation</Button>
        <Menu
          trigger={<Button icon="down">Menu</Button>}
          items={[
            { label: "Pause", icon: "pause", act: () => {} },
            null,
            { label: "Purge", danger: true, act: () => {} },
          ]}
        />
        <Tip text="A word for a picture">
          <Button icon="why" aria-label="A word for a picture" />
        </Tip>
        <div className="w-full">
          <Fold summary="One line that opens">{() => <p>What is inside.</p>}</Fold>
        </div>
        <Dialog open={dialog} onClose={() => setDialog(false)} title="A dialog">
          <p>What it is about.</p>
        </Dialog>
        <Confirm
          open={confirm}
          onClose={() => setConfirm(false)}
          title="Purge ana"
          typed="ana"
          verb="Purge ana and its files"
          act={async () => {}}
        >
          <p>What is lost.</p>
        </Confirm>
      </Shown>
      <Shown name="Diff">
        <div className="w-full">
          <Diff
            path="src/api.py"
            before={"def f():\n    return 1\n"}
            after={"def f():\n    return 2\n\n\nX = f()\n"}
          />
        </div>
      </Shown>
      <Shown name="Icons">
        {ICONS.map((icon) => (
          <span key={icon} className="flex w-28 items-center gap-2">
            <Icon name={icon} /> {icon}
          </span>
        ))}
      </Shown>
    </div>
  );
}
