import { type ReactNode, useEffect, useState } from "react";
import { Problem, problemOf } from "~/api/client";
import { ProblemNotice } from "~/ui/notice";

/** Uses the link up. The token stands in the fragment, which no server sees, and is taken out of the address at once. */
export function Login(): ReactNode {
  const [error, setError] = useState<unknown>(null);
  const [token] = useState(() => location.hash.slice(1));
  useEffect(() => {
    history.replaceState(null, "", "/login");
    if (token === "") return;
    use(token).then(
      () => location.replace("/"),
      (failed: unknown) => setError(failed),
    );
  }, [token]);
  return (
    <main className="mx-auto max-w-md space-y-4 px-4 pt-[18vh]">
      <h1 className="flex items-center gap-2 text-xl font-semibold">
        <img src="/assets/mark.svg" alt="" width="24" height="24" />
        Melipona
      </h1>
      <div role="status">
        {error !== null ? (
          <ProblemNotice error={error} />
        ) : (
          <p>{token === "" ? "This address holds no login link." : "Logging in."}</p>
        )}
      </div>
      <p className="text-muted">
        A login link works once, for ten minutes. <code className="font-mono">mel login</code> prints a new
        one on the machine where the hive runs.
      </p>
    </main>
  );
}

const used = new Map<string, Promise<void>>();

/** Once for each token, also when the component is drawn twice. */
function use(token: string): Promise<void> {
  const known = used.get(token);
  if (known) return known;
  const going = (async () => {
    const response = await fetch("/api/v1/login", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ token }),
    }).catch(() => {
      throw new Problem(0, "away", "the hive does not answer", "look at `mel status` on its machine");
    });
    if (!response.ok) throw await problemOf(response);
  })();
  used.set(token, going);
  return going;
}
