// One's own passkeys and recovery codes, and whether login links work, in Settings.
import { queryOptions, useQuery } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useState } from "react";
import { api, body } from "~/api/client";
import type { components } from "~/api/schema";
import { useAct } from "~/features/agents/actions";
import { Elsewhere } from "~/features/login/login";
import { Button } from "~/ui/button";
import { Confirm, Dialog } from "~/ui/dialog";
import { Field, Input } from "~/ui/field";
import { ProblemNotice } from "~/ui/notice";
import { Ago, Badge, Foreign } from "~/ui/text";
import { make } from "./webauthn";

type Passkey = components["schemas"]["PasskeyView"];
type Mine = Omit<components["schemas"]["PasskeyList"], "next">;

const passkeys = queryOptions({
  queryKey: ["passkeys"],
  queryFn: () => body(api.GET("/api/v1/passkeys")),
});
const me = queryOptions({ queryKey: ["me"], queryFn: () => body(api.GET("/api/v1/me")) });

type Open = { what: "add" | "codes" | "links" } | { what: "rename" | "revoke"; key: Passkey } | null;

export function Passkeys(): ReactNode {
  const query = useQuery(passkeys);
  const [open, setOpen] = useState<Open>(null);
  const close = () => setOpen(null);
  const mine = query.data;
  return (
    <section className="space-y-2" aria-labelledby="passkeys">
      <div className="flex items-center gap-3">
        <h2 id="passkeys" className="mr-auto font-semibold">
          Passkeys
        </h2>
        {mine?.place.here && (
          <Button icon="plus" onClick={() => setOpen({ what: "add" })}>
            Add passkey
          </Button>
        )}
      </div>
      {query.error !== null && <ProblemNotice error={query.error} />}
      {mine && !mine.place.here && <Elsewhere place={mine.place} path="/settings" />}
      {mine && <List mine={mine} onOpen={setOpen} />}
      {mine && <OtherWays mine={mine} onOpen={setOpen} />}
      {open?.what === "add" && <Name title="Add passkey" verb="Make passkey" act={add} onClose={close} />}
      {open?.what === "rename" && (
        <Name
          title="Rename passkey"
          verb="Rename"
          label={open.key.label}
          act={(label) => rename(open.key.id, label)}
          onClose={close}
        />
      )}
      {open?.what === "revoke" && (
        <Confirm
          open
          onClose={close}
          title="Revoke passkey"
          verb="Revoke passkey"
          act={() => revoke(open.key.id)}
        >
          <p>
            <Foreign text={open.key.label} /> logs you in no more. Sessions that it opened go on: revoke them
            below.
          </p>
        </Confirm>
      )}
      {open?.what === "codes" && <Codes onClose={close} />}
      {open?.what === "links" && mine && (
        <Confirm
          open
          onClose={close}
          title={mine.links ? "Switch login links off" : "Switch login links on"}
          verb={mine.links ? "Switch off" : "Switch on"}
          act={() => api.POST("/api/v1/login-links/switch", { body: { on: !mine.links } })}
        >
          <p>
            {mine.links
              ? "Nobody gets in by a link any more, only by passkey, provider or recovery code. On the hive's machine `mel login --links on` takes this back."
              : "Whoever has the hive's machine gets in by `mel login` again."}
          </p>
        </Confirm>
      )}
    </section>
  );
}

function List({ mine, onOpen }: { mine: Mine; onOpen: (open: Open) => void }): ReactNode {
  if (mine.items.length === 0)
    return (
      <p className="text-sm text-muted">
        None yet. A passkey logs you in with a fingerprint, a face or a PIN, and decisions about access then
        ask for it.
      </p>
    );
  return (
    <ul className="rounded-md border border-line bg-surface">
      {mine.items.map((key) => (
        <li
          key={key.id}
          className="flex min-h-11 flex-wrap items-center gap-x-3 gap-y-1 border-b border-line px-3 py-1 last:border-b-0"
        >
          <span className="min-w-0 flex-1">
            <Foreign text={key.label} /> <Badge>{key.site}</Badge>
            <span className="block text-sm text-muted">
              added <Ago at={key.created_at} /> ago,{" "}
              {key.last_used_at === null ? (
                "not used yet"
              ) : (
                <>
                  used <Ago at={key.last_used_at} /> ago
                </>
              )}
            </span>
          </span>
          <Button small aria-label={`Rename ${key.label}`} onClick={() => onOpen({ what: "rename", key })}>
            Rename
          </Button>
          <Button small aria-label={`Revoke ${key.label}`} onClick={() => onOpen({ what: "revoke", key })}>
            Revoke
          </Button>
        </li>
      ))}
    </ul>
  );
}

