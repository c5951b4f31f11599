import { lazy, memo, type ReactNode, Suspense } from "react";
import { took } from "~/text/format";
import { Fold } from "~/ui/fold";
import { Icon } from "~/ui/icons";
import { Markdown } from "~/ui/markdown";
import { StateShape } from "~/ui/state";
import { TerminalText } from "~/ui/terminal-text";
import { Foreign } from "~/ui/text";
import { type Block, isLong, type ToolBlock } from "./log";
import { gist, shownAs, toolName } from "./tool";

const Diff = lazy(() => import("~/ui/diff").then((it) => ({ default: it.Diff })));

/** What a turn said and did, in order. */
export function Blocks({ blocks, live }: { blocks: readonly Block[]; live: boolean }): ReactNode {
  return (
    <div className="space-y-2">
      {blocks.map((block, at) => (
        <BlockView key={at} block={block} live={live && at === blocks.length - 1} />
      ))}
    </div>
  );
}

const BlockView = memo(function BlockView({ block, live }: { block: Block; live: boolean }): ReactNode {
  switch (block.type) {
    case "text":
      return block.thinking ? (
        <Thinking text={block.text} live={live} />
      ) : (
        <Markdown text={block.text} streaming={block.partial} />
      );
    case "tool":
      return <Tool tool={block} live={live} />;
    case "note":
      return (
        <p
          className={`text-sm ${block.tone === "danger" ? "text-danger" : block.tone === "warn" ? "text-warn" : "text-muted"}`}
        >
          <Foreign text={block.text} lines />
        </p>
      );
  }
});

/** Dimmed. What is long is one line until it is opened, once the agent thinks of something else. */
function Thinking({ text, live }: { text: string; live: boolean }): ReactNode {
  const words = (
    <div className="border-l-2 border-line pl-3 text-sm whitespace-pre-wrap text-muted italic">
      <Foreign text={text} lines />
    </div>
  );
  if (live || !isLong(text)) return words;
  const summary = (
    <span className="flex items-center gap-2 text-sm text-muted">
      <span className="shrink-0">Thought</span>
      <span className="min-w-0 flex-1 truncate italic">
        <Foreign text={text.slice(0, 300)} />
      </span>
    </span>
  );
  return (
    <Fold className="-ml-1.5" summary={summary}>
      {() => words}
    </Fold>
  );
}

/** One line a call: `Bash  pytest -q  1.8 s  ok`; opens to what went in and what came out. */
function Tool({ tool, live }: { tool: ToolBlock; live: boolean }): ReactNode {
  const running = tool.result === null;
  const ms = tool.result && tool.at ? Date.parse(tool.result.at) - Date.parse(tool.at) : null;
  return (
    <Fold
      className="-ml-1.5"
      summary={
        <span className="flex items-center gap-2">
          <span className="shrink-0 font-medium">
            <Foreign text={toolName(tool.name)} />
          </span>
          <span className="min-w-0 flex-1 truncate font-mono text-sm text-muted">
            <Foreign text={gist(tool)} />
          </span>
          {running && live && <StateShape state="working" />}
          {ms !== null && <span className="shrink-0 text-sm text-muted">{took(ms)}</span>}
          {tool.result && !tool.result.ok && <span className="shrink-0 text-sm text-danger">failed</span>}
        </span>
      }
    >
      {() => <Inside tool={tool} />}
    </Fold>
  );
}

function Inside({ tool }: { tool: ToolBlock }): ReactNode {
  const shown = shownAs(tool);
  const output = tool.result?.text ?? "";
  switch (shown.as) {
    case "terminal":
      return <Terminal command={shown.command} output={output} />;
    case "diff":
      return (
        <div className="space-y-2">
          <Suspense fallback={null}>
            {shown.changes.map((change, at) => (
              <Diff key={at} path={shown.path} {...change} />
            ))}
          </Suspense>
          {tool.result && !tool.result.ok && <Output text={output} />}
        </div>
      );
    case "file":
      return (
        <Suspense fallback={null}>
          <Diff path={shown.path} before="" after={shown.text} />
        </Suspense>
      );
    case "mail":
      return (
        <div className="space-y-2">
          <p className="flex items-center gap-2 text-sm text-muted">
            <Icon name="send" />
            <Foreign text={shown.to} />
          </p>
          <Framed>
            <Markdown text={shown.text} />
          </Framed>
          <Output text={output} />
        </div>
      );
    default:
      return (
        <div className="space-y-2">
          <Output text={JSON.stringify(tool.input, null, 2)} />
          <Output text={output} />
        </div>
      );
  }
}

/** Agent's words stand in a quiet box, so that nobody takes them for ours. */
export function Framed({ children }: { children: ReactNode }): ReactNode {
  return <div className="rounded-md border border-line bg-surface px-3 py-2">{children}</div>;
}

function Terminal({ command, output }: { command: string; output: string }): ReactNode {
  return (
    <pre className="max-h-96 overflow-auto rounded-md border border-line bg-sunken px-3 py-2 font-mono text-sm whitespace-pre-wrap">
      <span className="text-muted select-none">$ </span>
      <span className="font-medium">
        <Foreign text={command} lines />
      </span>
      {"\n"}
      <TerminalText text={output} />
    </pre>
  );
}

function Output({ text }: { text: string }): ReactNode {
  if (text === "") return null;
  return (
    <pre className="max-h-96 overflow-auto rounded-md border border-line bg-sunken px-3 py-2 font-mono text-sm whitespace-pre-wrap">
      <TerminalText text={text} />
    </pre>
  );
}
