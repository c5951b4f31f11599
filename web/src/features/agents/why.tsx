import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useEffect, useState } from "react";
import { Button } from "~/ui/button";
import { Dialog } from "~/ui/dialog";
import { ProblemNotice } from "~/ui/notice";
import { Foreign, Until } from "~/ui/text";
import { type Why, why } from "./queries";

const ACTORS: Record<string, string> = {
  operator: "you",
  agent: "the agent",
  daemon: "the hive",
  peer: "whoever writes to it",
  time: "time",
};

/** Why something does not move: what holds it, who acts next, which timer runs, what to type. */
export function WhyDialog({ subject, onClose }: { subject: string | null; onClose: () => void }): ReactNode {
  const [last, setLast] = useState(subject ?? "");
  useEffect(() => {
    if (subject !== null) setLast(subject);
  }, [subject]);
  const query = useQuery({ ...why(subject ?? last), enabled: subject !== null, staleTime: 0 });
  return (
    <Dialog open={subject !== null} onClose={onClose} title={`Why ${last}`}>
      {query.error !== null ? (
        <ProblemNotice error={query.error} />
      ) : query.data ? (
        <WhyText why={query.data} />
      ) : (
        <p className="text-muted">Looking.</p>
      )}
      <div className="mt-5 flex justify-end">
        <Button onClick={onClose}>Close</Button>
      </div>
    </Dialog>
  );
}

export function WhyText({ why: it }: { why: Why }): ReactNode {
  return (
    <div className="space-y-3">
      {it.sentences.map((sentence, at) => (
        <p key={at}>
          <Foreign text={sentence} lines />
        </p>
      ))}
      <dl className="grid grid-cols-[max-content_1fr] gap-x-4 gap-y-1">
        {it.next_actor !== null && (
          <>
            <dt className="text-muted">acts next</dt>
            <dd>{ACTORS[it.next_actor] ?? it.next_actor}</dd>
          </>
        )}
        {it.timer !== null && (
          <>
            <dt className="text-muted">timer</dt>
            <dd>
              <Foreign text={it.timer.what} /> in <Until at={it.timer.until} />
            </dd>
          </>
        )}
      </dl>
      {it.commands.length > 0 && (
        <div>
          <p className="mb-1 text-sm text-muted">You can type</p>
          {it.commands.map((command) => (
            <code key={command} className="mb-1 block rounded-sm bg-sunken px-2 py-1 font-mono text-sm">
              <Foreign text={command} />
            </code>
          ))}
        </div>
      )}
    </div>
  );
}
