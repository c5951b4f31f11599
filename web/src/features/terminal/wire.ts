// A terminal of the hive: what it shows, by offset, and what is typed, in order.
import { api, checkProtocol, Problem, problemOf, tellLoggedOut } from "~/api/client";
import { readStream, type SseMessage } from "~/live/sse";

export interface Size {
  readonly rows: number;
  readonly columns: number;
}

export type Told =
  | { readonly kind: "live" }
  /** The hive does not answer; it is asked again until it does. */
  | { readonly kind: "away" }
  /** The shell ended, was closed, or went with its box or its daemon. */
  | { readonly kind: "over"; readonly exit: number | null };

export interface Viewer {
  /** Shows bytes; done when they are shown. */
  show(data: Uint8Array): Promise<void>;
  /** Some of the output is gone: it was more than the hive keeps. */
  gap(): Promise<void>;
  tell(what: Told): void;
}

const AGAIN_MS = 500;
const TYPED_MOST = 48 << 10;

export async function open(name: string, size: Size): Promise<string> {
  const answer = await api.POST("/api/v1/agents/{name}/terminals", {
    params: { path: { name } },
    body: size,
  });
  return answer.data?.id ?? "";
}

export async function close(terminal: string): Promise<void> {
  await api.DELETE("/api/v1/terminals/{terminal}", { params: { path: { terminal } } });
}

/** Follows a terminal until it is over; takes the stream up again where it broke off. */
export async function follow(terminal: string, viewer: Viewer, signal: AbortSignal): Promise<void> {
  let after = 0;
  let over: Told | null = null;
  const take = async (messages: readonly SseMessage[]): Promise<void> => {
    for (const message of messages) {
      const data = fields(message.data);
      if (message.event === "end") over = { kind: "over", exit: exitOf(data) };
      if (message.event !== "message" || message.id === null) continue;
      const bytes = decoded(data.data);
      const begins = Number(message.id) - bytes.length;
      if (begins > after) await viewer.gap();
      await viewer.show(bytes);
      after = Number(message.id);
    }
  };
  while (!signal.aborted && over === null) {
    try {
      const response = await fetch(`/api/v1/terminals/${terminal}/stream?after=${after}`, {
        signal,
        cache: "no-store",
      });
      checkProtocol(response);
      if (response.status === 401) tellLoggedOut();
      if (!response.ok) throw await problemOf(response);
      viewer.tell({ kind: "live" });
      await readStream(response, take);
    } catch (error) {
      if (signal.aborted) return;
      // It is closed, or was of a daemon that is gone: there is no such terminal any more.
      if (error instanceof Problem && error.status < 500) over = { kind: "over", exit: null };
      else viewer.tell({ kind: "away" });
    }
    if (over === null && !signal.aborted) await new Promise((done) => setTimeout(done, AGAIN_MS));
  }
  if (over !== null) viewer.tell(over);
}

export interface Line {
  input(data: Uint8Array): Promise<unknown>;
  size(size: Size): Promise<unknown>;
}

/** The line to a terminal of the hive. */
export function lineTo(terminal: string): Line {
  const params = { path: { terminal } };
  return {
    input: (data) =>
      api.POST("/api/v1/terminals/{terminal}/input", { params, body: { data: encoded(data) } }),
    size: (size) => api.POST("/api/v1/terminals/{terminal}/size", { params, body: size }),
  };
}

/** Sends what is typed: in order, what came meanwhile in one piece, and never twice. */
export class Typist {
  #waiting: Uint8Array[] = [];
  #sending = false;
  #size: Size | null = null;

  constructor(
    private readonly line: Line,
    private readonly failed: (error: unknown) => void,
  ) {}

  type(bytes: Uint8Array): void {
    this.#waiting.push(bytes);
    void this.#run();
  }

  resize(size: Size): void {
    this.#size = size;
    void this.#run();
  }

  async #run(): Promise<void> {
    if (this.#sending) return;
    this.#sending = true;
    try {
      while (this.#waiting.length > 0 || this.#size !== null) {
        const size = this.#size;
        this.#size = null;
        if (size !== null) await this.line.size(size);
        const data = this.#taken();
        if (data.length > 0) await this.line.input(data);
      }
    } catch (error) {
      this.#waiting = []; // whether it arrived is not known: typing it again could do it twice
      this.failed(error);
    } finally {
      this.#sending = false;
    }
  }

  #taken(): Uint8Array {
    const all = joined(this.#waiting);
    this.#waiting = all.length > TYPED_MOST ? [all.subarray(TYPED_MOST)] : [];
    return all.subarray(0, TYPED_MOST);
  }
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

function fields(data: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(data);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function exitOf(data: Record<string, unknown>): number | null {
  return typeof data.exit === "number" ? data.exit : null;
}

export function decoded(text: unknown): Uint8Array {
  if (typeof text !== "string") return new Uint8Array();
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

export function encoded(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192)
    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}
