import { queryOptions, useQuery } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useState } from "react";
import { api, body } from "~/api/client";
import { useAct } from "~/features/agents/actions";
import { useMay } from "~/live/may";
import { Button } from "~/ui/button";
import { Input } from "~/ui/field";
import { ProblemNotice } from "~/ui/notice";
import { Ago, Badge, Foreign } from "~/ui/text";

const tokens = queryOptions({
  queryKey: ["tokens"],
  queryFn: async () => (await body(api.GET("/api/v1/tokens"))).items,
});

/** Tokens of programs: made, shown this once, revoked. */
export function Tokens(): ReactNode {
  const query = useQuery(tokens);
  const { busy, error, run } = useAct();
  const [made, setMade] = useState<string | null>(null);
  const [copied, setCopied] = useState(false);
  const [name, setName] = useState("");
  const [acts, setActs] = useState(false);
  const mayAct = useMay("act");

  function make(event: FormEvent): void {
    event.preventDefault();
    void run("make", async () => {
      const scopes: ("read" | "act")[] = acts ? ["read", "act"] : ["read"];
      const answer = await body(
        api.POST("/api/v1/tokens", { body: { name: name.trim(), scopes, days: 30 } }),
      );
      setMade(answer.token);
      setCopied(false);
      setName("");
    });
  }
  const revoke = (id: string) =>
    run(id, () => api.DELETE("/api/v1/tokens/{token}", { params: { path: { token: id } } }));
  async function copy(text: string): Promise<void> {
    await navigator.clipboard.writeText(text);
    setCopied(true);
  }
  return (
    <section id="tokens" aria-label="Tokens" className="space-y-2">
      <h2 className="font-semibold">Tokens</h2>
      <p className="text-sm text-muted">
        For scripts, and for <code className="font-mono">mel --host</code> on another machine. A token ends
        after 30 days and never changes who may come in.
      </p>
      {(error ?? query.error) !== null && <ProblemNotice error={error ?? query.error} />}
      <form onSubmit={make} className="flex flex-wrap items-center gap-3">
        <Input
          aria-label="What the token is for"
          placeholder="What it is for"
          value={name}
          maxLength={64}
          onChange={(event) => setName(event.target.value)}
          className="max-w-64"
        />
        <label className="flex items-center gap-2">
          <input
            type="checkbox"
            checked={acts && mayAct}
            disabled={!mayAct}
            onChange={(event) => setActs(event.target.checked)}
            className="size-4 accent-[var(--accent)]"
          />
          may act
        </label>
        <Button type="submit" busy={busy === "make"} disabled={name.trim() === ""}>
          Make token
        </Button>
      </form>
      {made !== null && (
        <div role="status" className="space-y-2 rounded-md border border-line-strong p-3">
          <p>This is the token. It is shown this once.</p>
          <div className="flex flex-wrap items-center gap-3">
            <code className="min-w-0 break-all font-mono text-sm">{made}</code>
            <Button small onClick={() => void copy(made)}>
              {copied ? "Copied" : "Copy"}
            </Button>
            <Button small look="quiet" onClick={() => setMade(null)}>
              Done
            </Button>
          </div>
        </div>
      )}
      <ul className="rounded-md border border-line bg-surface empty:hidden">
        {query.data?.map((token) => (
          <li
            key={token.id}
            className="flex min-h-11 items-center gap-3 border-b border-line px-3 py-1.5 last:border-b-0"
          >
            <span className="min-w-0 flex-1">
              <Foreign text={token.name} /> <Badge>{token.scopes.join(", ")}</Badge>
              <span className="block text-sm text-muted">
                of <Foreign text={token.person} />, made <Ago at={token.created_at} /> ago,{" "}
                {token.last_used_at === null ? (
                  "never used"
                ) : (
                  <>
                    used <Ago at={token.last_used_at} /> ago from {token.last_address ?? "an unknown address"}
                  </>
                )}
              </span>
            </span>
            <Button
              small
              busy={busy === token.id}
              aria-label={`Revoke ${token.name}`}
              onClick={() => void revoke(token.id)}
            >
              Revoke
            </Button>
          </li>
        ))}
      </ul>
    </section>
  );
}
