import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import {
  Fragment,
  type ReactNode,
  useCallback,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from "react";
import type { Agent, Message } from "~/api/client";
import { act, markRead, useAct } from "~/features/agents/actions";
import { PlainBody, WholeBody } from "~/features/messages/body";
import { Framed } from "~/features/turns/blocks";
import { TurnBlock } from "~/features/turns/turn-block";
import { useMay } from "~/live/may";
import { firstLine, plural } from "~/text/format";
import { Button } from "~/ui/button";
import { Fold } from "~/ui/fold";
import { Empty, ProblemNotice } from "~/ui/notice";
import { Ago, Badge, Foreign } from "~/ui/text";
import { Composer, type Sending } from "./composer";
import { notesOf } from "./notes";
import { agentMessages, agentNotes, agentTurns } from "./queries";
import { type Item, timeline } from "./timeline";

const NEAR_END_PX = 60;

/** What you said, what it did and what it answered; the turn that runs streams at the end. */
export function Conversation({ agent }: { agent: Agent }): ReactNode {
  const messages = useInfiniteQuery(agentMessages(agent.name));
  const turns = useInfiniteQuery(agentTurns(agent.name));
  const notes = useQuery(agentNotes(agent.name));
  const { turn: opened } = useSearch({ from: "/frame/agents/$name" });
  const navigate = useNavigate({ from: "/agents/$name" });
  const [sending, setSending] = useState<readonly Sending[]>([]);
  const items = useMemo(
    () =>
      timeline(
        { items: messages.data?.pages.flatMap((page) => page.items) ?? [], more: messages.hasNextPage },
        { items: turns.data?.pages.flatMap((page) => page.items) ?? [], more: turns.hasNextPage },
        notesOf(notes.data ?? []),
      ),
    [messages.data, messages.hasNextPage, turns.data, turns.hasNextPage, notes.data],
  );
  const known = useMemo(
    () => new Set(messages.data?.pages.flatMap((page) => page.items.map((message) => message.id))),
    [messages.data],
  );
  const pending = sending.filter((each) => each.id === null || !known.has(each.id));
  const loaded = messages.data !== undefined && turns.data !== undefined;
  const older = messages.hasNextPage || turns.hasNextPage;
  const { scroller, end, away, toEnd } = usePinned(loaded);
  useReadMail(messages.data?.pages[0]?.items ?? [], agent.name);

  async function more(): Promise<void> {
    const box = scroller.current;
    const below = box ? box.scrollHeight - box.scrollTop : 0;
    // What reaches less far back is what hides older things of the other.
    const oldest = (at: string | undefined, has: boolean) => (has ? (at ?? "") : "");
    const mail = oldest(messages.data?.pages.at(-1)?.items.at(-1)?.sent_at, messages.hasNextPage);
    const work = oldest(turns.data?.pages.at(-1)?.items.at(-1)?.started_at, turns.hasNextPage);
    await (mail >= work ? messages.fetchNextPage() : turns.fetchNextPage());
    requestAnimationFrame(() => box?.scrollTo({ top: box.scrollHeight - below }));
  }

  const error = messages.error ?? turns.error;
  return (
    <div className="flex h-full min-h-0 flex-col">
      <div
        ref={scroller}
        className="relative min-h-0 flex-1 overflow-y-auto"
        role="log"
        aria-label={`Conversation with ${agent.name}`}
        tabIndex={-1}
      >
        <div className="mx-auto max-w-3xl px-4 py-4">
          {error !== null && <ProblemNotice error={error} />}
          {older && (
            <div className="mb-4 text-center">
              <Button
                small
                look="quiet"
                onClick={() => void more()}
                busy={messages.isFetchingNextPage || turns.isFetchingNextPage}
              >
                Older
              </Button>
            </div>
          )}
          {loaded && items.length === 0 && pending.length === 0 && (
            <Empty title={`Nothing was said yet`}>
              <p>Write to {agent.name} below. It starts its box when there is mail for it, and not before.</p>
            </Empty>
          )}
          <div className="space-y-3">
            {items.map((item, at) => (
              <Fragment key={item.key}>
                <Day at={item.at} before={items[at - 1]?.at} />
                <ItemView
                  item={item}
                  agent={agent.name}
                  opened={opened}
                  onTurn={(id, open) =>
                    void navigate({
                      search: (before) => ({ ...before, turn: open ? id : (undefined as never) }),
                      replace: true,
                    })
                  }
                />
              </Fragment>
            ))}
            <PendingNote agent={agent} />
            {pending.map((each) => (
              <Said key={each.key} who="you" right>
                <div className="whitespace-pre-wrap opacity-60">
                  <Foreign text={each.text} lines />
                </div>
                <p className="mt-1 text-xs text-muted">{each.id === null ? "sending" : "sent"}</p>
              </Said>
            ))}
          </div>
          <div ref={end} className="h-2" />
        </div>
      </div>
      <div className="relative mx-auto w-full max-w-3xl px-4 pb-3">
        {away && (
          <Button
            small
            icon="down"
            onClick={toEnd}
            className="absolute -top-10 left-1/2 -translate-x-1/2 shadow-float"
          >
            To the end
          </Button>
        )}
        <Composer
          agent={agent}
          onSending={(each) => {
            setSending((before) => [...before.filter((other) => other.key !== each.key), each].slice(-20));
            toEnd();
          }}
          onFailed={(key) => setSending((before) => before.filter((each) => each.key !== key))}
        />
      </div>
    </div>
  );
}

/** Keeps the end in view while the reader is at the end, and only then. */
function usePinned(loaded: boolean) {
  const scroller = useRef<HTMLDivElement>(null);
  const end = useRef<HTMLDivElement>(null);
  const pinned = useRef(true);
  const [away, setAway] = useState(false);
  const toEnd = useCallback(() => {
    pinned.current = true;
    scroller.current?.scrollTo({ top: scroller.current.scrollHeight });
  }, []);
  useLayoutEffect(() => {
    if (loaded) toEnd();
  }, [loaded, toEnd]);
  useEffect(() => {
    const box = scroller.current;
    const content = box?.firstElementChild;
    if (!box || !content) return;
    const look = () => {
      pinned.current = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_END_PX;
      setAway(!pinned.current);
    };
    const grown = new ResizeObserver(() => {
      if (pinned.current) box.scrollTo({ top: box.scrollHeight });
      else look();
    });
    grown.observe(content);
    grown.observe(box);
    box.addEventListener("scroll", look, { passive: true });
    return () => {
      grown.disconnect();
      box.removeEventListener("scroll", look);
    };
  }, []);
  return { scroller, end, away, toEnd };
}

/** Mail to you counts as read once it was on your screen. */
function useReadMail(items: readonly Message[], agent: string): void {
  const may = useMay("act");
  const ids = (may ? items : [])
    .filter(
      (message) =>
        message.recipient === "operator" && message.sender === agent && message.state === "waiting",
    )
    .map((message) => message.id);
  const key = ids.join();
  useEffect(() => {
    if (key === "") return;
    const look = () => {
      if (document.visibilityState === "visible") void markRead(key.split(",").map(Number)).catch(() => {});
    };
    const timer = setTimeout(look, 1000);
    document.addEventListener("visibilitychange", look);
    return () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", look);
    };
  }, [key]);
}

