// The pure parts of the views.
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Agent, Cost, Costs, HiveEvent, Message, Turn } from "~/api/client";
import { possible } from "~/features/agents/actions";
import { commandOf, commands, outlook } from "~/features/agents/composer";
import { notesOf } from "~/features/agents/notes";
import { type Item, timeline } from "~/features/agents/timeline";
import { filesOf } from "~/features/audit/audit";
import { asCsv, asJsonLines } from "~/features/audit/export";
import {
  agentsToday,
  byDay,
  cacheShare,
  days,
  drawn,
  forecast,
  stacked,
  sums,
  told,
} from "~/features/costs/figures";
import { apart } from "~/features/health/health";
import { lanes, newDay } from "~/features/messages/sequence";
import { sections, sentence } from "~/features/swarm/roster";
import { type Block, EMPTY, isLong, takeLine } from "~/features/turns/log";
import { gist, shownAs } from "~/features/turns/tool";
import { ago, bytes, count, money, span, took } from "~/text/format";
import { diffLines } from "~/ui/diff";
import { blocksOf } from "~/ui/markdown-blocks";

const agent = (name: string, more: Partial<Agent> = {}): Agent =>
  ({
    name,
    id: name,
    engine: "playbook",
    role: "worker",
    model: null,
    state: "idle",
    reason: null,
    detail: null,
    since: "2026-11-21T12:00:00Z",
    until: null,
    status: null,
    status_at: null,
    wish: "running",
    paused_by: null,
    paused_at: null,
    waiting: 0,
    turn: null,
    context: { tokens: null, window: null },
    spent_usd: 0,
    budget_usd: null,
    turns_per_hour: null,
    send_allow: null,
    crashes: 0,
    created_at: "2026-11-21T11:00:00Z",
    ...more,
  }) as Agent;

test("numbers read as people read them", () => {
  expect([span(38_400), span(240_000), span(7_800_000), span(3 * 86_400_000)]).toEqual([
    "38 s",
    "4 min",
    "2 h 10 min",
    "3 d",
  ]);
  expect(ago("2026-11-21T12:00:00Z", Date.parse("2026-11-21T11:59:00Z"))).toBe("0 s");
  expect([money(0), money(0.001), money(3.2), count(999), count(12_400), count(1_200_000)]).toEqual([
    "$0.00",
    "<$0.01",
    "$3.20",
    "999",
    "12.4 k",
    "1.2 M",
  ]);
  expect([bytes(512), bytes(1536), bytes(10 * 2 ** 30), took(17), took(1800)]).toEqual([
    "512 B",
    "1.5 KiB",
    "10.0 GiB",
    "17 ms",
    "1.8 s",
  ]);
});

test("what needs a person comes first, and then by change", () => {
  const all = [
    agent("ana"),
    agent("ben", { state: "working" }),
    agent("cleo", { state: "needs_you" }),
    agent("dora", { state: "stuck" }),
    agent("emil", { state: "working", since: "2026-11-21T12:01:00Z" }),
    agent("fay", { state: "of_the_future" }),
  ];
  expect(sections(all, {})[0]?.agents.map((each) => each.name)).toEqual([
    "cleo",
    "fay",
    "dora",
    "emil",
    "ben",
    "ana",
  ]);
  expect(sentence(all)).toBe("6 agents, 1 needs you, 1 stuck, 2 working.");
  expect(sentence([agent("ana")])).toBe("1 agent, idle.");
  expect(sections(all, { state: "working", sort: "name" })[0]?.agents.map((each) => each.name)).toEqual([
    "ben",
    "emil",
  ]);
  expect(sections(all, { group: "state" }).map((each) => each.name)).toEqual([
    "needs you",
    "of the future",
    "stuck",
    "working",
    "idle",
  ]);
  expect(sections(all, { q: "nobody" })).toEqual([]);
});

