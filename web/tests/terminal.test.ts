import { afterEach, expect, test, vi } from "vitest";
import { controlled } from "~/features/terminal/terminal-tab";
import { decoded, encoded, follow, type Line, Typist } from "~/features/terminal/wire";

afterEach(() => vi.unstubAllGlobals());

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

function piece(words: string, end: number): string {
  return `id: ${end}\ndata: {"data":"${btoa(words)}"}\n\n`;
}

function answering(...bodies: (string | Error | Response)[]): string[] {
  const asked: string[] = [];
  vi.stubGlobal("fetch", async (url: string) => {
    asked.push(url);
    const next = bodies.shift();
    if (next instanceof Error) throw next;
    return next instanceof Response ? next : new Response(next ?? "event: end\ndata: {}\n\n");
  });
  return asked;
}

async function seen(): Promise<{ shown: string[]; told: string[]; gaps: number }> {
  const shown: string[] = [];
  const told: string[] = [];
  let gaps = 0;
  await follow(
    "t",
    {
      show: async (data) => void shown.push(text(data)),
      gap: async () => {
        gaps += 1;
      },
      tell: (what) => void told.push(what.kind === "over" ? `over ${what.exit}` : what.kind),
    },
    new AbortController().signal,
  );
  return { shown, told, gaps };
}

test("a stream that breaks off is taken up again at its offset: nothing twice, nothing lost", async () => {
  const asked = answering(
    `: hello\n\n${piece("one", 3)}`,
    new TypeError("network"),
    `${piece("two", 6)}event: end\ndata: {"exit":3}\n\n`,
  );
  const { shown, told, gaps } = await seen();
  expect(shown).toEqual(["one", "two"]);
  expect(asked.map((url) => url.split("after=")[1])).toEqual(["0", "3", "3"]);
  expect(told).toEqual(["live", "away", "live", "over 3"]);
  expect(gaps).toBe(0);
});

test("output that the hive no longer keeps is told as a gap", async () => {
  answering(`${piece("one", 3)}${piece("later", 100)}event: end\ndata: {"exit":null}\n\n`);
  const { shown, gaps } = await seen();
  expect([shown, gaps]).toEqual([["one", "later"], 1]);
});

test("a terminal of a daemon that is gone is over", async () => {
  answering(new Response('{"code":"no_terminal","detail":"that terminal is closed"}', { status: 404 }));
  expect((await seen()).told).toEqual(["over null"]);
});

test("what is typed goes in order, together while the hive is slow, and never a second time", async () => {
  const sent: string[] = [];
  const waiting: (() => void)[] = [];
  let fails = false;
  const line: Line = {
    input: async (data) => {
      sent.push(text(data));
      await new Promise<void>((go) => waiting.push(go));
      if (fails) throw new TypeError("network");
    },
    size: async ({ rows }) => void sent.push(`rows ${rows}`),
  };
  const errors: unknown[] = [];
  const typist = new Typist(line, (error) => errors.push(error));
  const type = (words: string) => typist.type(new TextEncoder().encode(words));
  type("a");
  type("b");
  type("c");
  await vi.waitFor(() => expect(waiting).toHaveLength(1));
  waiting[0]?.();
  await vi.waitFor(() => expect(waiting).toHaveLength(2));
  expect(sent).toEqual(["a", "bc"]);
  fails = true;
  type("d");
  waiting[1]?.();
  await vi.waitFor(() => expect(errors).toHaveLength(1));
  expect(sent).toEqual(["a", "bc"]); // the answer is lost: typed again it might be there twice
});

test("control of a thumb's keyboard gives control characters, and leaves what has none", () => {
  expect(["c", "C", "[", "d"].map(controlled)).toEqual(["\x03", "\x03", "\x1b", "\x04"]);
  expect(["1", "ä", "paste of words"].map(controlled)).toEqual(["1", "ä", "paste of words"]);
});

test("bytes survive base64, whatever they are", () => {
  const bytes = Uint8Array.from({ length: 20_000 }, (_, at) => at % 256);
  expect(decoded(encoded(bytes))).toEqual(bytes);
  expect(decoded(5)).toEqual(new Uint8Array());
});