/** What comes after the turn that runs, with the way back. */
function PendingNote({ agent }: { agent: Agent }): ReactNode {
  const { busy, error, run } = useAct();
  const kind = agent.pending?.kind;
  if (kind !== "compacting" && kind !== "renewing") return null;
  const runs = kind === "compacting" && agent.reason === "compacting" && agent.turn !== null;
  if (runs) return null; // the turn itself is shown
  const what = kind === "compacting" ? "The conversation is compacted" : "A new session begins";
  return (
    <div className="text-sm text-muted">
      <p className="flex flex-wrap items-center gap-2">
        <span>
          {what} {agent.turn === null ? "next" : "when this turn ends"}, asked by{" "}
          <Foreign text={agent.pending?.by ?? ""} />.
        </span>
        <Button
          needs="act"
          small
          look="quiet"
          busy={busy !== null}
          onClick={() => void run("take-back", () => act("take-back", agent.name))}
        >
          Take back
        </Button>
      </p>
      {error !== null && <ProblemNotice error={error} />}
    </div>
  );
}

function Day({ at, before }: { at: string; before: string | undefined }): ReactNode {
  const day = (text: string) => new Date(text).toDateString();
  if (before !== undefined && day(at) === day(before)) return null;
  if (before === undefined && day(at) === new Date().toDateString()) return null;
  return (
    <p className="pt-2 text-center text-sm text-muted">
      {new Date(at).toLocaleDateString(undefined, { weekday: "long", day: "numeric", month: "long" })}
    </p>
  );
}