test("no agent is lost or doubled by any sorting and grouping", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.stringMatching(/^[a-z]{1,8}$/)),
      fc.constantFrom("need", "name", "model", "context", "cost", "since" as const),
      fc.constantFrom(undefined, "state", "engine", "role", "model" as const),
      (names, sort, group) => {
        const all = names.map((name, at) =>
          agent(name, { state: at % 2 ? "idle" : "stuck", model: at % 3 ? "m" : null }),
        );
        const shown = sections(all, {
          sort: sort as "need",
          ...(group ? { group: group as "state" } : {}),
        }).flatMap((each) => each.agents);
        expect(shown.map((each) => each.name).sort()).toEqual([...names].sort());
      },
    ),
  );
});

test("the composer says what will happen to the message", () => {
  expect(outlook(agent("ana"))).toBe("ana reads this at once");
  expect(outlook(agent("ana", { turn: 3, state: "working", waiting: 2 }))).toBe(
    "ana is working: this waits until the turn ends, after 2 messages",
  );
  expect(outlook(agent("ana", { paused_at: "2026-11-21T12:00:00Z", state: "paused" }))).toContain(
    "until it is resumed",
  );
  expect(outlook(agent("ana", { wish: "stopped", state: "off" }))).toContain("until it is started");
  expect(outlook(agent("ana", { turn: 3, state: "waiting", reason: "receive" }))).toContain("at once");
});

test("a text that is one command acts, whatever else begins with a slash is a message (ASK-31)", () => {
  const idle = agent("ana");
  expect(commandOf(" /pause ", idle)).toBe("pause");
  expect(commandOf("/resume", idle)).toBeUndefined();
  expect(commandOf("/ws/report is wrong", idle)).toBeUndefined();
  expect(commandOf("/pause now", idle)).toBeUndefined();
  expect(commandOf("/purge", idle)).toBeUndefined();
  const paused = agent("ana", { paused_at: "2026-11-21T12:00:00Z", state: "paused" });
  expect(commandOf("/resume", paused)).toBe("resume");
  expect(commands(paused)).toContain("/resume");
  expect(commands(paused)).not.toContain("/pause");
});

test("while something is in flight nothing else can be started (TG-6)", () => {
  expect([...possible(agent("ana", { state: "changing", reason: "restarting" }))]).toEqual([]);
  expect(possible(agent("ana", { turn: 3, state: "working" })).has("interrupt")).toBe(true);
  expect(possible(agent("ana")).has("interrupt")).toBe(false);
  expect(possible(agent("ana", { paused_at: "x" })).has("resume")).toBe(true);
});

// ---- conversation ---------------------------------------------------------------------------------------------------

const at = (second: number) => new Date(Date.UTC(2026, 10, 21, 12, 0, second)).toISOString();
const message = (id: number, second: number, sender = "operator", recipient = "ana"): Message =>
  ({
    id,
    sender,
    recipient,
    body: `b${id}`,
    sent_at: at(second),
    state: "handled",
    kind: "mail",
    thread: id,
  }) as Message;
const turn = (id: number, second: number, state = "ended"): Turn =>
  ({ id, agent: "ana", state, started_at: at(second), cause: {}, tools: {} }) as unknown as Turn;
const keysOf = (items: readonly Item[]) => items.map((item) => item.key);

test("mail and turns stand in the order in which they happened, what runs at the end", () => {
  const items = timeline(
    { items: [message(4, 9), message(3, 5, "ana", "operator"), message(1, 0)], more: false },
    { items: [turn(2, 6, "running"), turn(1, 0)], more: false },
  );
  expect(keysOf(items)).toEqual(["m1", "t1", "m3", "m4", "t2"]);
});

test("mail with peers in a row is folded", () => {
  const items = timeline(
    {
      items: [
        message(4, 4, "ana", "operator"),
        message(3, 3, "ben"),
        message(2, 2, "ana", "ben"),
        message(1, 1),
      ],
      more: false,
    },
    { items: [], more: false },
  );
  expect(
    items.map((item) => (item.kind === "peers" ? item.messages.map((each) => each.id) : item.key)),
  ).toEqual(["m1", [2, 3], "m4"]);
});

test("nothing older than what is known of both is shown", () => {
  const items = timeline(
    { items: [message(9, 50), message(8, 40)], more: true },
    { items: [turn(2, 45), turn(1, 5)], more: false },
  );
  expect(keysOf(items)).toEqual(["m8", "t2", "m9"]);
});

