import type { ReactNode } from "react";

/** The grammar of states (docs/reference/states.md): one word, one shape, one colour. */
export const STATES = [
  "needs_you",
  "failed",
  "stuck",
  "working",
  "changing",
  "queued",
  "waiting",
  "paused",
  "idle",
  "off",
] as const;
export type AgentState = (typeof STATES)[number];

const COLOURS: Record<AgentState, string> = {
  needs_you: "text-accent",
  failed: "text-danger",
  stuck: "text-warn",
  working: "text-live",
  changing: "text-live",
  queued: "text-muted",
  waiting: "text-muted",
  paused: "text-muted",
  idle: "text-muted",
  off: "text-muted",
};

const SHAPES: Record<AgentState, ReactNode> = {
  needs_you: <path d="M6 .8 11.2 6 6 11.2.8 6z" fill="currentColor" />,
  failed: <path d="M2 2l8 8M10 2l-8 8" stroke="currentColor" strokeWidth="2" strokeLinecap="round" />,
  stuck: <path d="M6 1.2 11.2 10.6H.8z" fill="currentColor" />,
  working: <circle cx="6" cy="6" r="4.4" fill="currentColor" className="pulse" />,
  changing: (
    <circle
      cx="6"
      cy="6"
      r="4.2"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.6"
      strokeDasharray="1.7 1.6"
    />
  ),
  queued: (
    <>
      <circle cx="6" cy="6" r="4.4" fill="none" stroke="currentColor" strokeWidth="1.3" />
      <path d="M6 6V1.6A4.4 4.4 0 0 1 10.4 6z" fill="currentColor" />
    </>
  ),
  waiting: (
    <>
      <circle cx="6" cy="6" r="4.4" fill="none" stroke="currentColor" strokeWidth="1.3" />
      <path d="M6 1.6a4.4 4.4 0 0 0 0 8.8z" fill="currentColor" />
    </>
  ),
  paused: <path d="M3.6 2v8M8.4 2v8" stroke="currentColor" strokeWidth="2.2" strokeLinecap="round" />,
  idle: <circle cx="6" cy="6" r="4.2" fill="none" stroke="currentColor" strokeWidth="1.4" />,
  off: <circle cx="6" cy="6" r="1.7" fill="currentColor" />,
};

export function isState(state: string): state is AgentState {
  return (STATES as readonly string[]).includes(state);
}

/** Where a state stands when what needs a person comes first; a state this page does not know comes right after. */
export function need(state: string): number {
  return isState(state) ? STATES.indexOf(state) : 1;
}

export function word(state: string): string {
  return state.replaceAll("_", " ");
}

export function StateShape({ state }: { state: string }): ReactNode {
  if (!isState(state)) return <span className="w-3 text-center text-muted">?</span>;
  return (
    <svg
      viewBox="0 0 12 12"
      width="12"
      height="12"
      aria-hidden="true"
      className={`shrink-0 ${COLOURS[state]}`}
    >
      {SHAPES[state]}
    </svg>
  );
}

/** Shape and word. `verb` replaces the word while something is in flight: it says what. */
export function StateMark({ state, verb }: { state: string; verb?: string | null }): ReactNode {
  const strong = state === "needs_you" || state === "stuck" || state === "failed";
  return (
    <span className={`inline-flex items-center gap-2 whitespace-nowrap ${strong ? "font-medium" : ""}`}>
      <StateShape state={state} />
      <span className={isState(state) ? COLOURS[state] : "text-muted"}>{verb ?? word(state)}</span>
    </span>
  );
}
