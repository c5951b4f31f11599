// The parser, a chunk of its own. A text is cut into blocks first, so that a stream parses its last block anew, not all.
import { memo, type ReactNode, useMemo } from "react";
import Parsed, { type Components } from "react-markdown";
import remarkGfm from "remark-gfm";
import { linked } from "~/text/linked";
import { visible } from "~/text/visible";
import { FileLink, useFiles } from "./file-links";
import { blocksOf } from "./markdown-blocks";

const PLUGINS = [remarkGfm];

interface Node {
  type: string;
  tagName?: string;
  value?: string;
  properties?: Record<string, string>;
  children?: Node[];
}

/** Puts a link where a text names a file, in code too, and nowhere inside of another link. */
function fileLinks(files: ReadonlyMap<string, string>): () => (tree: Node) => void {
  const tokens = [...files.keys()];
  const inside = (node: Node): Node[] => {
    if (node.type === "text")
      return linked(node.value ?? "", tokens).map(({ text, file }) => {
        const words: Node = { type: "text", value: text };
        if (file === null) return words;
        const properties = { value: files.get(file) ?? file };
        return { type: "element", tagName: "button", properties, children: [words] };
      });
    if (node.children && node.tagName !== "a") node.children = node.children.flatMap(inside);
    return [node];
  };
  return () => (tree) => {
    inside(tree);
  };
}

/** A link shows where it leads: the host stands beside any text that is not the address itself. */
const COMPONENTS: Components = {
  a: ({ href, children }) => {
    const host = hostOf(href);
    if (host === null || href === undefined) return <span>{children}</span>;
    const own = typeof children === "string" && children.includes(host);
    return (
      <a href={href} target="_blank" rel="noopener noreferrer nofollow ugc">
        {children}
        {!own && <span className="text-muted"> ({visible(host, false)})</span>}
        <span aria-hidden="true"> ↗</span>
      </a>
    );
  },
  // An image's address tells its server who looks: the text of it is shown, and nothing is fetched.
  img: ({ alt }) => <span className="text-muted">[image{alt ? `: ${visible(alt, false)}` : ""}]</span>,
  button: ({ value, children }) => <FileLink file={String(value)}>{children}</FileLink>, // ours: no HTML is parsed
  input: ({ checked }) => <span aria-hidden="true">{checked ? "☑ " : "☐ "}</span>,
};

function hostOf(href: string | undefined): string | null {
  if (href === undefined) return null;
  try {
    const url = new URL(href);
    return url.protocol === "http:" || url.protocol === "https:" ? url.host : null;
  } catch {
    return null;
  }
}

function onlyWeb(url: string): string {
  return hostOf(url) === null ? "" : url;
}

type Rehype = ReturnType<typeof fileLinks>[];

const One = memo(function One({ text, rehype }: { text: string; rehype: Rehype }): ReactNode {
  return (
    <Parsed
      remarkPlugins={PLUGINS}
      rehypePlugins={rehype}
      components={COMPONENTS}
      urlTransform={onlyWeb}
      skipHtml={false}
    >
      {text}
    </Parsed>
  );
});

export default function Rendered({ text, streaming }: { text: string; streaming: boolean }): ReactNode {
  const safe = visible(text);
  const blocks = streaming ? blocksOf(safe) : [safe];
  const files = useFiles();
  const rehype = useMemo(
    () => (files.length > 0 ? [fileLinks(new Map(files.map((file) => [visible(file), file])))] : []),
    [files],
  );
  return (
    <div className="prose min-w-0">
      {blocks.map((block, at) => (
        <One key={at} text={block} rehype={rehype} />
      ))}
    </div>
  );
}