function OtherWays({ mine, onOpen }: { mine: Mine; onOpen: (open: Open) => void }): ReactNode {
  const asker = useQuery(me);
  return (
    <ul className="rounded-md border border-line bg-surface text-sm">
      <li className="flex min-h-11 items-center gap-3 border-b border-line px-3 py-1.5 last:border-b-0">
        <span className="flex-1">
          {mine.codes === 0 ? "No recovery codes" : `${mine.codes} recovery codes left`}
          <span className="block text-muted">Each logs you in once, when a passkey is lost.</span>
        </span>
        <Button small onClick={() => onOpen({ what: "codes" })}>
          {mine.codes === 0 ? "Make codes" : "Make new codes"}
        </Button>
      </li>
      <li className="flex min-h-11 items-center gap-3 px-3 py-1.5">
        <span className="flex-1">
          Login links are {mine.links ? "on" : "off"}
          <span className="block text-muted">
            To switch them off an admin needs two passkeys, or one and a recovery code.
          </span>
        </span>
        {asker.data?.may.includes("admin") && (
          <Button small onClick={() => onOpen({ what: "links" })}>
            {mine.links ? "Switch off" : "Switch on"}
          </Button>
        )}
      </li>
    </ul>
  );
}

interface NameProps {
  title: string;
  verb: string;
  label?: string;
  act: (label: string) => Promise<unknown>;
  onClose: () => void;
}

/** Asks for a label, then acts. */
function Name({ title, verb, label = "", act, onClose }: NameProps): ReactNode {
  const [text, setText] = useState(label);
  const { busy, error, run } = useAct();
  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    if (await run(verb, () => act(text))) onClose();
  }
  return (
    <Dialog open onClose={onClose} title={title}>
      <form onSubmit={submit} className="space-y-4">
        <Field label="Label" hint="Where it is, so that you know it again: my laptop, the blue key.">
          {(id) => (
            <Input id={id} value={text} maxLength={60} onChange={(event) => setText(event.target.value)} />
          )}
        </Field>
        {error !== null && <ProblemNotice error={error} />}
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" look="primary" busy={busy !== null} disabled={text.trim() === ""}>
            {verb}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

/** Makes recovery codes and shows them, once. */
function Codes({ onClose }: { onClose: () => void }): ReactNode {
  const [codes, setCodes] = useState<readonly string[] | null>(null);
  const { busy, error, run } = useAct();
  const ask = () =>
    run("codes", async () => setCodes((await body(api.POST("/api/v1/recovery-codes"))).codes));
  return (
    <Dialog open onClose={onClose} title="Recovery codes">
      <div className="space-y-4">
        {codes === null ? (
          <p>Eight codes that log you in once each. Codes that you have already are good no more.</p>
        ) : (
          <>
            <p>Keep them where a lost device does not take them along. They are shown this once.</p>
            <ul
              aria-label="Codes"
              className="rounded-md border border-line bg-sunken px-3 py-2 font-mono text-sm"
            >
              {codes.map((code) => (
                <li key={code}>{code}</li>
              ))}
            </ul>
          </>
        )}
        {error !== null && <ProblemNotice error={error} />}
        <div className="flex justify-end gap-2">
          {codes === null ? (
            <>
              <Button onClick={onClose}>Cancel</Button>
              <Button look="primary" busy={busy !== null} onClick={() => void ask()}>
                Make codes
              </Button>
            </>
          ) : (
            <>
              <Button icon="copy" onClick={() => void navigator.clipboard.writeText(codes.join("\n"))}>
                Copy
              </Button>
              <Button look="primary" onClick={onClose}>
                I have kept them
              </Button>
            </>
          )}
        </div>
      </div>
    </Dialog>
  );
}

async function add(label: string): Promise<void> {
  const options = await body(api.POST("/api/v1/passkeys/options"));
  const answer = await make(options as Record<string, unknown>);
  await api.POST("/api/v1/passkeys", { body: { label, answer } });
}

async function rename(passkey: string, label: string): Promise<void> {
  await api.PATCH("/api/v1/passkeys/{passkey}", { params: { path: { passkey } }, body: { label } });
}

async function revoke(passkey: string): Promise<void> {
  await api.DELETE("/api/v1/passkeys/{passkey}", { params: { path: { passkey } } });
}