// ---- a turn's log ---------------------------------------------------------------------------------------------------

const lines = (...events: object[]) =>
  events.reduce<typeof EMPTY>((log, event) => takeLine(log, { at: at(1), event }), EMPTY).blocks;
const text = (words: string, thinking = false, partial = false): Block => ({
  type: "text",
  thinking,
  text: words,
  partial,
});

test("pieces of text become one block, and the whole takes their place", () => {
  expect(lines({ type: "text_delta", text: "Hel" }, { type: "text_delta", text: "lo" })).toEqual([
    text("Hello", false, true),
  ]);
  expect(lines({ type: "text_delta", text: "Hel" }, { type: "text", text: "Hello" })).toEqual([
    text("Hello"),
  ]);
  expect(
    lines({ type: "text_delta", text: "hm", thinking: true }, { type: "text_delta", text: "So" }),
  ).toEqual([text("hm", true), text("So", false, true)]);
  expect(
    lines({ type: "text", text: "a" }, { type: "text_delta", text: "wrong" }, { type: "drop_partial" }),
  ).toEqual([text("a")]);
});

test("a long thought is folded, a short one is not", () => {
  expect(isLong("I look around first.")).toBe(false);
  expect(isLong("a\nb\nc\nd\ne\nf")).toBe(false);
  expect(isLong("a\nb\nc\nd\ne\nf\ng")).toBe(true);
  expect(isLong("so ".repeat(300))).toBe(true);
});

test("any cut of a text into pieces ends in the same block", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ minLength: 1 }), { minLength: 1 }), (pieces) => {
      const whole = pieces.join("");
      const found = lines(...pieces.map((piece) => ({ type: "text_delta", text: piece })), {
        type: "text",
        text: whole,
      });
      expect(found).toEqual(whole.trim() === "" ? [] : [text(whole)]);
    }),
  );
});

test("a tool's result finds its call, and calls may overlap", () => {
  const [first, second] = lines(
    { type: "tool_call", id: "1", name: "Bash", input: { command: "ls" } },
    { type: "tool_call", id: "2", name: "Read", input: {} },
    { type: "tool_result", id: "1", ok: false, text: "no" },
  );
  expect(first).toMatchObject({ name: "Bash", result: { ok: false, text: "no" } });
  expect(second).toMatchObject({ name: "Read", result: null });
});

test("an object in the place of text is shown, whatever it calls itself", () => {
  expect(lines({ type: "text", text: { toString: [] } })).toEqual([text('{"toString":[]}')]);
});

test("whatever a box writes, the log stays readable (LE-15)", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.jsonValue(),
          fc.record({
            type: fc.constantFrom("text", "tool_call", "tool_result", "result", "retry"),
            text: fc.jsonValue(),
            input: fc.jsonValue(),
          }),
        ),
      ),
      (events) => {
        for (const block of lines(...(events as object[]))) {
          expect(["text", "tool", "note"]).toContain(block.type);
          if (block.type === "tool") expect(typeof gist(block)).toBe("string");
        }
      },
    ),
  );
});

test("a tool's line says what it does", () => {
  const tool = (name: string, input: Record<string, unknown>) =>
    ({ type: "tool", id: "1", name, input, at: "", result: null }) as const;
  expect(gist(tool("Bash", { command: "pytest -q\nls" }))).toBe("pytest -q …");
  expect(gist(tool("mcp__hive__send", { to: "ben", body: "hello" }))).toBe("to ben: hello");
  expect(gist(tool("git", { arguments: ["log", "-1"] }))).toBe("git log -1");
  expect(shownAs(tool("Edit", { file_path: "a.py", old_string: "1", new_string: "2" }))).toEqual({
    as: "diff",
    path: "a.py",
    changes: [{ before: "1", after: "2" }],
  });
  const edits = [
    { old_string: "1", new_string: "2" },
    { old_string: "x", new_string: "" },
  ];
  expect(shownAs(tool("MultiEdit", { file_path: "a.py", edits }))).toEqual({
    as: "diff",
    path: "a.py",
    changes: [
      { before: "1", after: "2" },
      { before: "x", after: "" },
    ],
  });
  expect(shownAs(tool("MultiEdit", { file_path: "a.py", edits: [...edits, null] }))).toEqual({ as: "json" });
  expect(shownAs(tool("NotebookEdit", { notebook_path: "a.ipynb", new_source: "1 + 1" }))).toEqual({
    as: "file",
    path: "a.ipynb",
    text: "1 + 1",
  });
});

