import { useNavigate } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { create, useAct } from "~/features/agents/actions";
import { useMe, whyNot } from "~/live/may";
import { Button } from "~/ui/button";
import { ProblemNotice } from "~/ui/notice";

/** An empty hive explains itself, and ends with an agent that answers. */
export function FirstRun(): ReactNode {
  const navigate = useNavigate();
  const { busy, error, run } = useAct();
  useMe();
  const refusal = whyNot("act");
  async function first(): Promise<void> {
    if (await run("first", () => create({ name: "ana", engine: "playbook", role: "worker" })))
      await navigate({ to: "/agents/$name", params: { name: "ana" }, search: {} });
  }
  return (
    <div className="mx-auto max-w-xl space-y-5 px-4 py-16">
      <h1 className="text-xl font-semibold">No agents yet</h1>
      <p>
        An agent is a coding engine in a sealed box with a name, files of its own and a mailbox. You write to
        it; it works, writes to other agents, and writes back.
      </p>
      <p>
        The first one needs no key and costs nothing: it runs by a playbook and answers every message with
        what it heard. It is a real agent in a real box, so what you see is how all of them look.
      </p>
      {error !== null && <ProblemNotice error={error} />}
      <div className="flex flex-wrap gap-2">
        <Button needs="act" look="primary" busy={busy !== null} onClick={first}>
          Make ana
        </Button>
        <Button needs="act" onClick={() => void navigate({ to: ".", search: { new: "agent" } })}>
          Make another kind
        </Button>
      </div>
      {refusal !== null && <p className="text-muted">{refusal}.</p>}
      <p className="text-muted">
        The same from a terminal:{" "}
        <code className="font-mono text-sm">mel agent new ana --engine playbook</code>
      </p>
    </div>
  );
}
