// What an event makes stale. The map is total: a new kind does not compile until it has an answer.
//
// Rows of the roster and the numbers of the hive are not here: the hive pushes them whole (`event: rows`).
import type { HiveEvent } from "~/api/client";
import { isKnown, type Kind } from "./kinds";

/** The head of a query's key; everything below it is stale. */
export type Stale =
  | readonly ["messages"]
  | readonly ["messages", string]
  | readonly ["inbox"]
  | readonly ["turns"]
  | readonly ["turns", string]
  | readonly ["turn", number]
  | readonly ["agent", string]
  | readonly ["why"]
  | readonly ["events"]
  | readonly ["costs"]
  | readonly ["sessions"]
  | readonly ["tokens"]
  | readonly ["people"]
  | readonly ["me"]
  | readonly ["passkeys"]
  | readonly ["health"]
  | readonly ["tombstones"];

type Answer = (event: HiveEvent) => readonly Stale[];

const agent: Answer = (event) => (event.agent === null ? [] : [["agent", event.agent]]);
const mail: Answer = () => [["messages"], ["inbox"]];
const sent: Answer = (event) => {
  const { sender, recipient } = event.data;
  const names = [sender, recipient].filter((name) => typeof name === "string");
  return [...names.map((name) => ["messages", name] as const), ["messages", "*"], ["inbox"]];
};
const turn: Answer = (event) => {
  const number = Number(event.subject?.slice(1));
  const own: Stale[] = event.agent === null ? [] : [["turns", event.agent]];
  return [...own, ["turns", "*"], ...(Number.isInteger(number) ? [["turn", number] as const] : [])];
};
const gone: Answer = (event) => [...agent(event), ["tombstones"]];
const machine: Answer = () => [["health"]];
const keys: Answer = () => [["passkeys"]];
const nothing: Answer = () => [];

export const staleAfter: { readonly [K in Kind]: Answer } = {
  "agent.created": gone, // its name may have been a tombstone's
  "agent.started": agent,
  "agent.stopped": agent,
  "agent.restarted": agent,
  "agent.paused": agent,
  "agent.resumed": agent,
  "agent.destroyed": gone,
  "agent.purged": gone,
  "agent.changed": agent,
  "agent.status_set": agent,
  "agent.crashed": agent,
  "agent.gave_up": agent,
  "agent.trouble": agent,
  "agent.trouble_over": agent,
  "agent.session_lost": agent,
  "agent.session_renewed": agent,
  "message.sent": sent,
  "message.leased": mail,
  "message.handled": mail,
  "message.given_back": mail,
  "message.parked": mail,
  "message.retried": mail,
  "thread.tripped": mail,
  "turn.started": turn,
  "turn.waiting": turn,
  "turn.running": turn,
  "turn.adopted": turn,
  "turn.interrupt_asked": turn,
  "turn.ended": (event) => [...turn(event), ["costs"]],
  "box.starting": agent,
  "box.up": agent,
  "box.gone": agent,
  "box.swept": nothing,
  "operation.started": agent,
  "operation.ended": agent,
  "file.published": nothing,
  "model.refused": agent,
  "model.field_refused": agent,
  "model.price_unknown": nothing,
  "budget.spent": (event) => [...agent(event), ["costs"]],
  "daemon.started": () => [["agent", "*"]], // limits of boxes may bind otherwise now
  "daemon.stopping": nothing,
  "login.link_made": nothing,
  "session.opened": () => [["sessions"]],
  "session.revoked": () => [["sessions"]],
  "token.made": () => [["tokens"]],
  "token.revoked": () => [["tokens"]],
  "person.added": () => [["people"]],
  "person.role_changed": () => [["people"], ["sessions"], ["me"]],
  "person.disabled": () => [["people"], ["sessions"], ["tokens"]],
  "person.enabled": () => [["people"]],
  "session.renewed": () => [["sessions"]],
  "login.confirmed": nothing,
  "login.refused": nothing,
  "login.links_switched": keys,
  "passkey.added": keys,
  "passkey.renamed": keys,
  "passkey.revoked": keys,
  "passkey.counter_went_back": nothing,
  "recovery.codes_made": keys,
  "recovery.code_used": keys,
  "identity.linked": nothing,
  "identity.unlinked": nothing,
  "tombstones.changed": () => [["tombstones"]],
  "disk.low": machine,
  "disk.full": machine,
  "disk.ok": machine,
  "store.wal_large": machine,
  "store.checked": machine,
  "clock.jumped": machine,
};

/** Everything that may be shown wrongly after `event`. A kind that this page does not know makes all of it stale. */
export function staleKeys(event: HiveEvent): readonly Stale[] | "all" {
  return isKnown(event.kind) ? [...staleAfter[event.kind](event), ["events"], ["why"]] : "all";
}
