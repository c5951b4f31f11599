// The conversation of an agent: mail and turns, woven into one order. Pure.
import type { Message, Turn } from "~/api/client";
import type { Note } from "./notes";

export type Item =
  | { readonly kind: "message"; readonly key: string; readonly at: string; readonly message: Message }
  | { readonly kind: "turn"; readonly key: string; readonly at: string; readonly turn: Turn }
  | { readonly kind: "note"; readonly key: string; readonly at: string; readonly note: Note }
  /** Mail with other agents in a row, folded. */
  | {
      readonly kind: "peers";
      readonly key: string;
      readonly at: string;
      readonly messages: readonly Message[];
    };

export interface Loaded<T> {
  /** Newest first, without gaps. */
  readonly items: readonly T[];
  /** Whether there are older ones that are not loaded. */
  readonly more: boolean;
}

const OPERATOR = "operator";

function isPeer(message: Message): boolean {
  return message.sender !== OPERATOR && message.recipient !== OPERATOR && message.sender !== "system";
}

/**
 * Items oldest first. Where older messages or turns are not loaded yet, the order stops at the older end of what is known
 * of both: so that nothing is shown as if it stood next to something it did not.
 */
export function timeline(
  messages: Loaded<Message>,
  turns: Loaded<Turn>,
  notes: readonly Note[] = [],
): Item[] {
  const horizons = [
    messages.more ? messages.items.at(-1)?.sent_at : undefined,
    turns.more ? turns.items.at(-1)?.started_at : undefined,
  ].filter((at) => at !== undefined);
  const horizon = horizons.sort().at(-1) ?? "";
  const found: Item[] = [
    ...messages.items.map(
      (message): Item => ({ kind: "message", key: `m${message.id}`, at: message.sent_at, message }),
    ),
    ...turns.items.map((turn): Item => ({ kind: "turn", key: `t${turn.id}`, at: turn.started_at, turn })),
    ...notes.map((note): Item => ({ kind: "note", key: `e${note.id}`, at: note.at, note })),
  ].filter((item) => item.at >= horizon);
  found.sort(compare);
  return folded(found);
}

/** By time; a turn that runs is last, because what it says is now. At the same moment mail comes before the turn it woke. */
function compare(a: Item, b: Item): number {
  const running = (item: Item) => (item.kind === "turn" && item.turn.state !== "ended" ? 1 : 0);
  if (running(a) !== running(b)) return running(a) - running(b);
  if (a.at !== b.at) return a.at < b.at ? -1 : 1;
  if (a.kind !== b.kind) return RANK[a.kind] - RANK[b.kind];
  return idOf(a) - idOf(b);
}

const RANK = { message: 0, peers: 0, note: 1, turn: 2 } as const;

function idOf(item: Item): number {
  switch (item.kind) {
    case "message":
      return item.message.id;
    case "turn":
      return item.turn.id;
    case "note":
      return item.note.id;
    default:
      return 0;
  }
}

function folded(items: readonly Item[]): Item[] {
  const found: Item[] = [];
  for (const item of items) {
    const last = found.at(-1);
    if (item.kind !== "message" || !isPeer(item.message)) found.push(item);
    else if (last?.kind === "peers")
      found[found.length - 1] = { ...last, messages: [...last.messages, item.message] };
    else found.push({ kind: "peers", key: `p${item.message.id}`, at: item.at, messages: [item.message] });
  }
  return found;
}
