// Server-sent events by hand: unlike EventSource this sees comments (the hive's heartbeat), answers and headers.

export interface SseMessage {
  readonly event: string;
  readonly data: string;
  /** Null when the message carries none. */
  readonly id: string | null;
}

/** Text in pieces as they come, messages out. Keeps what is not whole yet. */
export class SseParser {
  #rest = "";
  #event = "";
  #data: string[] = [];
  #id: string | null = null;

  feed(piece: string): SseMessage[] {
    const found: SseMessage[] = [];
    const lines = (this.#rest + piece).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const raw of lines) {
      const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
      if (line === "") {
        if (this.#data.length > 0)
          found.push({ event: this.#event || "message", data: this.#data.join("\n"), id: this.#id });
        this.#event = "";
        this.#data = [];
        this.#id = null;
      } else if (!line.startsWith(":")) {
        this.#field(line);
      }
    }
    return found;
  }

  #field(line: string): void {
    const at = line.indexOf(":");
    const name = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
    if (name === "event") this.#event = value;
    else if (name === "data") this.#data.push(value);
    else if (name === "id") this.#id = value;
  }
}

/** Reads a stream to its end. `heard` is called for every piece, heartbeats included. */
export async function readStream(
  response: Response,
  take: (messages: SseMessage[]) => void | Promise<void>,
  heard: () => void = () => {},
): Promise<void> {
  const reader = response.body?.getReader();
  if (!reader) return;
  const decoder = new TextDecoder();
  const parser = new SseParser();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heard();
    const messages = parser.feed(decoder.decode(value, { stream: true }));
    if (messages.length > 0) await take(messages); // who is slow to take is sent no more: the hive notices
  }
}
