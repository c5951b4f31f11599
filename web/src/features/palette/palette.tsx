import { Dialog as Base } from "@base-ui/react/dialog";
import { useNavigate } from "@tanstack/react-router";
import { Command, defaultFilter } from "cmdk";
import { type ReactNode, useState } from "react";
import { setTheme } from "~/app/theme";
import { act, markRead } from "~/features/agents/actions";
import { doctor } from "~/features/hive/actions";
import { useMe } from "~/live/may";
import { queries, useHive } from "~/live/store";
import { Icon } from "~/ui/icons";
import { ProblemNotice } from "~/ui/notice";
import { need, StateShape, word } from "~/ui/state";
import { type Doing, type Entry, entries } from "./entries";

const ITEM =
  "flex min-h-9 cursor-default items-center gap-2.5 rounded-sm px-2.5 data-[selected=true]:bg-hover max-md:min-h-11";
const GROUP =
  "[&_[cmdk-group-heading]]:px-2.5 [&_[cmdk-group-heading]]:pt-2 [&_[cmdk-group-heading]]:pb-1 [&_[cmdk-group-heading]]:text-sm [&_[cmdk-group-heading]]:text-muted";

const SEARCH = "search messages for";
/** Searching messages fits every text, so it stands behind what was meant. */
function ranked(value: string, search: string, keywords?: string[]): number {
  return value.startsWith(SEARCH) ? 1e-6 : defaultFilter(value, search, keywords);
}

/** Reaches every agent, every view and every action without a mouse. */
export function Palette({ onClose, onHelp }: { onClose: () => void; onHelp: () => void }): ReactNode {
  const hive = useHive();
  useMe();
  const navigate = useNavigate();
  const [error, setError] = useState<unknown>(null);
  const [text, setText] = useState("");
  const agents = [...(hive?.agents.values() ?? [])].sort(
    (a, b) => need(a.state) - need(b.state) || (a.name < b.name ? -1 : 1),
  );
  const offered = entries(agents, text);

  /** What fails is said here, so the palette stays until it is done. */
  async function first(what: Promise<unknown>): Promise<void> {
    await what.then(onClose, setError);
  }
  function go(does: Doing): void {
    if ("run" in does) return void first(act(does.run, does.name));
    if ("what" in does && does.what === "read-all") return void first(markRead(null));
    onClose();
    if ("theme" in does) setTheme(does.theme);
    else if ("agent" in does)
      void navigate({ to: "/agents/$name", params: { name: does.agent }, search: does.search });
    else if ("to" in does && does.to === ".")
      void navigate({ to: ".", search: (before: object) => ({ ...before, ...does.search }) });
    else if ("to" in does)
      void navigate({ to: does.to, search: does.search ?? {}, ...(does.hash ? { hash: does.hash } : {}) });
    else if (does.what === "keys") onHelp();
    else {
      void queries.fetchQuery(doctor).catch(() => {}); // Health shows how it went
      void navigate({ to: "/health" });
    }
  }
  const item = (entry: Entry): ReactNode => (
    <Command.Item
      key={entry.label}
      value={entry.label}
      {...(entry.words ? { keywords: [entry.words] } : {})}
      onSelect={() => go(entry.does)}
      className={ITEM}
    >
      <Icon name={entry.icon} className="text-muted" />
      <span className="min-w-0">{entry.label}</span>
    </Command.Item>
  );
  return (
    <Base.Root open onOpenChange={(open) => !open && onClose()}>
      <Base.Portal>
        <Base.Backdrop className="fixed inset-0 z-40 bg-[oklch(0_0_0/0.3)]" />
        <Base.Popup className="fixed top-[10vh] left-1/2 z-50 w-[min(600px,calc(100vw-2rem))] -translate-x-1/2 overflow-hidden rounded-md border border-line-strong bg-raised shadow-float max-md:top-4">
          <Base.Title className="sr-only">Search or run</Base.Title>
          <Command label="Search or run" loop filter={ranked}>
            <div className="flex items-center gap-2 border-b border-line px-3">
              <Icon name="search" className="text-muted" />
              <Command.Input
                value={text}
                onValueChange={setText}
                placeholder="An agent, a view, an action"
                className="h-11 flex-1 bg-transparent outline-none max-md:text-lg"
              />
            </div>
            {error !== null && (
              <div className="p-2">
                <ProblemNotice error={error} />
              </div>
            )}
            <Command.List className="max-h-[min(420px,60vh)] overflow-y-auto p-1.5">
              <Command.Empty className="px-2.5 py-6 text-center text-muted">Nothing fits.</Command.Empty>
              <Command.Group heading="Agents" className={GROUP}>
                {agents.map((agent) => (
                  <Command.Item
                    key={agent.name}
                    value={`agent ${agent.name}`}
                    keywords={[agent.model ?? "", agent.engine, word(agent.state)]}
                    onSelect={() => go({ agent: agent.name, search: {} })}
                    className={ITEM}
                  >
                    <StateShape state={agent.state} />
                    <span className="font-medium">{agent.name}</span>
                    <span className="text-muted">{word(agent.state)}</span>
                  </Command.Item>
                ))}
              </Command.Group>
              <Command.Group heading="Views" className={GROUP}>
                {offered.views.map(item)}
              </Command.Group>
              <Command.Group heading="Actions" className={GROUP}>
                {offered.actions.map(item)}
                {text.trim() !== "" && (
                  <Command.Item
                    value={`${SEARCH} ${text}`}
                    forceMount
                    onSelect={() => go({ to: "/messages", search: { q: text.trim() } })}
                    className={ITEM}
                  >
                    <Icon name="mail" className="text-muted" />
                    Search messages for “{text.trim()}”
                  </Command.Item>
                )}
              </Command.Group>
            </Command.List>
          </Command>
        </Base.Popup>
      </Base.Portal>
    </Base.Root>
  );
}
