import { Dialog as Base } from "@base-ui/react/dialog";
import { useNavigate } from "@tanstack/react-router";
import { Command } from "cmdk";
import { type ReactNode, useState } from "react";
import { PLACES } from "~/app/places";
import type { Tab } from "~/app/search";
import { setTheme } from "~/app/theme";
import { act, possible, type Verb } from "~/features/agents/actions";
import type { ASKED } from "~/features/agents/controls";
import { useMay } from "~/live/may";
import { useHive } from "~/live/store";
import { Icon, type IconName } from "~/ui/icons";
import { ProblemNotice } from "~/ui/notice";
import { need, StateShape, word } from "~/ui/state";

const VERBS: readonly { verb: Verb; word: string; icon: IconName }[] = [
  { verb: "pause", word: "Pause", icon: "pause" },
  { verb: "resume", word: "Resume", icon: "play" },
  { verb: "interrupt", word: "Interrupt", icon: "hand" },
  { verb: "start", word: "Start", icon: "play" },
  { verb: "stop", word: "Stop", icon: "stop" },
  { verb: "compact", word: "Compact", icon: "compact" },
  { verb: "take-back", word: "Take back what waits for", icon: "close" },
];
/** What is asked or shown on the agent's own page. */
const ASKS: readonly {
  search: { readonly ask?: (typeof ASKED)[number]; readonly tab?: Tab };
  word: string;
  icon: IconName;
  engine?: string;
  /** Also for who only reads. */
  reads?: boolean;
}[] = [
  { search: { ask: "restart" }, word: "Restart", icon: "restart" },
  { search: { ask: "new-session" }, word: "New session for", icon: "fresh" },
  { search: { ask: "model" }, word: "Change the model of", icon: "model", engine: "claude" },
  { search: { tab: "terminal" }, word: "Terminal of", icon: "terminal" },
  { search: { tab: "turns" }, word: "Turns of", icon: "list", reads: true },
  { search: { tab: "mail" }, word: "Mail of", icon: "mail", reads: true },
  { search: { tab: "settings" }, word: "Settings of", icon: "settings", reads: true },
  { search: { tab: "files" }, word: "Files of", icon: "files", reads: true },
  { search: { ask: "destroy" }, word: "Destroy", icon: "close" },
  { search: { ask: "purge" }, word: "Purge", icon: "close" },
];
const MEANT_MOST = 8;

/** The agents whose actions are offered: those that a word of the text names, else those that need somebody most. */
export function agentsMeant<A extends { readonly name: string }>(
  agents: readonly A[],
  text: string,
): readonly A[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const named = agents.filter((agent) => words.some((word) => agent.name.includes(word)));
  return (named.length > 0 ? named : agents).slice(0, MEANT_MOST);
}

const ITEM =
  "flex min-h-9 cursor-default items-center gap-2.5 rounded-sm px-2.5 data-[selected=true]:bg-hover max-md:min-h-11";
const GROUP =
  "[&_[cmdk-group-heading]]:px-2.5 [&_[cmdk-group-heading]]:pt-2 [&_[cmdk-group-heading]]:pb-1 [&_[cmdk-group-heading]]:text-sm [&_[cmdk-group-heading]]:text-muted";

