// Some decisions must be confirmed: the hive refuses them with a challenge, a passkey signs it (or its person logs in at
// the provider once more), and the same request goes again with the name of the confirmation. `~/api/client` does that
// for every request.
import { problemOf } from "~/api/client";
import { type Json, use } from "./webauthn";

interface Needed {
  readonly id: string;
  readonly options: Json | null;
}

/** The challenge that `response` is refused with, if that is why. */
export async function needed(response: Response): Promise<Needed | null> {
  const body: unknown = await response
    .clone()
    .json()
    .catch(() => null);
  return (body as { step_up?: Needed } | null)?.step_up ?? null;
}

/** Has the passkey sign, or the provider asked; the name of the confirmation. */
export async function confirm({ id, options }: Needed): Promise<string> {
  if (options === null) {
    const { logInOnceMore } = await import("./again");
    await logInOnceMore(id);
    return id;
  }
  const answer = await use(options);
  const response = await fetch("/api/v1/step-up", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ id, answer }),
  });
  if (!response.ok) throw await problemOf(response);
  return id;
}
