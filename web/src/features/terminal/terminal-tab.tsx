import { useNavigate, useSearch } from "@tanstack/react-router";
import { type ReactNode, useCallback, useEffect, useRef, useState } from "react";
import type { Agent } from "~/api/client";
import { useAct } from "~/features/agents/actions";
import { useMay, whyNot } from "~/live/may";
import { Button } from "~/ui/button";
import { Notice, ProblemNotice } from "~/ui/notice";
import { Ago, Foreign } from "~/ui/text";
import { Keys } from "./keys";
import { openScreen, type Screen } from "./screen";
import { close, follow, lineTo, open, type Told, Typist } from "./wire";

const FIRST = { rows: 24, columns: 80 };

/** A shell in the agent's box, for a person. The agent begins no turn while it is open. */
export function TerminalTab({ agent }: { agent: Agent }): ReactNode {
  const { terminal } = useSearch({ from: "/frame/agents/$name" });
  const navigate = useNavigate({ from: "/agents/$name" });
  const [over, setOver] = useState<{ id: string; exit: number | null } | null>(null);
  const { busy, error, run } = useAct();
  const may = useMay("act");
  const go = (id: string | undefined) =>
    void navigate({ search: (before) => ({ ...before, terminal: id }) as typeof before, replace: true });
  const begin = () =>
    run("open", async () => {
      const id = await open(agent.name, FIRST);
      setOver(null);
      go(id);
    });
  if (may && terminal !== undefined && over?.id !== terminal)
    return (
      <Session
        key={terminal}
        id={terminal}
        agent={agent}
        onOver={(exit) => {
          setOver({ id: terminal, exit });
          go(undefined);
        }}
      />
    );
  return (
    <div className="mx-auto max-w-xl space-y-4 px-4 py-6">
      {over !== null && (
        <p className="text-muted">
          The terminal is closed{over.exit !== null && `; its shell ended with ${over.exit}`}.
        </p>
      )}
      <Before agent={agent} />
      {error !== null && <ProblemNotice error={error} />}
      {!may && <p className="text-muted">{whyNot("act")}.</p>}
      <Button needs="act" look="primary" icon="terminal" busy={busy !== null} onClick={() => void begin()}>
        Open a terminal
      </Button>
    </div>
  );
}

/** What a terminal does to the agent, said before it is opened. */
function Before({ agent }: { agent: Agent }): ReactNode {
  const { name, pending, turn } = agent;
  if (pending?.kind === "attached")
    return (
      <Notice tone="warn">
        <p>
          <Foreign text={pending.by} /> is at a terminal in the box of {name} since <Ago at={pending.since} />
          . There is one at a time; left alone it closes after a minute.
        </p>
      </Notice>
    );
  return (
    <div className="space-y-2">
      <p>
        A shell in the box of {name}: its files, its programs, its limits, no network. You see what {name}{" "}
        sees.
      </p>
      <p className="text-muted">
        {turn === null
          ? `${name} begins no turn while it is open; its mail waits.`
          : `The turn that runs goes on; ${name} begins no other while it is open, and its mail waits.`}{" "}
        What you start in it ends with it.
      </p>
    </div>
  );
}

interface Props {
  id: string;
  agent: Agent;
  onOver: (exit: number | null) => void;
}

function Session({ id, agent, onOver }: Props): ReactNode {
  const host = useRef<HTMLDivElement>(null);
  const screen = useRef<Screen | null>(null);
  const typist = useRef<Typist | null>(null);
  const ctrl = useRef(false);
  const [held, setHeld] = useState(false);
  const [link, setLink] = useState<Told["kind"]>("away");
  const [error, setError] = useState<unknown>(null);
  const ended = useRef(onOver);
  ended.current = onOver;
  const hold = useCallback((on: boolean) => {
    ctrl.current = on;
    setHeld(on);
  }, []);

  useEffect(() => {
    const box = host.current;
    if (box === null) return;
    const shown = openScreen(box, `Terminal in the box of ${agent.name}`);
    const typing = new Typist(lineTo(id), setError);
    const stop = new AbortController();
    screen.current = shown;
    typist.current = typing;
    shown.terminal.onData((text) => {
      setError(null);
      typing.type(new TextEncoder().encode(ctrl.current ? controlled(text) : text));
      if (ctrl.current) hold(false);
    });
    shown.terminal.onBinary((text) => typing.type(Uint8Array.from(text, (letter) => letter.charCodeAt(0))));
    shown.terminal.onResize(({ rows, cols }) => typing.resize({ rows, columns: cols }));
    // Sized after it is drawn once: a box of no size yet would make a terminal of two columns.
    const sized = new ResizeObserver(() => box.clientWidth > 0 && shown.fit());
    sized.observe(box);
    typing.resize({ rows: shown.terminal.rows, columns: shown.terminal.cols });
    shown.terminal.focus();
    void follow(
      id,
      {
        show: (data) => shown.show(data),
        gap: () => shown.show("\x1bc[earlier output is gone]\r\n"),
        tell: (what) => {
          setLink(what.kind);
          if (what.kind === "over") ended.current(what.exit);
        },
      },
      stop.signal,
    );
    return () => {
      stop.abort();
      sized.disconnect();
      screen.current = null;
      shown.end();
    };
  }, [id, agent.name, hold]);

  return (
    <div className="flex h-full min-h-0 flex-col">
      <div className="flex shrink-0 items-center gap-3 border-b border-line px-4 py-1.5 text-sm">
        <span className="min-w-0 flex-1 text-muted">
          {link === "away" ? (
            <span className="text-warn">Not connected: what you type does not arrive.</span>
          ) : (
            <>
              {agent.name} begins no turn while this is open
              {agent.waiting > 0 &&
                `; ${agent.waiting} of its messages ${agent.waiting === 1 ? "waits" : "wait"}`}
              .
            </>
          )}
        </span>
        <Button small icon="close" onClick={() => void close(id).then(() => ended.current(null), setError)}>
          Close the terminal
        </Button>
      </div>
      {error !== null && (
        <div className="px-4 pt-2">
          <ProblemNotice error={error} />
        </div>
      )}
      <div className="min-h-0 flex-1 bg-sunken p-2">
        <div ref={host} className="h-full overflow-hidden" />
      </div>
      <Keys
        held={held}
        onHold={() => {
          hold(!ctrl.current);
          screen.current?.terminal.focus();
        }}
        onKey={(text) => {
          typist.current?.type(new TextEncoder().encode(text));
          screen.current?.terminal.focus();
        }}
        onArrow={(letter) => {
          const application = screen.current?.terminal.modes.applicationCursorKeysMode;
          typist.current?.type(new TextEncoder().encode(`\x1b${application ? "O" : "["}${letter}`));
          screen.current?.terminal.focus();
        }}
      />
    </div>
  );
}

/** What a key gives while control is held: `c` is 0x03. */
export function controlled(text: string): string {
  const code = text.length === 1 ? text.toUpperCase().charCodeAt(0) : 0;
  return code >= 0x40 && code <= 0x5f ? String.fromCharCode(code - 0x40) : text;
}
