// A turn's log over its own stream, so that a roster of two hundred agents does not pay for the text of one (D-34).
import { useEffect, useState } from "react";
import { checkProtocol, problemOf, tellLoggedOut } from "~/api/client";
import { readStream, type SseMessage } from "~/live/sse";
import { EMPTY, type TurnLog, takeLine } from "./log";

const AGAIN_MS = 1000;

/** Reads a turn from its beginning; while it runs, follows it. `give` gets the log at most once a frame. */
export async function readTurn(
  turn: number,
  follow: boolean,
  give: (log: TurnLog) => void,
  signal: AbortSignal,
): Promise<TurnLog> {
  let log = EMPTY;
  let last = "0";
  let framed = false;
  const show = () => {
    framed = false;
    if (!signal.aborted) give(log);
  };
  const take = (messages: readonly SseMessage[]) => {
    for (const message of messages) {
      if (message.event === "end") log = { ...log, ended: true };
      else log = takeLine(log, lineOf(message.data));
      if (message.id !== null) last = message.id;
    }
    if (!framed) {
      framed = true;
      requestAnimationFrame(show);
    }
  };
  while (!signal.aborted && !log.ended) {
    try {
      const response = await fetch(`/api/v1/turns/${turn}/stream?after=${last}&follow=${follow}`, {
        signal,
        cache: "no-store",
      });
      checkProtocol(response);
      if (response.status === 401) tellLoggedOut();
      if (!response.ok) throw await problemOf(response);
      await readStream(response, take);
    } catch (error) {
      if (signal.aborted || !follow || !(error instanceof TypeError)) throw error;
    }
    if (!log.ended) await new Promise((done) => setTimeout(done, AGAIN_MS));
  }
  return log;
}

function lineOf(data: string): Record<string, unknown> {
  try {
    const line: unknown = JSON.parse(data);
    return typeof line === "object" && line !== null ? (line as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** The log of a turn while the component is there. */
export function useTurnLog(turn: number, follow: boolean): { log: TurnLog; error: unknown } {
  const [state, setState] = useState<{ log: TurnLog; error: unknown }>({ log: EMPTY, error: null });
  useEffect(() => {
    const end = new AbortController();
    setState({ log: EMPTY, error: null });
    const give = (log: TurnLog) => setState({ log, error: null });
    readTurn(turn, follow, give, end.signal).catch((error) => {
      if (!end.signal.aborted) setState((before) => ({ ...before, error }));
    });
    return () => end.abort();
  }, [turn, follow]);
  return state;
}
