import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { lazy, type ReactNode, Suspense, useEffect, useRef } from "react";
import { type Agent as AgentRow, Problem } from "~/api/client";
import { useKeys } from "~/app/keys";
import { TABS, type Tab } from "~/app/search";
import { Doing, PendingBadge } from "~/features/swarm/row";
import { useMe } from "~/live/may";
import { useAgentRow, useHive } from "~/live/store";
import { visible } from "~/text/visible";
import { Button, buttonClass } from "~/ui/button";
import { Empty, ProblemNotice } from "~/ui/notice";
import { StateMark } from "~/ui/state";
import { Ago, Badge } from "~/ui/text";
import { act, possible, useAct, type Verb } from "./actions";
import { AgentMenu } from "./controls";
import { Conversation } from "./conversation";
import { Facts } from "./facts";
import { agentDetail, agentMessages, agentTurns } from "./queries";

const TurnsTab = lazy(() => import("./turns-tab").then((it) => ({ default: it.TurnsTab })));
const MailTab = lazy(() => import("./mail-tab").then((it) => ({ default: it.MailTab })));
const FilesTab = lazy(() => import("./files-tab").then((it) => ({ default: it.FilesTab })));
const TerminalTab = lazy(() =>
  import("~/features/terminal/terminal-tab").then((it) => ({ default: it.TerminalTab })),
);
const SettingsTab = lazy(() => import("./settings-tab").then((it) => ({ default: it.SettingsTab })));
const NAMES: Record<Tab, string> = {
  conversation: "Conversation",
  turns: "Turns",
  mail: "Mail",
  files: "Files",
  terminal: "Terminal",
  settings: "Settings",
};

/** One agent, complete at an address of its own. */
export function Agent(): ReactNode {
  const { name } = useParams({ from: "/frame/agents/$name" });
  const agent = useAgentRow(name);
  const hive = useHive();
  // Asked for at once, beside the snapshot, and not after it.
  useInfiniteQuery(agentMessages(name));
  useInfiniteQuery(agentTurns(name));
  if (agent !== null) return <Page key={name} agent={agent} />;
  if (hive === null) return <p className="p-6 text-muted">Loading {name}.</p>;
  return <Missing name={name} />;
}

function Missing({ name }: { name: string }): ReactNode {
  const detail = useQuery({ ...agentDetail(name), retry: false });
  const gone = detail.data !== undefined;
  if (detail.error !== null && !(detail.error instanceof Problem && detail.error.status === 404))
    return (
      <div className="p-6">
        <ProblemNotice error={detail.error} />
      </div>
    );
  return (
    <Empty title={gone ? `${name} was destroyed` : `There is no agent ${visible(name, false)}`}>
      {gone && (
        <p>
          Its files are kept. Make an agent of the same name and it takes them over, or purge it on the
          swarm's page.
        </p>
      )}
      <Link to="/" className={buttonClass("plain")}>
        To the swarm
      </Link>
    </Empty>
  );
}

