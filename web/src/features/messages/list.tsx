import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type ReactNode, useState } from "react";
import type { Message } from "~/api/client";
import { retry, useAct } from "~/features/agents/actions";
import { Framed } from "~/features/turns/blocks";
import { bytes, firstLine } from "~/text/format";
import { Button } from "~/ui/button";
import { Empty, ProblemNotice } from "~/ui/notice";
import { Ago, Badge, Foreign, Name, Until } from "~/ui/text";
import { WholeBody } from "./body";
import { type Asked, messages } from "./queries";

interface Props {
  asked: Asked;
  opened?: number | undefined;
  onOpen?: (message: number | undefined) => void;
  onThread?: (thread: number) => void;
}

/** Messages, newest first; one opens in place. */
export function MessageList({ asked, opened: given, onOpen, onThread }: Props): ReactNode {
  const query = useInfiniteQuery(messages(asked));
  const [own, setOwn] = useState<number | undefined>(undefined);
  const opened = onOpen ? given : own;
  const open = onOpen ?? setOwn;
  const items = query.data?.pages.flatMap((page) => page.items) ?? [];
  if (query.error !== null) return <ProblemNotice error={query.error} />;
  if (query.data && items.length === 0) return <None asked={asked} />;
  return (
    <>
      <ul className="border-line bg-surface max-md:border-y md:rounded-md md:border">
        {items.map((message) => (
          <Line
            key={message.id}
            message={message}
            open={message.id === opened}
            onToggle={() => open(message.id === opened ? undefined : message.id)}
            onThread={onThread}
          />
        ))}
      </ul>
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

function None({ asked }: { asked: Asked }): ReactNode {
  if (asked.state === "parked")
    return (
      <Empty title="Nothing is parked">
        A message is parked when it failed too often. Here you would retry it.
      </Empty>
    );
  if (asked.q || asked.state || asked.thread) return <Empty title="No message fits" />;
  return (
    <Empty title="No messages yet">
      <p>Agents write to each other and to you; all of it is listed here.</p>
    </Empty>
  );
}

const TONES: Record<string, "muted" | "warn" | "live"> = { waiting: "muted", leased: "live", parked: "warn" };

/** Mail to you that waits is mail that you have not read. */
function stateWord(message: Message): string {
  return message.recipient === "operator" && message.state === "waiting" ? "unread" : message.state;
}

function Line({
  message,
  open,
  onToggle,
  onThread,
}: {
  message: Message;
  open: boolean;
  onToggle: () => void;
  onThread: ((thread: number) => void) | undefined;
}): ReactNode {
  const quiet = message.state === "handled";
  return (
    <li className="border-b border-line last:border-b-0">
      <button
        type="button"
        aria-expanded={open}
        onClick={onToggle}
        className="flex min-h-9 w-full items-baseline gap-x-3 px-3 py-1.5 text-left hover:bg-hover max-md:grid max-md:grid-cols-[auto_minmax(4rem,1fr)_minmax(0,max-content)_auto] max-md:gap-x-2"
      >
        <span className="w-14 shrink-0 text-sm text-muted max-md:w-auto">m{message.id}</span>
        <span className="flex w-48 shrink-0 gap-1 overflow-hidden max-md:w-auto">
          <span className="min-w-0 truncate font-medium">
            <Name>{message.sender}</Name>
          </span>{" "}
          <span className="text-muted">to</span>{" "}
          <span className="min-w-0 truncate">
            <Name>{message.recipient}</Name>
          </span>
        </span>
        <span className="min-w-0 flex-1 truncate text-muted max-md:order-last max-md:col-span-full">
          <Foreign text={firstLine(message.body)} />
        </span>
        <span className="flex min-w-0 gap-2 overflow-hidden md:shrink-0 md:empty:hidden">
          {!quiet && <Badge tone={TONES[message.state] ?? "muted"}>{stateWord(message)}</Badge>}
          {message.kind !== "mail" && <Badge>{message.kind}</Badge>}
          {message.maybe_seen && <Badge>may be repeated</Badge>}
        </span>
        <Ago at={message.sent_at} className="shrink-0 text-right text-sm text-muted md:w-16" />
      </button>
      {open && <Opened message={message} onThread={onThread} />}
    </li>
  );
}

function Opened({
  message,
  onThread,
}: {
  message: Message;
  onThread: ((thread: number) => void) | undefined;
}): ReactNode {
  const { busy, error, run } = useAct();
  return (
    <div className="space-y-3 px-3 pb-3 md:pl-[82px]">
      <Framed>
        <WholeBody message={message} />
      </Framed>
      {message.last_error !== null && message.state !== "handled" && (
        <p className="text-sm text-warn">
          <Foreign text={message.last_error} lines />
        </p>
      )}
      {message.next_try_at !== null && message.state === "waiting" && (
        <p className="text-sm text-muted">
          It is tried again in <Until at={message.next_try_at} />.
        </p>
      )}
      {error !== null && <ProblemNotice error={error} />}
      <div className="flex flex-wrap items-center gap-x-4 gap-y-2 text-sm text-muted">
        {message.state === "parked" && (
          <Button
            needs="act"
            small
            look="primary"
            icon="retry"
            busy={busy !== null}
            onClick={() => void run("retry", () => retry(message.id))}
          >
            Retry message
          </Button>
        )}
        {onThread && message.thread !== null && (
          <Button small onClick={() => onThread(message.thread ?? message.id)}>
            Its thread
          </Button>
        )}
        <Link
          to="."
          search={((before: object) => ({ ...before, why: `m${message.id}` })) as never}
          className="underline-offset-2 hover:underline"
        >
          Why
        </Link>
        {message.turn !== null && message.recipient !== "operator" && (
          <Link
            to="/agents/$name"
            params={{ name: message.recipient }}
            search={{ tab: "turns", turn: message.turn }}
            className="underline-offset-2 hover:underline"
          >
            turn t{message.turn}
          </Link>
        )}
        {message.attempts > 0 && <span>{message.attempts} attempts</span>}
        {message.reply_to !== null && <span>answers m{message.reply_to}</span>}
        <span>{bytes(message.body_bytes)}</span>
      </div>
    </div>
  );
}
