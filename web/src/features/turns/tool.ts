// What one line says about a tool call, and how its inside is shown. Names and inputs come from a box: read with care.
import type { ToolBlock } from "./log";

/** A text of a file, and what it became. */
export interface Change {
  readonly before: string;
  readonly after: string;
}

export type Shown =
  | { readonly as: "terminal"; readonly command: string }
  | { readonly as: "diff"; readonly path: string; readonly changes: readonly Change[] }
  | { readonly as: "file"; readonly path: string; readonly text: string }
  | { readonly as: "mail"; readonly to: string; readonly text: string }
  | { readonly as: "json" };

const text = (tool: ToolBlock, ...keys: string[]): string => {
  for (const key of keys) {
    const value = tool.input[key];
    if (typeof value === "string" && value !== "") return value;
  }
  return "";
};

/** The tool's own name: `mcp__hive__send` is `send`. */
export function toolName(name: string): string {
  return name.replace(/^mcp__[a-z0-9_-]+?__/i, "");
}

export function shownAs(tool: ToolBlock): Shown {
  const name = toolName(tool.name);
  const command = tool.input.command;
  if ((name === "Bash" || name === "shell") && typeof command === "string")
    return { as: "terminal", command };
  if (name === "git" && Array.isArray(tool.input.arguments))
    return { as: "terminal", command: `git ${tool.input.arguments.map(String).join(" ")}` };
  const path = text(tool, "file_path", "path", "notebook_path");
  const changes = changesOf(tool.input.edits) ?? changesOf([tool.input]);
  if (changes !== null) return { as: "diff", path, changes };
  if (name === "Write" && typeof tool.input.content === "string")
    return { as: "file", path, text: tool.input.content };
  if (name === "NotebookEdit" && typeof tool.input.new_source === "string")
    return { as: "file", path, text: tool.input.new_source };
  if (name === "send" && typeof tool.input.body === "string")
    return { as: "mail", to: text(tool, "to") || "the sender", text: tool.input.body };
  return { as: "json" };
}

/** The changes of an edit, in order; null where they are not of that shape. */
function changesOf(edits: unknown): readonly Change[] | null {
  if (!Array.isArray(edits) || edits.length === 0) return null;
  const found = edits.map((edit: unknown) => {
    const { old_string: before, new_string: after } = (edit ?? {}) as Record<string, unknown>;
    return typeof before === "string" && typeof after === "string" ? { before, after } : null;
  });
  return found.every((change) => change !== null) ? found : null;
}

/** What stands beside the tool's name: the command, the file, the addressee; one line. */
export function gist(tool: ToolBlock): string {
  const shown = shownAs(tool);
  switch (shown.as) {
    case "terminal":
      return firstLine(shown.command);
    case "diff":
    case "file":
      return shown.path;
    case "mail":
      return `to ${shown.to}: ${firstLine(shown.text)}`;
    default:
      return firstLine(
        text(tool, "file_path", "path", "pattern", "query", "url", "description", "text", "prompt", "name") ||
          some(tool.input),
      );
  }
}

function some(input: Readonly<Record<string, unknown>>): string {
  const entries = Object.entries(input);
  return entries.length === 0
    ? ""
    : entries
        .map(([key, value]) => `${key} ${JSON.stringify(value)}`)
        .join(", ")
        .slice(0, 200);
}

function firstLine(value: string): string {
  const line = value.trim().split("\n", 1)[0] ?? "";
  return value.trim().length > line.length ? `${line} …` : line;
}
