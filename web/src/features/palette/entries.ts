// Everything that the palette offers besides agents themselves: data, so that a test can hold it against the API.

import type { Agent } from "~/api/client";
import { PLACES } from "~/app/places";
import type { Tab } from "~/app/search";
import { possible, type Verb } from "~/features/agents/actions";
import type { ASKED } from "~/features/agents/controls";
import type { HiveAsked } from "~/features/hive/actions";
import { type Authority, mayNow } from "~/live/may";
import type { IconName } from "~/ui/icons";
import { word } from "~/ui/state";

export interface Entry {
  readonly label: string;
  /** What else somebody may type to find it. */
  readonly words?: string;
  readonly icon: IconName;
  readonly needs?: Authority;
  readonly does: Doing;
}
export type Doing =
  | { readonly run: Verb; readonly name: string }
  | {
      readonly to: (typeof PLACES)[number]["to"] | "/ui" | ".";
      readonly search?: object;
      readonly hash?: string;
    }
  | { readonly agent: string; readonly search: object }
  | { readonly what: "read-all" | "doctor" | "keys" }
  | { readonly theme: "light" | "dark" | "system" };

const views: readonly Entry[] = [
  ...PLACES.map(
    (place): Entry => ({ label: place.name, words: "view", icon: place.icon, does: { to: place.to } }),
  ),
  {
    label: "Messages as a sequence",
    icon: "sequence",
    does: { to: "/messages", search: { as: "sequence" } },
  },
  {
    label: "Parked mail",
    words: "failed retry",
    icon: "retry",
    does: { to: "/messages", search: { state: "parked" } },
  },
  { label: "Costs by agent", icon: "costs", does: { to: "/costs", search: { by: "agent" } } },
  { label: "Costs by day", icon: "costs", does: { to: "/costs", search: { by: "day" } } },
];

const asks = (hive: HiveAsked): Doing => ({ to: ".", search: { hive } });
const settings = (label: string, hash: string, words: string, needs: Authority = "own"): Entry => ({
  label,
  words,
  icon: "settings",
  needs,
  does: { to: "/settings", hash },
});

const actions: readonly Entry[] = [
  {
    label: "Make an agent",
    words: "new create",
    icon: "plus",
    needs: "act",
    does: { to: ".", search: { new: "agent" } },
  },
  {
    label: "Mark all messages read",
    words: "inbox",
    icon: "check",
    needs: "act",
    does: { what: "read-all" },
  },
  {
    label: "Examine this machine",
    words: "doctor health check",
    icon: "health",
    needs: "act",
    does: { what: "doctor" },
  },
  { label: "Back up the hive", words: "backup save", icon: "download", needs: "admin", does: asks("backup") },
  { label: "Stop the hive", words: "down shut end", icon: "stop", needs: "admin", does: asks("stop") },
  settings("Log out, revoke sessions", "sessions", "logout browser"),
  settings("Make or revoke a token", "tokens", "script api"),
  settings("Add or change a passkey", "passkeys", "recovery codes login"),
  settings(
    "Add or change people",
    "people",
    "role viewer operator admin identity login link invite",
    "admin",
  ),
  {
    label: "What mel.toml says",
    words: "settings configuration",
    icon: "settings",
    does: { to: "/settings", hash: "mel-toml" },
  },
  { label: "Keys", words: "help keyboard shortcuts", icon: "why", does: { what: "keys" } },
  { label: "Look light", words: "theme", icon: "sun", does: { theme: "light" } },
  { label: "Look dark", words: "theme", icon: "sun", does: { theme: "dark" } },
  { label: "Look as the system does", words: "theme", icon: "sun", does: { theme: "system" } },
  { label: "Parts of the page", words: "ui primitives design", icon: "list", does: { to: "/ui" } },
];

type Asked = (typeof ASKED)[number];
/** What happens at once; what asks first stands below. Every verb is in one of the two. */
const VERBS: Readonly<Record<Exclude<Verb, Asked>, readonly [string, IconName]>> = {
  pause: ["Pause", "pause"],
  resume: ["Resume", "play"],
  interrupt: ["Interrupt", "hand"],
  start: ["Start", "play"],
  stop: ["Stop", "stop"],
  compact: ["Compact", "compact"],
  "take-back": ["Take back what waits for", "close"],
};
const QUESTIONS: Readonly<Record<Asked, readonly [string, IconName]>> = {
  restart: ["Restart", "restart"],
  "new-session": ["New session for", "fresh"],
  model: ["Change the model of", "model"],
  destroy: ["Destroy", "close"],
  purge: ["Purge", "close"],
};
const PAGES: readonly { tab: Tab; label: string; icon: IconName; needs?: Authority }[] = [
  { tab: "conversation", label: "Write to", icon: "send", needs: "act" },
  { tab: "terminal", label: "Terminal of", icon: "terminal", needs: "act" },
  { tab: "turns", label: "Turns of", icon: "list" },
  { tab: "mail", label: "Mail of", icon: "mail" },
  { tab: "settings", label: "Settings of", icon: "settings" },
  { tab: "files", label: "Files of", icon: "files" },
];

/** What can be done with one agent as it is now. */
function ofAgent(agent: Agent): readonly Entry[] {
  const { name } = agent;
  const can = possible(agent);
  const verbs = Object.entries(VERBS) as [keyof typeof VERBS, readonly [string, IconName]][];
  const questions = Object.entries(QUESTIONS) as [Asked, readonly [string, IconName]][];
  const fits = (asked: Asked): boolean => (asked === "model" ? agent.engine !== "playbook" : can.has(asked));
  return [
    ...verbs
      .filter(([verb]) => can.has(verb))
      .map(
        ([verb, [label, icon]]): Entry => ({
          label: `${label} ${name}`,
          icon,
          needs: "act",
          does: { run: verb, name },
        }),
      ),
    ...questions
      .filter(([asked]) => fits(asked))
      .map(
        ([ask, [label, icon]]): Entry => ({
          label: `${label} ${name}`,
          icon,
          needs: "act",
          does: { agent: name, search: { ask } },
        }),
      ),
    ...PAGES.map(
      ({ tab, label, icon, ...more }): Entry => ({
        label: `${label} ${name}`,
        icon,
        ...more,
        does: { agent: name, search: { tab } },
      }),
    ),
    {
      label: `What ${name} did and had done to it`,
      words: "audit events",
      icon: "audit",
      does: { to: "/audit", search: { agent: name } },
    },
    { label: `Why is ${name} ${word(agent.state)}`, icon: "why", does: { to: ".", search: { why: name } } },
  ];
}

const MEANT_MOST = 8;

/** The agents whose actions are offered: those that a word of the text names, else those that need somebody most. */
export function agentsMeant<A extends { readonly name: string }>(
  agents: readonly A[],
  text: string,
): readonly A[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const named = agents.filter((agent) => words.some((word) => agent.name.includes(word)));
  return (named.length > 0 ? named : agents).slice(0, MEANT_MOST);
}

/** What is offered for `text`, to who is here: views, then actions; those of agents only once something is typed. */
export function entries(
  agents: readonly Agent[],
  text: string,
): { readonly views: readonly Entry[]; readonly actions: readonly Entry[] } {
  const mine = (entry: Entry): boolean => entry.needs === undefined || mayNow(entry.needs);
  const typed = text.trim() === "" ? [] : agentsMeant(agents, text).flatMap(ofAgent);
  return { views: views.filter(mine), actions: [...actions, ...typed].filter(mine) };
}