// ---- the rest -------------------------------------------------------------------------------------------------------

const cost = (day: string, name: string, model: string, usd: number): Cost => ({
  day,
  agent: name,
  model,
  usd,
  calls: 1,
  estimated: 0,
  input: 10,
  output: 5,
  cache_read: 90,
  cache_creation: 20,
});

test("costs by day are those of all agents and models, the newest first", () => {
  const rows = [
    cost("2026-11-20", "ana", "opus", 1),
    cost("2026-11-21", "ana", "sonnet", 2),
    cost("2026-11-21", "ben", "opus", 3),
  ];
  expect(byDay(rows).map((sum) => [sum.name, sum.usd, sum.calls])).toEqual([
    ["2026-11-21", 5, 2],
    ["2026-11-20", 1, 1],
  ]);
});

test("Health says when the clocks are apart, and not when an answer was only slow", () => {
  const at = "2026-11-21T12:00:00Z";
  expect(apart(at, Date.parse(at) + 2000)).toBeNull();
  expect(apart(at, Date.parse(at) + 3_600_000)).toContain("60 min behind this browser's");
  expect(apart(at, Date.parse(at) - 60_000)).toContain("60 s ahead of this browser's");
});

test("an event links the files that it carries and nothing else (FR-11)", () => {
  const event = (data: object) => ({ data }) as unknown as HiveEvent;
  expect(filesOf(event({ files: ["/shared/a.md", 7, null] }))).toEqual(["/shared/a.md"]);
  expect(filesOf(event({ files: "/shared/a.md" }))).toEqual([]);
  expect(filesOf(event({}))).toEqual([]);
});

test("costs add up, in the table and in the chart", () => {
  const rows = [
    cost("2026-11-20", "ana", "opus", 1),
    cost("2026-11-21", "ana", "sonnet", 2),
    cost("2026-11-21", "ben", "opus", 3),
  ];
  expect(sums(rows, (row) => row.model).map((sum) => [sum.name, sum.usd, sum.fresh, sum.again])).toEqual([
    ["opus", 4, 60, 180],
    ["sonnet", 2, 30, 90],
  ]);
  expect(cacheShare({ fresh: 30, again: 90 })).toBe(0.75);
  expect(cacheShare({ fresh: 0, again: 0 })).toBeNull();
  const on = days("2026-11-19", "2026-11-21");
  expect(on).toEqual(["2026-11-19", "2026-11-20", "2026-11-21"]);
  expect(stacked(rows, (row) => row.model, ["opus", "sonnet"], on)).toEqual([
    [0, 1, 3],
    [0, 1, 5],
  ]);
  const today = {
    usd: 4,
    last_hour_usd: 0.5,
    at: "2026-11-21T20:00:00Z",
    day_ends_at: "2026-11-22T00:00:00Z",
  } as Costs;
  expect(forecast(today)).toBe(6);
});

test("a day under the pointer says its numbers, and a name keeps its colour whatever it costs", () => {
  const on = ["2026-11-29", "2026-11-30"];
  const tops = [
    [1, 2.1],
    [1, 3.2],
  ];
  expect(told(1, on, ["opus", "sonnet"], tops)).toBe("2026-11-30: $3.20, opus $2.10, sonnet $1.10");
  expect(told(0, on, ["opus", "sonnet"], tops)).toBe("2026-11-29: $1.00");
  expect([told(null, on, ["opus"], tops), told(9, on, ["opus"], tops)]).toEqual([null, null]);
  const on30 = (name: string, usd: number) => cost("2026-11-30", "ana", name, usd);
  const of = (rows: Cost[]) =>
    drawn(
      sums(rows, (each) => each.model),
      3,
    );
  expect(of([on30("b", 1), on30("a", 2), on30("c", 0.1)])).toEqual({ names: ["a", "b"], rest: true });
  expect(of([on30("b", 2), on30("a", 1)])).toEqual({ names: ["a", "b"], rest: false });
});

