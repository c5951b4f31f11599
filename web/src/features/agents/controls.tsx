import { useNavigate } from "@tanstack/react-router";
import { type ReactElement, type ReactNode, useState } from "react";
import type { Agent } from "~/api/client";
import { useMe } from "~/live/may";
import { Confirm } from "~/ui/dialog";
import type { IconName } from "~/ui/icons";
import { Menu, type MenuItem } from "~/ui/menu";
import { act, possible, type Verb } from "./actions";
import { ModelDialog } from "./model-dialog";

export const ASKED = ["restart", "new-session", "model", "destroy", "purge"] as const;
type Asked = (typeof ASKED)[number] | null;

const ICONS: Record<Exclude<Asked, null>, IconName> = {
  restart: "restart",
  "new-session": "fresh",
  model: "model",
  destroy: "close",
  purge: "close",
};

interface Props {
  agent: Agent;
  trigger: ReactElement;
  /** Runs what needs no question. */
  run: (verb: Verb) => void;
  /** Open it as soon as it is drawn. */
  defaultOpen?: boolean;
  /** Leave the agent's page after it is gone. */
  leave?: boolean;
  /** The question that the address asks; it is answered by `onAnswered`. */
  asks?: Asked;
  onAnswered?: () => void;
}

/** Everything one can do to an agent, and the questions before what cannot be taken back. */
export function AgentMenu({
  agent,
  trigger,
  run,
  defaultOpen,
  leave,
  asks = null,
  onAnswered,
}: Props): ReactNode {
  const [own, setOwn] = useState<Asked>(null);
  const asked = own ?? asks;
  const setAsked = (next: Asked) => {
    setOwn(next);
    if (next === null && asks !== null) onAnswered?.();
  };
  const navigate = useNavigate();
  useMe();
  const can = possible(agent);
  const { name } = agent;
  const whyItem: MenuItem = {
    label: `Why is it ${agent.state.replaceAll("_", " ")}`,
    icon: "why",
    act: () => void navigate({ to: ".", search: (before: object) => ({ ...before, why: name }) }),
  };
  const verb = (label: string, icon: MenuItem["icon"] & string, which: Verb): MenuItem => ({
    label,
    icon,
    needs: "act",
    disabled: !can.has(which),
    act: () => run(which),
  });
  const ask = (label: string, which: Exclude<Asked, null>): MenuItem => ({
    label,
    danger: which === "destroy" || which === "purge",
    icon: ICONS[which],
    needs: "act",
    disabled: which !== "model" && !can.has(which),
    act: () => setAsked(which),
  });
  const items: (MenuItem | null)[] = [
    whyItem,
    null,
    can.has("resume") ? verb("Resume", "play", "resume") : verb("Pause", "pause", "pause"),
    verb("Interrupt the turn", "hand", "interrupt"),
    null,
    can.has("take-back")
      ? verb(agent.pending?.kind === "renewing" ? "Keep the session" : "Do not compact", "close", "take-back")
      : verb("Compact the conversation", "compact", "compact"),
    ask("New session", "new-session"),
    ...(agent.engine === "playbook" ? [] : [ask("Change the model", "model")]),
    {
      label: "Terminal in its box",
      icon: "terminal",
      needs: "act",
      disabled: agent.wish === "stopped",
      act: () => void navigate({ to: "/agents/$name", params: { name }, search: { tab: "terminal" } }),
    },
    null,
    agent.wish === "stopped" || can.has("start")
      ? verb("Start", "play", "start")
      : verb("Stop", "stop", "stop"),
    ask("Restart", "restart"),
    null,
    ask("Destroy", "destroy"),
    ask("Purge", "purge"),
  ];
  const done = async (which: Exclude<Asked, null | "model">): Promise<void> => {
    await act(which, name);
    if (leave && (which === "destroy" || which === "purge")) await navigate({ to: "/", search: {} });
  };
  return (
    <>
      <Menu trigger={trigger} items={items} defaultOpen={defaultOpen ?? false} />
      <Confirm
        open={asked === "restart"}
        onClose={() => setAsked(null)}
        title={`Restart ${name}`}
        verb={`Restart ${name}`}
        needs="act"
        act={() => done("restart")}
      >
        <p>
          Its turn and its box end; a new box begins with the next message. Its files, its session and its
          mail stay.
        </p>
      </Confirm>
      <Confirm
        open={asked === "new-session"}
        onClose={() => setAsked(null)}
        title={`New session for ${name}`}
        verb="Begin a new session"
        needs="act"
        act={() => done("new-session")}
      >
        <p>
          {agent.turn === null ? "Its next turn" : "After the turn that runs it"} begins a new conversation:
          it remembers nothing of this one. Its notes, files and mail stay, and so does the history here.
        </p>
      </Confirm>
      <ModelDialog agent={agent} open={asked === "model"} onClose={() => setAsked(null)} />
      <Confirm
        open={asked === "destroy"}
        onClose={() => setAsked(null)}
        title={`Destroy ${name}`}
        verb={`Destroy ${name}`}
        needs="act"
        act={() => done("destroy")}
      >
        <p>
          Its turn and its box end and it gets no more mail. Its files are kept until you purge them; an agent
          of the same name takes them over.
        </p>
      </Confirm>
      <PurgeDialog
        name={name}
        open={asked === "purge"}
        onClose={() => setAsked(null)}
        act={() => done("purge")}
      />
    </>
  );
}

/** Purging has words of its own and has to be typed (DB-15). */
export function PurgeDialog({
  name,
  open,
  onClose,
  act: run,
}: {
  name: string;
  open: boolean;
  onClose: () => void;
  act: () => Promise<void>;
}): ReactNode {
  return (
    <Confirm
      open={open}
      onClose={onClose}
      title={`Purge ${name}`}
      verb={`Purge ${name} and its files`}
      typed={name}
      needs="act"
      act={run}
    >
      <p>
        This deletes everything that belongs to <b>{name}</b>: its work folder, its notes, its home and its
        engine's sessions.
      </p>
      <p className="font-medium text-danger">Nothing of it can be brought back, unless a backup holds it.</p>
    </Confirm>
  );
}
