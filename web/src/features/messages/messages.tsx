import { useInfiniteQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { type ReactNode, useEffect, useState } from "react";
import { useHive } from "~/live/store";
import { plural } from "~/text/format";
import { Button } from "~/ui/button";
import { Search, Select } from "~/ui/field";
import { Icon } from "~/ui/icons";
import { Empty, ProblemNotice } from "~/ui/notice";
import { MessageList } from "./list";
import { type Asked, MESSAGE_STATES, messages } from "./queries";
import { Sequence } from "./sequence";

const TYPED_MS = 250;

/** Who wrote to whom, when, and what became of it. */
export function Messages(): ReactNode {
  const search = useSearch({ from: "/frame/messages" });
  const navigate = useNavigate({ from: "/messages" });
  const hive = useHive();
  const asked: Asked = {
    ...(search.q ? { q: search.q } : {}),
    ...(search.agent ? { agent: search.agent } : {}),
    ...(search.state ? { state: search.state } : {}),
    ...(search.thread ? { thread: search.thread } : {}),
  };
  const set = (change: Partial<typeof search>) =>
    void navigate({ search: (before) => ({ ...before, ...change }) as typeof before, replace: true });
  const names = [...(hive?.agents.keys() ?? [])].sort();
  const mail = hive?.mail;
  const said = mail
    ? [
        mail.parked > 0 ? `${plural(mail.parked, "message")} parked` : "",
        mail.waiting > 0 ? `${mail.waiting} waiting` : "",
        mail.leased > 0 ? `${mail.leased} being worked on` : "",
        mail.unread > 0 ? `${mail.unread} unread by you` : "",
      ].filter(Boolean)
    : [];
  return (
    <div className="mx-auto max-w-[1200px] px-4 py-4 max-md:px-0">
      <div className="mb-3 flex flex-wrap items-center gap-2 max-md:px-4">
        <h1 className="mr-auto py-1 text-lg font-semibold">
          {said.length > 0 ? `${said.join(", ")}.` : "All mail is handled."}
        </h1>
        <TypedSearch value={search.q ?? ""} onChange={(q) => set({ q: (q || undefined) as never })} />
        <Select
          aria-label="Agent"
          value={search.agent ?? ""}
          onPick={(agent) => set({ agent: (agent || undefined) as never })}
          choices={[
            { value: "", label: "everybody" },
            { value: "operator", label: "operator" },
            ...(search.agent && search.agent !== "operator" && !names.includes(search.agent)
              ? [search.agent, ...names]
              : names
            ).map((name) => ({ value: name, label: name })),
          ]}
        />
        <Select
          aria-label="State"
          value={search.state ?? ""}
          onPick={(state) => set({ state: (state || undefined) as never })}
          choices={[
            { value: "", label: "every state" },
            ...MESSAGE_STATES.map((state) => ({ value: state, label: state })),
          ]}
        />
        <Button
          icon={search.as === "sequence" ? "list" : "sequence"}
          aria-label={search.as === "sequence" ? "As a list" : "As a sequence"}
          onClick={() => set({ as: (search.as === "sequence" ? undefined : "sequence") as never })}
        >
          <span className="max-md:hidden">{search.as === "sequence" ? "As a list" : "As a sequence"}</span>
        </Button>
      </div>
      {search.thread && (
        <div className="mb-3 flex items-center gap-2 max-md:px-4">
          <Icon name="link" className="text-muted" />
          <span>Thread of m{search.thread}: messages that answer each other</span>
          <Button
            small
            look="quiet"
            icon="close"
            aria-label="Leave the thread"
            onClick={() => set({ thread: undefined as never })}
          />
        </div>
      )}
      {search.as === "sequence" ? (
        <Picture asked={asked} onOpen={(m) => set({ m, as: undefined as never })} />
      ) : (
        <MessageList
          asked={asked}
          opened={search.m}
          onOpen={(m) => set({ m: m as never })}
          onThread={(thread) => set({ thread })}
        />
      )}
    </div>
  );
}

/** Asks when the typing pauses, and at once on enter. */
function TypedSearch({ value, onChange }: { value: string; onChange: (value: string) => void }): ReactNode {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (text === value) return;
    const timer = setTimeout(() => onChange(text), TYPED_MS);
    return () => clearTimeout(timer);
  });
  return (
    <Search
      placeholder="Search"
      aria-label="Search in messages"
      value={text}
      onChange={(event) => setText(event.target.value)}
      onKeyDown={(event) => event.key === "Enter" && onChange(text)}
      className="w-52 max-md:w-full"
    />
  );
}

function Picture({ asked, onOpen }: { asked: Asked; onOpen: (message: number) => void }): ReactNode {
  const query = useInfiniteQuery(messages(asked, 100));
  const items = query.data?.pages.flatMap((page) => page.items) ?? [];
  if (query.error !== null) return <ProblemNotice error={query.error} />;
  if (query.data && items.length === 0) return <Empty title="No message fits" />;
  return (
    <>
      <Sequence messages={items} onOpen={onOpen} />
      {query.hasNextPage && (
        <div className="py-3 text-center">
          <Button
            small
            look="quiet"
            busy={query.isFetchingNextPage}
            onClick={() => void query.fetchNextPage()}
          >
            Older
          </Button>
        </div>
      )}
    </>
  );
}