/** Reaches every agent, every view and every action without a mouse. */
export function Palette({ onClose, onHelp }: { onClose: () => void; onHelp: () => void }): ReactNode {
  const hive = useHive();
  const may = useMay("act");
  const navigate = useNavigate();
  const [error, setError] = useState<unknown>(null);
  const [text, setText] = useState("");
  const agents = [...(hive?.agents.values() ?? [])].sort(
    (a, b) => need(a.state) - need(b.state) || (a.name < b.name ? -1 : 1),
  );
  const meant = agentsMeant(agents, text);
  const go = (what: () => unknown) => () => {
    onClose();
    void what();
  };
  const run = (verb: Verb, name: string) => () => void act(verb, name).then(onClose, setError);
  const here = (change: object) =>
    navigate({ to: ".", search: (before: object) => ({ ...before, ...change }) });
  return (
    <Base.Root open onOpenChange={(open) => !open && onClose()}>
      <Base.Portal>
        <Base.Backdrop className="fixed inset-0 z-40 bg-[oklch(0_0_0/0.3)]" />
        <Base.Popup className="fixed top-[10vh] left-1/2 z-50 w-[min(600px,calc(100vw-2rem))] -translate-x-1/2 overflow-hidden rounded-md border border-line-strong bg-raised shadow-float max-md:top-4">
          <Base.Title className="sr-only">Search or run</Base.Title>
          <Command label="Search or run" loop>
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
                    onSelect={go(() =>
                      navigate({ to: "/agents/$name", params: { name: agent.name }, search: {} }),
                    )}
                    className={ITEM}
                  >
                    <StateShape state={agent.state} />
                    <span className="font-medium">{agent.name}</span>
                    <span className="text-muted">{word(agent.state)}</span>
                  </Command.Item>
                ))}
              </Command.Group>
              <Command.Group heading="Views" className={GROUP}>
                {PLACES.map((place) => (
                  <Command.Item
                    key={place.to}
                    value={`view ${place.name}`}
                    onSelect={go(() => navigate({ to: place.to }))}
                    className={ITEM}
                  >
                    <Icon name={place.icon} className="text-muted" />
                    {place.name}
                  </Command.Item>
                ))}
              </Command.Group>
              <Command.Group heading="Actions" className={GROUP}>
                {may && (
                  <Command.Item
                    value="new agent make create"
                    onSelect={go(() => here({ new: "agent" }))}
                    className={ITEM}
                  >
                    <Icon name="plus" className="text-muted" />
                    Make an agent
                  </Command.Item>
                )}
                <Command.Item
                  value="parked mail failed retry"
                  onSelect={go(() => navigate({ to: "/messages", search: { state: "parked" } }))}
                  className={ITEM}
                >
                  <Icon name="retry" className="text-muted" />
                  Parked mail
                </Command.Item>
                <Command.Item value="keys help keyboard" onSelect={go(onHelp)} className={ITEM}>
                  <Icon name="why" className="text-muted" />
                  Keys
                </Command.Item>
                {(["light", "dark", "system"] as const).map((theme) => (
                  <Command.Item
                    key={theme}
                    value={`theme ${theme}`}
                    onSelect={go(() => setTheme(theme))}
                    className={ITEM}
                  >
                    <Icon name="sun" className="text-muted" />
                    {theme === "system" ? "Look as the system does" : `Look ${theme}`}
                  </Command.Item>
                ))}
                {text.trim() !== "" && (
                  <Command.Item
                    value={`search messages ${text}`}
                    forceMount
                    onSelect={go(() => navigate({ to: "/messages", search: { q: text.trim() } }))}
                    className={ITEM}
                  >
                    <Icon name="mail" className="text-muted" />
                    Search messages for “{text.trim()}”
                  </Command.Item>
                )}
                {text.trim() !== "" &&
                  meant.flatMap((agent) =>
                    VERBS.filter(({ verb }) => possible(agent).has(verb)).map(
                      ({ verb, word: name, icon }) => (
                        <Command.Item
                          key={`${verb} ${agent.name}`}
                          value={`${name} ${agent.name}`}
                          onSelect={run(verb, agent.name)}
                          className={ITEM}
                        >
                          <Icon name={icon} className="text-muted" />
                          {name} {agent.name}
                        </Command.Item>
                      ),
                    ),
                  )}
                {text.trim() !== "" &&
                  meant.flatMap((agent) =>
                    ASKS.filter(
                      ({ engine, reads }) =>
                        (may || reads) && (engine === undefined || engine === agent.engine),
                    ).map(({ search, word: name, icon }) => (
                      <Command.Item
                        key={`${name} ${agent.name}`}
                        value={`${name} ${agent.name}`}
                        onSelect={go(() =>
                          navigate({ to: "/agents/$name", params: { name: agent.name }, search }),
                        )}
                        className={ITEM}
                      >
                        <Icon name={icon} className="text-muted" />
                        {name} {agent.name}
                      </Command.Item>
                    )),
                  )}
                {text.trim() !== "" &&
                  meant.map((agent) => (
                    <Command.Item
                      key={`why ${agent.name}`}
                      value={`why ${agent.name}`}
                      onSelect={go(() => here({ why: agent.name }))}
                      className={ITEM}
                    >
                      <Icon name="why" className="text-muted" />
                      Why is {agent.name} {word(agent.state)}
                    </Command.Item>
                  ))}
              </Command.Group>
            </Command.List>
          </Command>
        </Base.Popup>
      </Base.Portal>
    </Base.Root>
  );
}
