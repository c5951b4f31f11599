// The API's client: types come from the committed OpenAPI document; a problem document becomes an error in three parts.
import createClient, { type Middleware } from "openapi-fetch";
import type { components, paths } from "./schema";

type Schemas = components["schemas"];
export type Agent = Schemas["AgentView"];
export type AgentDetail = Schemas["AgentDetail"];
export type State = Schemas["StateView"];
export type AgentPage = Schemas["Agents"];
export type Message = Schemas["MessageView"];
export type Turn = Schemas["TurnView"];
export type HiveEvent = Schemas["EventView"];
export type Operation = Schemas["OperationView"];
export type Costs = Schemas["Costs"];
export type Cost = Schemas["CostView"];
export type Health = Schemas["Health"];
export type Setting = Schemas["SettingView"];
export type NewAgent = Schemas["NewAgent"];
export type Changes = Schemas["Changes"];

export const PROTOCOL = 1;
const TIMEOUT_MS = 30_000;
const PATIENT_MS = 30 * 60_000;
/** What takes as long as the hive is large. */
const LONG = /\/api\/v1\/(backup|doctor)$/;

/** What happened, what to do, and the stable code of it. */
export class Problem extends Error {
  override readonly name = "Problem";
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly remedy: string,
  ) {
    super(remedy ? `${detail}. ${remedy}` : detail);
  }
}

/** The hive speaks a newer protocol than this page (ASK-4): a reload brings the page that fits. */
export class TooOld extends Error {
  override readonly name = "TooOld";
}

export function checkProtocol(response: Response): void {
  if (Number(response.headers.get("melipona-protocol")) > PROTOCOL) throw new TooOld();
}

export async function problemOf(response: Response): Promise<Problem> {
  const body: unknown = await response.json().catch(() => null);
  const given = (body ?? {}) as Record<string, unknown>;
  const text = (key: string) => (typeof given[key] === "string" ? (given[key] as string) : "");
  return new Problem(
    response.status,
    text("code") || "failed",
    text("detail") || `HTTP ${response.status}`,
    text("remedy"),
  );
}

/** The hive does not answer at all. */
export const AWAY = new Problem(
  0,
  "away",
  "the hive does not answer",
  "it may be starting; this page goes on by itself",
);

const loggedOut = new Set<() => void>();
export function onLoggedOut(act: () => void): () => void {
  loggedOut.add(act);
  return () => loggedOut.delete(act);
}
export function tellLoggedOut(): void {
  for (const act of loggedOut) act();
}

const checks: Middleware = {
  async onResponse({ response }) {
    checkProtocol(response);
    if (response.ok) return;
    if (response.status === 401) tellLoggedOut();
    throw await problemOf(response);
  },
  onError({ error }) {
    return error instanceof Problem || error instanceof TooOld ? error : AWAY;
  },
};

/** Has a person confirm what `response` refused until then: the name of the confirmation, null if it is refused anyhow. */
export type Confirmer = (response: Response) => Promise<string | null>;
let confirmer: Confirmer = async () => null;
/** `~/features/access/step-up` is it; whoever starts the page says so. */
export function confirmBy(next: Confirmer): void {
  confirmer = next;
}

/** One request; when it must be confirmed with a passkey, that is asked for and it goes again. */
async function ask(request: Request): Promise<Response> {
  const again = request.clone();
  const patience = LONG.test(new URL(request.url).pathname) ? PATIENT_MS : TIMEOUT_MS;
  const response = await fetch(request, { signal: AbortSignal.timeout(patience) });
  if (response.status !== 403) return response;
  const confirmation = await confirmer(response);
  if (confirmation === null) return response;
  again.headers.set("melipona-step-up", confirmation);
  return fetch(again, { signal: AbortSignal.timeout(patience) });
}

export const api = createClient<paths>({ fetch: ask });
api.use(checks);

/** The body of an answer that cannot fail here: failures were thrown by the middleware. */
export async function body<T>(answer: Promise<{ data?: T }>): Promise<T> {
  const { data } = await answer;
  return data as T;
}
