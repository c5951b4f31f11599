// Whoever has no passkey and comes in by a provider logs in there once more to confirm a decision: in a tab of its own,
// so that what was typed here stays. That tab comes back to `/login/oidc`, shows the hive what it was given, and says so.
import { AWAY, Problem, problemOf } from "~/api/client";

const CHANNEL = "mel-confirmed";
const WAIT_MS = 300_000;

interface Told {
  readonly id: string;
  readonly problem: { readonly detail: string; readonly remedy: string } | null;
}

async function post(path: string, body: object): Promise<Response> {
  const response = await fetch(`/api/v1/step-up/${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  }).catch(() => {
    throw AWAY;
  });
  if (!response.ok) throw await problemOf(response);
  return response;
}

/** Opens the provider in another tab and waits until that has come back. */
export async function logInOnceMore(id: string): Promise<void> {
  const { url } = (await (await post("provider/start", { id })).json()) as { url: string };
  const told = answered(id);
  if (window.open(url, "_blank") === null) {
    told.stop();
    throw new Problem(
      0,
      "blocked",
      "the browser opened no tab for the login",
      "allow this page to, then try again",
    );
  }
  await told.done;
}

function answered(id: string): { done: Promise<void>; stop: () => void } {
  const channel = new BroadcastChannel(CHANNEL);
  let timer = 0;
  const stop = () => {
    clearTimeout(timer);
    channel.close();
  };
  const done = new Promise<void>((resolve, reject) => {
    const over = new Problem(0, "login_over", "nobody logged in at the provider", "try again");
    timer = window.setTimeout(() => {
      stop();
      reject(over);
    }, WAIT_MS);
    channel.onmessage = ({ data }: MessageEvent<Told>) => {
      if (data.id !== id) return;
      stop();
      if (data.problem === null) resolve();
      else reject(new Problem(403, "oidc", data.problem.detail, data.problem.remedy));
    };
  });
  return { done, stop };
}

/** Of what the provider sent a browser back with: the decision that it is about, null for a login. */
export function decisionOf(given: URLSearchParams): string | null {
  const [id, rest] = (given.get("state") ?? "").split(".");
  return id && rest ? id : null;
}

/** Shows the hive what the provider sent this tab back with, and tells the tab that waits. */
export async function confirmFromProvider(id: string, given: URLSearchParams): Promise<void> {
  const channel = new BroadcastChannel(CHANNEL);
  const text = (name: string) => given.get(name) ?? "";
  const body = { id, state: text("state"), code: text("code"), error: text("error"), iss: given.get("iss") };
  try {
    await post("provider", body);
    channel.postMessage({ id, problem: null } satisfies Told);
  } catch (failed) {
    const { detail, remedy } = failed instanceof Problem ? failed : AWAY;
    channel.postMessage({ id, problem: { detail, remedy } } satisfies Told);
    throw failed;
  } finally {
    channel.close();
  }
}