interface ItemProps {
  item: Item;
  agent: string;
  opened: number | undefined;
  onTurn: (turn: number, open: boolean) => void;
}

function ItemView({ item, agent, opened, onTurn }: ItemProps): ReactNode {
  switch (item.kind) {
    case "turn":
      return (
        <TurnBlock
          turn={item.turn}
          open={item.turn.id === opened}
          onToggle={(open) => onTurn(item.turn.id, open)}
        />
      );
    case "note":
      return (
        <p className="flex items-baseline gap-2 text-sm text-muted">
          <span className="min-w-0">
            <Foreign
              text={item.note.by === "system" ? item.note.text : `${item.note.by}: ${item.note.text}`}
            />
          </span>
          <Ago at={item.at} className="text-xs" />
        </p>
      );
    case "peers":
      return <Peers messages={item.messages} agent={agent} />;
    default:
      return <Letter message={item.message} agent={agent} />;
  }
}

function Letter({ message, agent }: { message: Message; agent: string }): ReactNode {
  const mine = message.sender === "operator";
  if (message.sender === "system")
    return (
      <div className="text-sm text-muted">
        <PlainBody message={message} />
      </div>
    );
  return (
    <Said who={mine ? "you" : message.sender} right={mine} at={message.sent_at} id={message.id}>
      {mine ? (
        <>
          <div className="whitespace-pre-wrap">
            <PlainBody message={message} />
          </div>
          <Fate message={message} agent={agent} />
        </>
      ) : (
        <WholeBody message={message} />
      )}
    </Said>
  );
}

/** What became of your message, as long as it is not simply done. */
function Fate({ message, agent }: { message: Message; agent: string }): ReactNode {
  const words: Record<string, string> = {
    waiting: message.next_try_at === null ? `waits for ${agent}` : "is tried again",
    leased: `${agent} works on it`,
    parked: "failed too often",
  };
  const text = words[message.state];
  if (text === undefined) return null;
  return (
    <p className={`mt-1 text-xs ${message.state === "parked" ? "text-warn" : "text-muted"}`}>
      {text}
      {message.attempts > 1 && `, attempt ${message.attempts}`}
      {message.state === "parked" && (
        <>
          {": "}
          <Link
            to="/messages"
            search={{ state: "parked", m: message.id }}
            className="underline underline-offset-2"
          >
            retry it under Messages
          </Link>
        </>
      )}
    </p>
  );
}

function Said({
  who,
  right,
  at,
  id,
  children,
}: {
  who: string;
  right?: boolean;
  at?: string;
  id?: number;
  children: ReactNode;
}): ReactNode {
  return (
    <article className={`${right ? "ml-auto w-fit max-w-[85%]" : ""}`} aria-label={`${who} wrote`}>
      <p className={`mb-1 flex items-baseline gap-2 text-xs text-muted ${right ? "justify-end" : ""}`}>
        <span className={right ? "font-medium text-accent" : "text-sm font-semibold text-text"}>
          <Foreign text={who} />
        </span>
        {at && <Ago at={at} />}
        {id !== undefined && <span className="sr-only">m{id}</span>}
      </p>
      {right ? (
        <div className="rounded-md bg-accent-quiet px-3 py-2">{children}</div>
      ) : (
        <Framed>{children}</Framed>
      )}
    </article>
  );
}

function Peers({ messages, agent }: { messages: readonly Message[]; agent: string }): ReactNode {
  const others = [
    ...new Set(messages.map((message) => (message.sender === agent ? message.recipient : message.sender))),
  ];
  return (
    <Fold
      className="-ml-1.5"
      summary={
        <span className="flex items-baseline gap-2 text-sm text-muted">
          <span className="shrink-0">
            {plural(messages.length, "message")} with <Foreign text={others.join(", ")} />
          </span>
          <span className="min-w-0 flex-1 truncate">
            <Foreign text={firstLine(messages.at(-1)?.body ?? "")} />
          </span>
        </span>
      }
    >
      {() => (
        <div className="space-y-2 border-l border-line pl-4">
          {messages.map((message) => (
            <div key={message.id}>
              <p className="mb-0.5 flex items-baseline gap-2 text-sm text-muted">
                <Foreign text={`${message.sender} to ${message.recipient}`} />
                <Ago at={message.sent_at} className="text-xs" />
                {message.state !== "handled" && <Badge>{message.state}</Badge>}
              </p>
              <Framed>
                <WholeBody message={message} />
              </Framed>
            </div>
          ))}
        </div>
      )}
    </Fold>
  );
}
