import { useQuery } from "@tanstack/react-query";
import { lazy, type ReactNode, Suspense, useState } from "react";
import { Problem } from "~/api/client";
import { bytes } from "~/text/format";
import { visible } from "~/text/visible";
import { Button, buttonClass } from "~/ui/button";
import { WithFiles } from "~/ui/file-links";
import { Icon } from "~/ui/icons";
import { Markdown } from "~/ui/markdown";
import { ProblemNotice } from "~/ui/notice";
import { Ago, Foreign } from "~/ui/text";
import { cutText, isMarkdown, nameOf } from "./kinds";
import { downloadAddress, fileContent } from "./queries";

const Source = lazy(() => import("./source"));

/** A file in place: what it holds, how old that is, and the file itself to keep. As high as a look needs, then it scrolls. */
export function FilePreview({ path, onClose }: { path: string; onClose: () => void }): ReactNode {
  const file = useQuery(fileContent(path));
  const [asSource, setAsSource] = useState(false);
  const markdown = isMarkdown(path) && file.data?.text !== null;
  return (
    <section
      aria-label={`File ${visible(nameOf(path), false)}`}
      className="overflow-hidden rounded-md border border-line bg-surface text-base whitespace-normal"
    >
      <header className="flex flex-wrap items-center gap-x-3 border-b border-line py-0.5 pr-1 pl-3 text-sm text-muted">
        <span className="min-w-0 flex-1 truncate font-mono text-text" title={visible(path, false)}>
          <Foreign text={nameOf(path)} />
        </span>
        {file.data && (
          <>
            <span>{bytes(file.data.size)}</span>
            <Ago at={file.data.modified_at} />
          </>
        )}
        {markdown && file.data && (
          <Button small look="quiet" aria-pressed={asSource} onClick={() => setAsSource(!asSource)}>
            Source
          </Button>
        )}
        <a href={downloadAddress(path)} download className={buttonClass("quiet", true)}>
          <Icon name="download" />
          Download
        </a>
        <Button
          small
          look="quiet"
          icon="close"
          aria-label={`Close ${visible(nameOf(path), false)}`}
          onClick={onClose}
        />
      </header>
      {file.error !== null && (
        <div className="p-2">
          <ProblemNotice error={file.error instanceof Problem ? file.error : new Error()} />
        </div>
      )}
      {file.isPending && <p className="px-3 py-2 text-muted">Reading.</p>}
      {file.data && <Content path={path} text={file.data.text} markdown={markdown && !asSource} />}
    </section>
  );
}

function Content({
  path,
  text,
  markdown,
}: {
  path: string;
  text: string | null;
  markdown: boolean;
}): ReactNode {
  if (text === null)
    return <p className="px-3 py-2 text-muted">This is no text. Download it to look at it.</p>;
  if (text === "") return <p className="px-3 py-2 text-muted">The file is empty.</p>;
  const { shown, cut } = cutText(text);
  return (
    <>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls can be reached by keys */}
      <div className="max-h-96 overflow-auto px-3 py-2" tabIndex={0} role="group" aria-label="Content">
        {markdown ? (
          // What a file names is not linked: nobody vouched for it.
          <WithFiles files={[]} preview={() => null}>
            <Markdown text={shown} />
          </WithFiles>
        ) : (
          <Suspense fallback={<Plain text={shown} />}>
            <Source name={nameOf(path)} text={shown} />
          </Suspense>
        )}
      </div>
      {cut && (
        <p className="border-t border-line px-3 py-1 text-sm text-muted">
          This is the beginning. Download it for the rest.
        </p>
      )}
    </>
  );
}

function Plain({ text }: { text: string }): ReactNode {
  return (
    <pre className="font-mono text-sm whitespace-pre-wrap">
      <Foreign text={text} lines />
    </pre>
  );
}
