// The parser, a chunk of its own. A text is cut into blocks first, so that a stream parses its last block anew, not all.
import { memo, type ReactNode } from "react";
import Parsed, { type Components } from "react-markdown";
import remarkGfm from "remark-gfm";
import { visible } from "~/text/visible";
import { blocksOf } from "./markdown-blocks";

const PLUGINS = [remarkGfm];

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

const One = memo(function One({ text }: { text: string }): ReactNode {
  return (
    <Parsed remarkPlugins={PLUGINS} components={COMPONENTS} urlTransform={onlyWeb} skipHtml={false}>
      {text}
    </Parsed>
  );
});

export default function Rendered({ text, streaming }: { text: string; streaming: boolean }): ReactNode {
  const safe = visible(text);
  const blocks = streaming ? blocksOf(safe) : [safe];
  return (
    <div className="prose min-w-0">
      {blocks.map((block, at) => (
        <One key={at} text={block} />
      ))}
    </div>
  );
}