function Page({ agent }: { agent: AgentRow }): ReactNode {
  const { tab = "conversation", ask = null } = useSearch({ from: "/frame/agents/$name" });
  const navigate = useNavigate({ from: "/agents/$name" });
  const { busy, error, run, clear } = useAct();
  useMe();
  const can = possible(agent);
  const verb = (which: Verb) => void run(which, () => act(which, agent.name));
  const turn = (by: number) => {
    const next = TABS[(TABS.indexOf(tab) + by + TABS.length) % TABS.length];
    void navigate({ search: { tab: next === "conversation" ? (undefined as never) : next } as never });
  };
  useKeys({
    p: () => {
      const next = (["resume", "pause"] as const).find((each) => can.has(each));
      if (next) verb(next);
    },
    i: () => can.has("interrupt") && verb("interrupt"),
    w: () => void navigate({ search: (before) => ({ ...before, why: agent.name }) as never }),
    "[": () => turn(-1),
    "]": () => turn(1),
    u: () => void navigate({ to: "/", search: { at: agent.name } }),
  });
  const tabs = useRef<HTMLElement>(null);
  useEffect(() => {
    void tab; // on a phone the one that is chosen may stand outside
    tabs.current
      ?.querySelector("[aria-current=page]")
      ?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [tab]);
  return (
    <div className="flex h-full min-h-0 flex-col">
      <header className="shrink-0 border-b border-line px-4 pt-3">
        <div className="flex items-center gap-x-3 gap-y-1 max-md:flex-wrap">
          <Link
            to="/"
            search={{ at: agent.name }}
            aria-label="Back to the swarm"
            className={`${buttonClass("quiet", true, true)} -ml-1.5`}
          >
            ‹
          </Link>
          <h1 className="text-lg font-semibold">{agent.name}</h1>
          {agent.role === "manager" && <Badge>manager</Badge>}
          <StateMark state={agent.state} verb={agent.state === "changing" ? agent.reason : null} />
          <PendingBadge agent={agent} />
          <span className="text-muted">
            <Ago at={agent.since} />
          </span>
          <span className="min-w-0 flex-1 truncate max-md:order-last max-md:basis-full max-md:text-sm">
            <Doing agent={agent} />
          </span>
          <span className="ml-auto flex shrink-0 items-center gap-1">
            {can.has("interrupt") && (
              <Button small icon="hand" busy={busy === "interrupt"} onClick={() => verb("interrupt")}>
                Interrupt
              </Button>
            )}
            {can.has("start") && (
              <Button small icon="play" busy={busy === "start"} onClick={() => verb("start")}>
                Start
              </Button>
            )}
            {can.has("resume") ? (
              <Button small icon="play" busy={busy === "resume"} onClick={() => verb("resume")}>
                Resume
              </Button>
            ) : (
              <Button
                needs="act"
                small
                look="quiet"
                icon="pause"
                aria-label="Pause"
                title="Pause"
                busy={busy === "pause"}
                disabled={!can.has("pause")}
                onClick={() => verb("pause")}
              />
            )}
            <AgentMenu
              agent={agent}
              run={verb}
              leave
              asks={ask}
              onAnswered={() =>
                void navigate({ search: (before) => ({ ...before, ask: undefined }) as never, replace: true })
              }
              trigger={<Button small look="quiet" icon="more" aria-label={`More for ${agent.name}`} />}
            />
          </span>
        </div>
        <nav
          ref={tabs}
          aria-label={`Views of ${agent.name}`}
          className="-mb-px flex gap-4 overflow-x-auto pt-1.5 max-md:gap-2 max-md:text-sm"
        >
          {TABS.map((each) => (
            <Link
              key={each}
              to="/agents/$name"
              params={{ name: agent.name }}
              search={each === "conversation" ? {} : { tab: each }}
              activeOptions={{ exact: true }}
              aria-current={tab === each ? "page" : undefined}
              className={`shrink-0 border-b-2 px-0.5 pb-1.5 whitespace-nowrap max-md:py-2.5 ${tab === each ? "border-accent font-medium" : "border-transparent text-muted hover:text-text"}`}
            >
              {NAMES[each]}
              {each === "mail" && agent.waiting > 0 && (
                <span className="ml-1.5 text-muted">{agent.waiting}</span>
              )}
            </Link>
          ))}
        </nav>
      </header>
      {error !== null && (
        <div className="flex items-start gap-2 px-4 pt-3">
          <div className="flex-1">
            <ProblemNotice error={error} />
          </div>
          <Button look="quiet" icon="close" aria-label="Close" onClick={clear} />
        </div>
      )}
      <div className="flex min-h-0 flex-1">
        <div className="min-h-0 min-w-0 flex-1 overflow-y-auto">
          <Suspense fallback={null}>
            {tab === "conversation" && <Conversation agent={agent} />}
            {tab === "turns" && <TurnsTab agent={agent} />}
            {tab === "mail" && <MailTab agent={agent} />}
            {tab === "files" && <FilesTab agent={agent} />}
            {tab === "terminal" && <TerminalTab agent={agent} />}
            {tab === "settings" && <SettingsTab agent={agent} />}
          </Suspense>
        </div>
        <aside
          aria-label={`Facts about ${agent.name}`}
          className="w-72 shrink-0 overflow-y-auto border-l border-line px-4 py-4 max-lg:hidden"
        >
          <Facts agent={agent} />
        </aside>
      </div>
    </div>
  );
}
