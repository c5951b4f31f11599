import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import type { ReactNode } from "react";
import type { Agent } from "~/api/client";
import { bytes, plural } from "~/text/format";
import { visible } from "~/text/visible";
import { Button, buttonClass } from "~/ui/button";
import { Icon } from "~/ui/icons";
import { Markdown } from "~/ui/markdown";
import { Empty, ProblemNotice } from "~/ui/notice";
import { Ago, Foreign } from "~/ui/text";
import { type Entry, fileContent, folder } from "./files";

/** Where people may look: what the agent keeps, what long mail came to it, what it has published. */
function rootsOf(name: string): readonly { path: string; label: string }[] {
  return [
    { path: `/agents/${name}/state`, label: "Its notes" },
    { path: `/agents/${name}/inbox`, label: "Long mail" },
    { path: `/shared/${name}`, label: "Published" },
  ];
}

/** The files of an agent that people may read. The address says which folder or file is open. */
export function FilesTab({ agent }: { agent: Agent }): ReactNode {
  const { file } = useSearch({ from: "/frame/agents/$name" });
  const navigate = useNavigate({ from: "/agents/$name" });
  const roots = rootsOf(agent.name);
  const home = `/agents/${agent.name}/state/`;
  const path = file ?? home;
  const go = (next: string) =>
    void navigate({
      search: (before) => ({ ...before, file: next === home ? undefined : next }) as typeof before,
    });
  const root = roots.find((each) => path.startsWith(`${each.path}/`));
  return (
    <div className="mx-auto max-w-3xl px-4 py-4">
      <div className="mb-3 flex flex-wrap gap-1.5" role="group" aria-label="Folders">
        {roots.map((each) => (
          <Button
            key={each.path}
            small
            look={each === root ? "plain" : "quiet"}
            aria-pressed={each === root}
            onClick={() => go(`${each.path}/`)}
          >
            {each.label}
          </Button>
        ))}
      </div>
      <Crumbs path={path} root={root?.path ?? ""} onGo={go} />
      {path.endsWith("/") ? <Folder path={path} name={agent.name} onGo={go} /> : <Content path={path} />}
    </div>
  );
}

function Crumbs({
  path,
  root,
  onGo,
}: {
  path: string;
  root: string;
  onGo: (path: string) => void;
}): ReactNode {
  const below = path.slice(root.length).split("/").filter(Boolean);
  return (
    <nav aria-label="Path" className="mb-2 flex flex-wrap items-center font-mono text-sm text-muted">
      <button
        type="button"
        className="rounded-sm hover:text-text max-md:min-h-11"
        onClick={() => onGo(`${root}/`)}
      >
        <Foreign text={root || path} />
      </button>
      {below.map((part, at) => {
        const last = at === below.length - 1;
        const there = `${root}/${below.slice(0, at + 1).join("/")}${last && !path.endsWith("/") ? "" : "/"}`;
        return (
          <span key={there}>
            /
            <button
              type="button"
              aria-current={last ? "page" : undefined}
              className={`rounded-sm hover:text-text ${last ? "text-text" : ""}`}
              onClick={() => onGo(there)}
            >
              <Foreign text={part} />
            </button>
          </span>
        );
      })}
    </nav>
  );
}

function Folder({
  path,
  name,
  onGo,
}: {
  path: string;
  name: string;
  onGo: (path: string) => void;
}): ReactNode {
  const { data, error, refetch, isFetching } = useQuery(folder(path));
  const missing = error !== null && (error as { code?: string }).code === "no_file";
  if (missing || (data && data.entries.length === 0 && data.unnamed === 0))
    return (
      <Empty title="No files here">
        <p>{emptyText(path, name)}</p>
      </Empty>
    );
  if (error !== null) return <ProblemNotice error={error} />;
  if (data === undefined) return null;
  return (
    <>
      <ul className="divide-y divide-line rounded-md border border-line bg-surface">
        {data.entries.map((entry) => (
          <Line
            key={entry.name}
            entry={entry}
            onOpen={() => onGo(path + entry.name + (entry.folder ? "/" : ""))}
          />
        ))}
      </ul>
      <p className="mt-2 flex items-center gap-3 text-sm text-muted">
        <span className="flex-1">
          {data.more && "It holds more than is shown. "}
          {data.unnamed > 0 &&
            `${plural(data.unnamed, "entry", "entries")} not shown: no plain files, or names that are no text.`}
        </span>
        <Button small look="quiet" icon="restart" busy={isFetching} onClick={() => void refetch()}>
          Look again
        </Button>
      </p>
    </>
  );
}

function emptyText(path: string, name: string): string {
  if (path.startsWith("/shared/")) return `What ${name} publishes for everybody appears here.`;
  if (path.includes("/inbox/")) return `Messages that are too long for the prompt of ${name} lie here.`;
  return `${name} keeps its notes here, across conversations. It has none yet.`;
}

function Line({ entry, onOpen }: { entry: Entry; onOpen: () => void }): ReactNode {
  return (
    <li>
      <button
        type="button"
        onClick={onOpen}
        className="flex min-h-9 w-full items-center gap-2.5 px-3 text-left hover:bg-hover max-md:min-h-11"
      >
        <Icon name={entry.folder ? "folder" : "files"} className="text-muted" />
        <span className="min-w-0 flex-1 truncate">
          <Foreign text={entry.name} />
        </span>
        <span className="text-sm text-muted">{entry.size === null ? "" : bytes(entry.size)}</span>
        <Ago at={entry.modified_at} className="w-16 text-right text-sm text-muted" />
      </button>
    </li>
  );
}

function Content({ path }: { path: string }): ReactNode {
  const { data, error } = useQuery(fileContent(path));
  if (error !== null) return <ProblemNotice error={error} />;
  if (data === undefined) return null;
  return (
    <article aria-label={visible(path, false)}>
      <p className="mb-2 flex items-center gap-3 text-sm text-muted">
        <span className="flex-1">
          {bytes(data.size)}, changed <Ago at={data.modified_at} /> ago
        </span>
        <a
          className={buttonClass("plain", true)}
          href={`/api/v1/files/download?path=${encodeURIComponent(path)}`}
        >
          <Icon name="download" />
          Download
        </a>
      </p>
      {data.text === null ? (
        <p className="text-muted">This is no text; download it to see it.</p>
      ) : path.endsWith(".md") ? (
        <div className="rounded-md border border-line bg-surface px-4 py-3">
          <Markdown text={data.text} />
        </div>
      ) : (
        <pre className="overflow-x-auto rounded-md border border-line bg-sunken px-3 py-2 font-mono text-sm whitespace-pre-wrap">
          <Foreign text={data.text} lines />
        </pre>
      )}
    </article>
  );
}
