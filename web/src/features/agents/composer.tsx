import { type FormEvent, type KeyboardEvent, type ReactNode, useEffect, useRef, useState } from "react";
import type { Agent } from "~/api/client";
import { useKeys } from "~/app/keys";
import { useMay, whyNot } from "~/live/may";
import { useLink } from "~/live/store";
import { plural } from "~/text/format";
import { Button } from "~/ui/button";
import { TextArea } from "~/ui/field";
import { ProblemNotice } from "~/ui/notice";
import { act, freshKey, possible, send, type Verb } from "./actions";

export interface Sending {
  readonly key: string;
  readonly text: string;
  /** Its number once the hive has it. */
  readonly id: number | null;
}

/** What happens to a message that is sent now: said before it is sent. */
export function outlook(agent: Agent): string {
  const { name } = agent;
  const queue = agent.waiting > 0 ? `, after ${plural(agent.waiting, "message")}` : "";
  if (agent.wish === "stopped") return `${name} is stopped: this waits until it is started`;
  if (agent.reason === "interrupted") return `${name} was interrupted: this lets it go on`;
  if (agent.paused_at !== null) return `${name} is paused: this waits until it is resumed`;
  if (agent.reason === "attached")
    return `A terminal is open in the box of ${name}: this waits until it is closed`;
  if (agent.reason === "receive") return `${name} waits for mail: it reads this at once${queue}`;
  if (agent.reason === "compacting")
    return `${name} compacts its conversation: this is read after that${queue}`;
  if (agent.turn !== null) return `${name} is working: this waits until the turn ends${queue}`;
  if (agent.state === "stuck" || agent.state === "failed")
    return `${name} is ${agent.state}: this waits until that is mended`;
  if (agent.state === "queued") return `${name} waits for a slot: this is read with the next turn${queue}`;
  return `${name} reads this at once${queue}`;
}

/** What a text that is one command does instead of being sent; what asks first stands in the menu. */
const COMMANDS = ["pause", "resume", "interrupt", "start", "stop", "compact", "take-back"] as const;

/** The command that a text is, if the agent can do that now. */
export function commandOf(text: string, agent: Agent): (typeof COMMANDS)[number] | undefined {
  const can = possible(agent);
  return COMMANDS.find((verb) => text.trim() === `/${verb}` && can.has(verb));
}

/** The commands that there are now, for who begins one. */
export function commands(agent: Agent): string {
  const can = possible(agent);
  const found = COMMANDS.filter((verb) => can.has(verb)).map((verb) => `/${verb}`);
  return `${found.join(", ")} act at once; anything else is a message`;
}

const drafts = new Map<string, string>();

interface Props {
  agent: Agent;
  onSending: (sending: Sending) => void;
  onFailed: (key: string) => void;
}

export function Composer({ agent, onSending, onFailed }: Props): ReactNode {
  const { name } = agent;
  const [text, setText] = useState(() => drafts.get(name) ?? "");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const field = useRef<HTMLTextAreaElement>(null);
  const again = useRef<{ text: string; key: string } | null>(null);
  const away = useLink() === "away";
  const may = useMay("act");
  useKeys({ c: () => field.current?.focus() });
  useEffect(() => {
    drafts.set(name, text);
    const box = field.current;
    if (box) {
      box.style.height = "auto";
      box.style.height = `${Math.min(box.scrollHeight + 2, 260)}px`;
    }
  }, [name, text]);

  const command = commandOf(text, agent);
  async function run(verb: Verb): Promise<void> {
    setBusy(true);
    setError(null);
    try {
      await act(verb, name);
      setText("");
    } catch (failed) {
      setError(failed);
    } finally {
      setBusy(false);
      field.current?.focus();
    }
  }

  async function submit(interrupt: boolean): Promise<void> {
    const words = text.trim();
    if (words === "" || busy) return;
    if (command !== undefined) return run(command);
    // The same words again after a failure carry the same key, so that they cannot arrive twice.
    const key = again.current?.text === words ? again.current.key : freshKey();
    again.current = { text: words, key };
    setBusy(true);
    setError(null);
    setText("");
    onSending({ key, text: words, id: null });
    try {
      const id = await send(name, words, key);
      again.current = null;
      onSending({ key, text: words, id });
      if (interrupt) await act("interrupt", name);
    } catch (failed) {
      setError(failed);
      if (again.current !== null) {
        setText((now) => now || words);
        onFailed(key);
      }
    } finally {
      setBusy(false);
      field.current?.focus();
    }
  }

  function press(event: KeyboardEvent): void {
    const plain = event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing;
    if (plain && !matchMedia("(pointer: coarse)").matches) {
      event.preventDefault();
      void submit(false);
    } else if (event.key === "Escape") {
      field.current?.blur();
    }
  }

  const working = agent.turn !== null && agent.reason !== "receive";
  if (!may) return <p className="text-sm text-muted">{whyNot("act")}. You read what is said here.</p>;
  return (
    <form
      onSubmit={(event: FormEvent) => {
        event.preventDefault();
        void submit(false);
      }}
      className="space-y-2"
    >
      {error !== null && <ProblemNotice error={error} />}
      <TextArea
        ref={field}
        value={text}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={press}
        rows={2}
        aria-label={`Message to ${name}`}
        aria-describedby="outlook"
        placeholder={`Write to ${name}`}
        className="max-h-64 resize-none"
      />
      <div className="flex flex-wrap items-center gap-2">
        <p id="outlook" className="mr-auto text-sm text-muted">
          {away
            ? "Not connected: what you send is tried, and kept here if it fails"
            : text.startsWith("/")
              ? commands(agent)
              : outlook(agent)}
        </p>
        {working && command === undefined && (
          <Button onClick={() => void submit(true)} disabled={text.trim() === ""} busy={busy}>
            Interrupt and send
          </Button>
        )}
        <Button type="submit" look="primary" icon="send" disabled={text.trim() === ""} busy={busy}>
          {command === undefined ? "Send" : `Do /${command}`}
        </Button>
      </div>
    </form>
  );
}
