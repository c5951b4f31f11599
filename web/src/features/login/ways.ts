// The ways in, as the login page uses them. Each ends with the page that the hive names, and is tried once at a time.
import { AWAY, problemOf } from "~/api/client";
import { type Json, use } from "~/features/access/webauthn";

export interface Ways {
  readonly passkeys: boolean;
  readonly place: { readonly here: boolean; readonly why: string; readonly address: string };
  readonly provider: string | null;
  readonly links: boolean;
}

const NEXT = "mel-next";

async function ask<T>(method: "GET" | "POST", path: string, body?: Json): Promise<T> {
  const headers = { "content-type": "application/json" };
  const init = method === "GET" ? {} : { method, headers, body: JSON.stringify(body ?? {}) };
  const response = await fetch(`/api/v1${path}`, init).catch(() => {
    throw AWAY;
  });
  if (!response.ok) throw await problemOf(response);
  return (await response.json()) as T;
}

/** Where somebody wanted to go; the hive decides whether that is a page. */
export function wanted(): string {
  return new URLSearchParams(location.search).get("next")?.slice(0, 300) ?? "/";
}

function land({ next }: { next: string }): void {
  location.replace(next);
}

export function waysIn(): Promise<Ways> {
  return ask<Ways>("GET", "/login/ways");
}

export async function byPasskey(quietly?: AbortSignal): Promise<void> {
  const options = await ask<Json>("POST", "/login/passkey/options");
  const answer = await use(options, quietly);
  land(await ask("POST", "/login/passkey", { answer, next: wanted() }));
}

export async function byCode(code: string): Promise<void> {
  land(await ask("POST", "/login/recovery", { code, next: wanted() }));
}

export async function byProvider(): Promise<void> {
  const { url } = await ask<{ url: string }>("POST", "/login/oidc/start");
  sessionStorage.setItem(NEXT, wanted());
  location.assign(url);
}

/** What the provider sent the browser back with, posted: so a GET changes nothing, and our cookies are there. */
export async function fromProvider(given: URLSearchParams): Promise<void> {
  const text = (name: string) => given.get(name) ?? "";
  const next = sessionStorage.getItem(NEXT) ?? "/";
  sessionStorage.removeItem(NEXT);
  const body = {
    state: text("state"),
    code: text("code"),
    error: text("error"),
    iss: given.get("iss"),
    next,
  };
  land(await ask("POST", "/login/oidc", body));
}

export async function byLink(token: string): Promise<void> {
  await ask("POST", "/login", { token });
  land({ next: "/" });
}
