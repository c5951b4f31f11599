// Passkeys as the browser has them: JSON of the hive in, JSON for the hive out.
import { Problem } from "~/api/client";

export type Json = Record<string, unknown>;

export function canUsePasskeys(): boolean {
  return "PublicKeyCredential" in window && "parseRequestOptionsFromJSON" in PublicKeyCredential;
}

/** Makes a passkey; what the browser answers. */
export async function make(options: Json): Promise<Json> {
  check();
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(
    options as unknown as PublicKeyCredentialCreationOptionsJSON,
  );
  return answer(() => navigator.credentials.create({ publicKey }));
}

/** Uses a passkey. `quietly`: only offered where the browser fills in names, without a dialog, until `signal`. */
export async function use(options: Json, quietly?: AbortSignal): Promise<Json> {
  check();
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(
    options as unknown as PublicKeyCredentialRequestOptionsJSON,
  );
  const more = quietly ? { mediation: "conditional" as const, signal: quietly } : {};
  return answer(() => navigator.credentials.get({ publicKey, ...more }));
}

export async function canOfferQuietly(): Promise<boolean> {
  if (!canUsePasskeys() || !("isConditionalMediationAvailable" in PublicKeyCredential)) return false;
  return PublicKeyCredential.isConditionalMediationAvailable();
}

function check(): void {
  if (!canUsePasskeys())
    throw new Problem(0, "old_browser", "this browser is too old for passkeys", "update it, or use another");
}

async function answer(ask: () => Promise<Credential | null>): Promise<Json> {
  const credential = await ask().catch((failed: unknown) => {
    throw explained(failed);
  });
  if (!(credential instanceof PublicKeyCredential)) throw explained(null);
  return credential.toJSON() as unknown as Json;
}

function explained(failed: unknown): Problem {
  const name = failed instanceof DOMException ? failed.name : "";
  if (name === "InvalidStateError")
    return new Problem(
      0,
      "exists",
      "this device has a passkey of yours already",
      "use another device or key",
    );
  if (name === "AbortError") return new Problem(0, "aborted", "another way was chosen", "");
  return new Problem(0, "no_passkey", "no passkey was used", "try again, or choose another way");
}