test("today of each agent stands against its own budget or the usual one, the nearest to its end first", () => {
  const costs = {
    day: "2026-11-21",
    agent_budget_usd: 10,
    items: [
      cost("2026-11-20", "ana", "opus", 50),
      cost("2026-11-21", "ana", "opus", 1),
      cost("2026-11-21", "ana", "sonnet", 2),
      cost("2026-11-21", "ben", "opus", 4),
      cost("2026-11-21", "cleo", "opus", 4),
    ],
  } as Costs;
  const own: Record<string, number> = { ben: 4 };
  expect(agentsToday(costs, (name) => own[name] ?? null)).toEqual([
    { name: "ben", usd: 4, budget: 4 },
    { name: "cleo", usd: 4, budget: 10 },
    { name: "ana", usd: 3, budget: 10 },
  ]);
  expect(agentsToday({ ...costs, agent_budget_usd: null }, (name) => own[name] ?? null)).toEqual([
    { name: "ben", usd: 4, budget: 4 },
    { name: "cleo", usd: 4, budget: null },
    { name: "ana", usd: 3, budget: null },
  ]);
});

test("the operator's lane is first, and there is one for everybody that writes most", () => {
  expect(
    lanes([message(1, 1, "ben", "ana"), message(2, 2, "ana", "ben"), message(3, 3, "ana", "operator")]),
  ).toEqual(["operator", "ana", "ben"]);
});

test("a sequence says where another day begins, and an action who stands behind it", () => {
  const at = (sent_at: string): Message => ({ ...message(1, 1), sent_at });
  const [monday, later, tuesday] = ["2026-11-30T10:00:00", "2026-11-30T11:00:00", "2026-12-01T10:00:00"].map(
    at,
  );
  if (!monday || !later || !tuesday) throw new Error("three");
  expect([newDay(later, monday), newDay(tuesday, later)]).toEqual([false, true]);
  expect([newDay(monday, undefined, Date.parse("2026-11-30T12:00:00")), newDay(monday, undefined)]).toEqual([
    false,
    true,
  ]);
  const paused = { id: 7, at: "t", kind: "agent.paused", agent: "ana", by: "operator", data: {} };
  const by = (person: string | null) => notesOf([{ ...paused, person } as HiveEvent]).map((note) => note.by);
  expect([by("vera"), by(null)]).toEqual([["vera"], ["operator"]]);
});

test("an export loses nothing and starts no formula", () => {
  const event: HiveEvent = {
    id: 7,
    at: "t",
    kind: "agent.status_set",
    agent: "ana",
    subject: null,
    by: '=HYPERLINK("x")',
    person: "vera",
    via: "page",
    request_id: null,
    data: { text: 'a "b",\n' },
  };
  expect(asJsonLines([event])).toBe(`${JSON.stringify(event)}\n`);
  const [head, row] = asCsv([event]).split("\r\n");
  expect(head).toBe("id,at,kind,agent,subject,by,person,via,request_id,data");
  expect(row).toBe(
    `7,t,agent.status_set,ana,,"'=HYPERLINK(""x"")",vera,page,,"{""text"":""a \\""b\\"",\\n""}"`,
  );
});

test("blocks of markdown join to the text, and what was written stays while more comes", () => {
  const piece = fc.constantFrom(
    "word ",
    "\n",
    "\n\n",
    "```\n",
    "~~~\n",
    "- item\n",
    "# head\n",
    "  deep\n",
    "`",
    "*",
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), fc.array(piece, { maxLength: 10 }), (before, after) => {
      const text = before.join("");
      const now = blocksOf(text);
      expect(now.join("")).toBe(text);
      if (text.endsWith("\n"))
        expect(blocksOf(text + after.join("")).slice(0, Math.max(0, now.length - 1))).toEqual(
          now.slice(0, -1),
        );
    }),
  );
});

test("a diff has every line of both texts near what changed", () => {
  const found = diffLines("a\nb\nc\n", "a\nB\nc\n") ?? [];
  expect(found.map((line) => line.sign + line.text)).toEqual([" a", "-b", "+B", " c"]);
});
