// A turn's log, folded into what a reader sees: text, thinking, tool calls with their results, notes. Pure.

export interface TextBlock {
  readonly type: "text";
  readonly thinking: boolean;
  readonly text: string;
  /** Still being written. */
  readonly partial: boolean;
}
export interface ToolBlock {
  readonly type: "tool";
  readonly id: string;
  readonly name: string;
  readonly input: Readonly<Record<string, unknown>>;
  readonly at: string;
  readonly result: { readonly ok: boolean; readonly text: string; readonly at: string } | null;
}
export interface NoteBlock {
  readonly type: "note";
  readonly tone: "muted" | "warn" | "danger";
  readonly text: string;
}
export type Block = TextBlock | ToolBlock | NoteBlock;

export interface TurnLog {
  readonly blocks: readonly Block[];
  /** Whether everything was seen: the turn has ended. */
  readonly ended: boolean;
}

export const EMPTY: TurnLog = { blocks: [], ended: false };
/** More of one text than this is cut: a page has to stay alive, whatever a box writes. */
export const TEXT_MOST = 200_000;
/** The oldest blocks go when there are more. */
export const BLOCKS_MOST = 2_000;

interface Line {
  readonly at?: unknown;
  readonly event?: unknown;
}

/** One line of the log, applied. A line that is not understood changes nothing (LE-15). */
export function takeLine(log: TurnLog, line: Line): TurnLog {
  const event = (typeof line.event === "object" && line.event !== null ? line.event : {}) as Record<
    string,
    unknown
  >;
  const at = typeof line.at === "string" ? line.at : "";
  const blocks = next(log.blocks, event, at);
  if (blocks === log.blocks) return log;
  return { ...log, blocks: blocks.length > BLOCKS_MOST ? blocks.slice(blocks.length - BLOCKS_MOST) : blocks };
}

function next(blocks: readonly Block[], event: Record<string, unknown>, at: string): readonly Block[] {
  switch (event.type) {
    case "text_delta":
      return written(blocks, str(event.text), event.thinking === true);
    case "text":
      return complete(blocks, str(event.text), event.thinking === true);
    case "drop_partial":
      return blocks.filter((block) => block.type !== "text" || !block.partial);
    case "tool_call": {
      const input = typeof event.input === "object" && event.input !== null ? event.input : {};
      const call: ToolBlock = {
        type: "tool",
        id: str(event.id),
        name: str(event.name),
        input: { ...input },
        at,
        result: null,
      };
      return [...settled(blocks), call];
    }
    case "tool_result":
      return answered(blocks, str(event.id), { ok: event.ok !== false, text: cut(str(event.text)), at });
    case "compaction":
      return note(blocks, "muted", "the conversation was compacted");
    case "retry":
      return note(
        blocks,
        "warn",
        `the model's service failed${event.error ? `: ${str(event.error)}` : ""}; attempt ${str(event.attempt)}`,
      );
    case "rate_limited":
      return note(blocks, "warn", "the model's rate limit is reached");
    case "permission_request":
      return note(blocks, "muted", `asks whether it may use ${str(event.tool)}`);
    case "log_limit":
      return note(
        blocks,
        "warn",
        "the log of this turn has reached its limit; what follows is not kept in full",
      );
    case "result": {
      const told = settled(blocks);
      if (event.outcome === "ok") return told;
      const detail = str(event.detail) || str(event.text);
      return note(told, "danger", `${str(event.outcome).replaceAll("_", " ")}${detail ? `: ${detail}` : ""}`);
    }
    default:
      return blocks;
  }
}

function written(blocks: readonly Block[], text: string, thinking: boolean): readonly Block[] {
  const last = blocks.at(-1);
  if (last?.type === "text" && last.partial && last.thinking === thinking)
    return [...blocks.slice(0, -1), { ...last, text: cut(last.text + text) }];
  return [...settled(blocks), { type: "text", thinking, text, partial: true }];
}

/** A whole block takes the place of the pieces of it that came before. */
function complete(blocks: readonly Block[], text: string, thinking: boolean): readonly Block[] {
  const last = blocks.at(-1);
  const before =
    last?.type === "text" && last.partial && last.thinking === thinking
      ? blocks.slice(0, -1)
      : settled(blocks);
  return text.trim() === ""
    ? before
    : [...before, { type: "text", thinking, text: cut(text), partial: false }];
}

function answered(
  blocks: readonly Block[],
  id: string,
  result: NonNullable<ToolBlock["result"]>,
): readonly Block[] {
  const index = blocks.findLastIndex(
    (block) => block.type === "tool" && block.id === id && block.result === null,
  );
  const call = blocks[index];
  return call?.type === "tool" ? blocks.with(index, { ...call, result }) : blocks;
}

function settled(blocks: readonly Block[]): readonly Block[] {
  const last = blocks.at(-1);
  return last?.type === "text" && last.partial
    ? [...blocks.slice(0, -1), { ...last, partial: false }]
    : blocks;
}

function note(blocks: readonly Block[], tone: NoteBlock["tone"], text: string): readonly Block[] {
  return [...blocks, { type: "note", tone, text: cut(text) }];
}

/** What a box wrote where text belongs. An object may have made its own `toString` something that cannot be called. */
function str(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "object") return value === null ? "" : JSON.stringify(value);
  return value === undefined ? "" : String(value);
}

function cut(text: string): string {
  return text.length <= TEXT_MOST
    ? text
    : `${text.slice(0, TEXT_MOST)}\n… cut here; ${text.length - TEXT_MOST} characters more`;
}

const LONG = { characters: 600, lines: 6 };

/** Whether a thought would push away what was done. */
export function isLong(text: string): boolean {
  return text.length > LONG.characters || text.split("\n", LONG.lines + 1).length > LONG.lines;
}
