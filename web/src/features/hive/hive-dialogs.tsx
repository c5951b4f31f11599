import { type FormEvent, type ReactNode, useState } from "react";
import { useAct } from "~/features/agents/actions";
import { useMe, whyNot } from "~/live/may";
import { useHive } from "~/live/store";
import { bytes } from "~/text/format";
import { Button } from "~/ui/button";
import { Confirm, Dialog } from "~/ui/dialog";
import { Field, Input } from "~/ui/field";
import { ProblemNotice } from "~/ui/notice";
import { Foreign } from "~/ui/text";
import { type Backup, backUp, type HiveAsked, stopHive } from "./actions";

/** What is asked before something is done to the hive as a whole. */
export function HiveDialogs({ asked, onClose }: { asked: HiveAsked | null; onClose: () => void }): ReactNode {
  const hive = useHive();
  const turns = hive?.turns ?? 0;
  return (
    <>
      <Dialog open={asked === "backup"} onClose={onClose} title="Back up the hive">
        <BackupForm onClose={onClose} />
      </Dialog>
      <Confirm
        open={asked === "stop"}
        onClose={onClose}
        title="Stop the hive"
        verb="Stop the hive"
        needs="admin"
        act={stopHive}
      >
        <p>
          {turns === 0 ? "No turn runs." : `${turns === 1 ? "1 turn" : `${turns} turns`} will be cut off.`}{" "}
          All boxes and the daemon end; mail that is being worked on is given back, and nothing is lost.
        </p>
        <p>
          This page goes with it. <code className="font-mono">mel up</code> on the hive's machine starts it
          again.
        </p>
      </Confirm>
    </>
  );
}

/** `melipona-20261121-1204.tar.gz` beside the hive's folder. */
export function usualPlace(data: string, at: Date): string {
  const stamp = at.toISOString().slice(0, 16).replace(/[-:]/g, "").replace("T", "-");
  return `${data.replace(/\/+[^/]*\/*$/, "")}/melipona-${stamp}.tar.gz`;
}

function BackupForm({ onClose }: { onClose: () => void }): ReactNode {
  const hive = useHive();
  const [path, setPath] = useState(() => usualPlace(hive?.data ?? "", new Date()));
  const [homes, setHomes] = useState(false);
  const [done, setDone] = useState<Backup | null>(null);
  const { busy, error, run } = useAct();
  useMe();
  const refusal = whyNot("admin");
  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    await run("backup", async () => setDone(await backUp(path, homes)));
  }
  if (done !== null)
    return (
      <div className="space-y-4" role="status">
        <p>
          The backup is written, {bytes(done.bytes)}:{" "}
          <code className="font-mono text-sm break-all">
            <Foreign text={done.path} />
          </code>
        </p>
        {done.notes.map((note) => (
          <p key={note} className="text-warn">
            Left out: <Foreign text={note} />
          </p>
        ))}
        <p className="text-muted">
          It holds no keys. <code className="font-mono">mel restore FILE --data FOLDER</code> puts it into an
          empty folder.
        </p>
        <div className="flex justify-end">
          <Button onClick={onClose}>Close</Button>
        </div>
      </div>
    );
  return (
    <form onSubmit={submit} className="space-y-4">
      <Field label="File" hint="An absolute path on the hive's machine. It must not exist yet.">
        {(id) => (
          <Input
            id={id}
            value={path}
            onChange={(event) => setPath(event.target.value)}
            required
            spellCheck={false}
            autoComplete="off"
            className="font-mono text-sm"
          />
        )}
      </Field>
      <label className="flex items-center gap-2 max-md:min-h-11">
        <input
          type="checkbox"
          checked={homes}
          onChange={(event) => setHomes(event.target.checked)}
          className="size-4 accent-[var(--accent)]"
        />
        With the agents' homes, which hold their work and their engines' sessions
      </label>
      {refusal !== null && <p className="text-sm text-muted">{refusal}.</p>}
      {error !== null && <ProblemNotice error={error} />}
      <div className="flex justify-end gap-2">
        <Button onClick={onClose}>Cancel</Button>
        <Button needs="admin" type="submit" look="primary" busy={busy !== null}>
          {busy === null ? "Back up" : "Writing"}
        </Button>
      </div>
    </form>
  );
}
