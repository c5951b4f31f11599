import { type FormEvent, type ReactNode, useEffect, useRef, useState } from "react";
import { Problem } from "~/api/client";
import { confirmFromProvider, decisionOf } from "~/features/access/again";
import { canOfferQuietly, canUsePasskeys } from "~/features/access/webauthn";
import { Button, buttonClass } from "~/ui/button";
import { Field, Input } from "~/ui/field";
import { Notice, ProblemNotice } from "~/ui/notice";
import { Foreign } from "~/ui/text";
import { byCode, byLink, byPasskey, byProvider, fromProvider, type Ways, waysIn } from "./ways";

/** Uses a link up, if the address holds one, else offers every way in. The token stands in the fragment, which no server
 * sees, and is taken out of the address at once. */
export function Login(): ReactNode {
  const [error, setError] = useState<unknown>(null);
  const [token] = useState(() => location.hash.slice(1));
  useEffect(() => {
    if (token === "") return;
    history.replaceState(null, "", "/login");
    once(token, () => byLink(token)).catch(setError);
  }, [token]);
  if (token !== "" && error === null) return <Busy />;
  return (
    <Sheet>
      {error !== null && <ProblemNotice error={error} />}
      <AllWays />
    </Sheet>
  );
}

/** Where a provider sends the browser back to. */
export function ComeBack(): ReactNode {
  const [error, setError] = useState<unknown>(null);
  const [confirmed, setConfirmed] = useState(false);
  const [given] = useState(() => new URLSearchParams(location.search));
  const decision = decisionOf(given);
  useEffect(() => {
    history.replaceState(null, "", "/login/oidc");
    const state = given.get("state") ?? "";
    if (decision === null) once(state, () => fromProvider(given)).catch(setError);
    else once(state, () => confirmFromProvider(decision, given)).then(() => setConfirmed(true), setError);
  }, [given, decision]);
  if (confirmed) return <Confirmed />;
  if (error === null) return <Busy />;
  return (
    <Sheet>
      <ProblemNotice error={error} />
      <a href="/login" className={buttonClass("plain")}>
        Back to the login page
      </a>
    </Sheet>
  );
}

/** This tab was opened for one decision alone. */
function Confirmed(): ReactNode {
  useEffect(() => window.close(), []);
  return (
    <Sheet>
      <p>Confirmed. You can close this tab.</p>
    </Sheet>
  );
}

function Busy(): ReactNode {
  return (
    <Sheet>
      <p>Logging in.</p>
    </Sheet>
  );
}

function Sheet({ children }: { children: ReactNode }): ReactNode {
  return (
    <main className="mx-auto max-w-md space-y-5 px-4 pt-[14vh] pb-8">
      <h1 className="flex items-center gap-2 text-xl font-semibold">
        <img src="/assets/mark.svg" alt="" width="24" height="24" />
        Melipona
      </h1>
      <div role="status" className="space-y-5">
        {children}
      </div>
    </main>
  );
}

function AllWays(): ReactNode {
  const [ways, setWays] = useState<Ways | null>(null);
  const [busy, setBusy] = useState<string | null>(null);
  const [error, setError] = useState<unknown>(null);
  const quiet = useRef<AbortController>(new AbortController());

  useEffect(() => {
    waysIn().then(setWays, setError);
  }, []);
  const offers = ways?.passkeys === true && ways.place.here;
  useEffect(() => {
    if (!offers) return;
    const abort = new AbortController();
    quiet.current = abort;
    void offerQuietly(abort.signal).catch(setError);
    return () => abort.abort();
  }, [offers]);

  async function run(name: string, way: () => Promise<void>): Promise<void> {
    quiet.current.abort();
    setBusy(name);
    setError(null);
    try {
      await way();
    } catch (failed) {
      setError(failed);
      setBusy(null);
    }
  }

  return (
    <>
      {error !== null && <ProblemNotice error={error} />}
      {ways !== null && (
        <>
          {(offers || ways.provider !== null) && (
            <div className="flex flex-col gap-2">
              {offers && canUsePasskeys() && (
                <Button
                  look="primary"
                  className="min-h-11"
                  busy={busy === "passkey"}
                  disabled={busy !== null}
                  onClick={() => void run("passkey", () => byPasskey())}
                >
                  Log in with a passkey
                </Button>
              )}
              {ways.provider !== null && (
                <Button
                  look={offers ? "plain" : "primary"}
                  className="min-h-11"
                  busy={busy === "provider"}
                  disabled={busy !== null}
                  onClick={() => void run("provider", byProvider)}
                >
                  <Foreign text={ways.provider} />
                </Button>
              )}
            </div>
          )}
          {ways.passkeys && !ways.place.here && <Elsewhere place={ways.place} path="/login" />}
          {ways.passkeys && <CodeForm busy={busy} onCode={(code) => void run("code", () => byCode(code))} />}
          <Links on={ways.links} />
        </>
      )}
    </>
  );
}

/** Passkeys do not work at this address: says why, and where they do. */
export function Elsewhere({ place, path }: { place: Ways["place"]; path: string }): ReactNode {
  return (
    <Notice tone="warn">
      <p className="font-medium">Passkeys do not work at this address</p>
      <p className="text-muted first-letter:uppercase">
        <Foreign text={place.why} />.
      </p>
      {place.address !== "" && (
        <p className="mt-1">
          <a className="underline" href={place.address + path}>
            Open {place.address}
          </a>
        </p>
      )}
    </Notice>
  );
}

function CodeForm({ busy, onCode }: { busy: string | null; onCode: (code: string) => void }): ReactNode {
  const [code, setCode] = useState("");
  function submit(event: FormEvent): void {
    event.preventDefault();
    if (code.trim() !== "") onCode(code);
  }
  return (
    <form onSubmit={submit} className="flex items-end gap-2 border-t border-line pt-4">
      <div className="flex-1">
        <Field label="Recovery code">
          {(id) => (
            <Input
              id={id}
              value={code}
              onChange={(event) => setCode(event.target.value)}
              autoComplete="one-time-code webauthn"
              autoCapitalize="off"
              spellCheck={false}
              className="font-mono"
            />
          )}
        </Field>
      </div>
      <Button type="submit" busy={busy === "code"} disabled={busy !== null || code.trim() === ""}>
        Use code
      </Button>
    </form>
  );
}

function Links({ on }: { on: boolean }): ReactNode {
  if (!on) return <p className="text-muted">Login links are switched off on this hive.</p>;
  return (
    <p className="text-muted">
      A login link works once, for ten minutes. <code className="font-mono">mel login</code> prints a new one
      on the machine where the hive runs.
    </p>
  );
}

/** Where the browser fills in names it offers passkeys too; nobody is disturbed if it cannot. */
async function offerQuietly(signal: AbortSignal): Promise<void> {
  if (!(await canOfferQuietly()) || signal.aborted) return;
  await byPasskey(signal).catch((failed: unknown) => {
    const silent = failed instanceof Problem && ["aborted", "no_passkey"].includes(failed.code);
    if (!silent) throw failed;
  });
}

const going = new Map<string, Promise<void>>();

/** Once for each key, also when the component is drawn twice. */
function once(key: string, what: () => Promise<void>): Promise<void> {
  const known = going.get(key);
  if (known) return known;
  const begun = what();
  going.set(key, begun);
  return begun;
}
