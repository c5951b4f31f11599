// A text with the colours of its language, a chunk of its own. Only classes and text nodes come out of the highlighter.
import { common, createLowlight } from "lowlight";
import { type ReactNode, useMemo } from "react";
import { visible } from "~/text/visible";
import { languageOf } from "./kinds";

const COLOURED_MOST = 60_000;
const lowlight = createLowlight(common);

interface Node {
  readonly type: string;
  readonly value?: string;
  readonly properties?: { readonly className?: unknown };
  readonly children?: readonly Node[];
}

export default function Source({ name, text }: { name: string; text: string }): ReactNode {
  const safe = useMemo(() => visible(text), [text]);
  const language = languageOf(name);
  const tree = useMemo<readonly Node[]>(
    () =>
      language !== null && safe.length <= COLOURED_MOST && lowlight.registered(language)
        ? (lowlight.highlight(language, safe).children as readonly Node[])
        : [{ type: "text", value: safe }],
    [language, safe],
  );
  return <pre className="source font-mono text-sm whitespace-pre-wrap">{tree.map(drawn)}</pre>;
}

function drawn(node: Node, at: number): ReactNode {
  if (node.type === "text") return node.value;
  const names = node.properties?.className;
  return (
    <span key={at} className={Array.isArray(names) ? names.join(" ") : undefined}>
      {node.children?.map(drawn)}
    </span>
  );
}
