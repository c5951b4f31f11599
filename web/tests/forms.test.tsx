// Every form leaves its busy state, however what it asked for went (I-40, DB-8), and says so when it went wrong.
// @vitest-environment happy-dom
import { act } from "react";
import { afterEach, expect, test, vi } from "vitest";
import { Answers, agentRow, json, leave, messageRow, settle, sit, until } from "./seat";

// A terminal draws by measures that this browser has none of; what it shows is tested in a real one.
vi.mock("~/features/terminal/screen", () => {
  const nothing = () => {};
  const terminal = {
    rows: 24,
    cols: 80,
    onData: nothing,
    onBinary: nothing,
    onResize: nothing,
    focus: nothing,
  };
  return { openScreen: () => ({ terminal, fit: nothing, show: nothing, end: nothing }) };
});
vi.setConfig({ testTimeout: 60_000 });
afterEach(leave);

interface Form {
  readonly path: string;
  /** The button that sends it, by its words. */
  readonly button: RegExp;
  /** What is typed first, by a selector. */
  readonly type?: readonly [string, string];
  readonly change: RegExp;
}
const FORMS: Record<string, Form> = {
  "new agent": { path: "/?new=agent", button: /^Make /, change: /^\/agents$/ },
  composer: { path: "/agents/ana", button: /^Send$/, type: ["textarea", "hello"], change: /^\/messages$/ },
  interrupt: { path: "/agents/ana", button: /^Interrupt$/, change: /interrupt$/ },
  "take back": { path: "/agents/ana", button: /^Take back$/, change: /take-back$/ },
  model: {
    path: "/agents/ana?ask=model",
    button: /^Use this/,
    type: ["[role=dialog] input", "m2"],
    change: /ana$/,
  },
  restart: { path: "/agents/ana?ask=restart", button: /^Restart ana$/, change: /restart$/ },
  "new session": { path: "/agents/ana?ask=new-session", button: /^Begin/, change: /new-session$/ },
  destroy: { path: "/agents/ana?ask=destroy", button: /^Destroy ana$/, change: /destroy$/ },
  purge: {
    path: "/agents/ana?ask=purge",
    button: /^Purge ana/,
    type: ["[role=dialog] input", "ana"],
    change: /purge$/,
  },
  "agent's settings": {
    path: "/agents/ana?tab=settings",
    button: /^Change ana$/,
    type: ["form input[type=number]", "3"],
    change: /ana$/,
  },
  terminal: {
    path: "/agents/ana?tab=terminal",
    button: /^Open a terminal$/,
    change: /^\/agents\/ana\/terminals?$/,
  },
  retry: { path: "/messages?m=3", button: /^Retry message$/, change: /retry$/ },
  doctor: { path: "/health", button: /^Examine/, change: /doctor$/ },
  token: {
    path: "/settings",
    button: /^Make token$/,
    type: ["[aria-label='What the token is for']", "ci"],
    change: /tokens$/,
  },
  person: {
    path: "/settings",
    button: /^Let in as/,
    type: ["[aria-label='Name of somebody new']", "vera"],
    change: /people$/,
  },
};
const ENDS: Record<string, { answer: () => Promise<Response>; says: string | null }> = {
  "goes well": { answer: async () => json({ id: 9, items: [], token: "mel_x" }), says: null },
  "is refused": {
    answer: async () =>
      json(
        { status: 409, code: "no", detail: "it cannot be done now", remedy: "wait", request_id: null },
        409,
      ),
    says: "it cannot be done now",
  },
  "is lost": {
    answer: async () => {
      throw new TypeError("network");
    },
    says: "the hive does not answer",
  },
};

function hive(): Answers {
  const it = new Answers();
  it.role = "admin";
  const pending = { kind: "renewing", by: "operator", since: "" } as never;
  it.agents = [agentRow("ana", { state: "working", turn: 4, pending })];
  it.messages = [messageRow(3, { state: "parked" })];
  return it;
}

const button = (words: RegExp) =>
  [...document.querySelectorAll<HTMLButtonElement>("button")].find((each) =>
    words.test(each.textContent ?? ""),
  );

async function type(field: HTMLInputElement | HTMLTextAreaElement, text: string): Promise<void> {
  const set = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value")?.set;
  await act(async () => {
    set?.call(field, text);
    field.dispatchEvent(new Event("input", { bubbles: true }));
  });
}

async function submit(form: Form): Promise<void> {
  const sends = button(form.button);
  expect(sends, "there is no such button").toBeDefined();
  await act(async () => {
    const around = sends?.type === "submit" ? sends.closest("form") : null;
    if (around) around.dispatchEvent(new Event("submit", { bubbles: true, cancelable: true }));
    else sends?.click();
  });
}

const CASES = Object.entries(FORMS).flatMap(([name, form]) =>
  Object.entries(ENDS).map(([end, how]) => [name, end, form, how] as const),
);

test.each(CASES)("%s is busy once and no longer when it %s", async (_, __, form, { answer, says }) => {
  const it = hive();
  let release = () => {};
  const held = new Promise<void>((done) => (release = done));
  it.change = async () => {
    await held;
    return answer();
  };
  await sit(it, form.path);
  if (form.type) {
    const field = document.querySelector<HTMLInputElement>(form.type[0]);
    if (field) await type(field, form.type[1]);
  }
  await submit(form);
  await settle(2);
  expect(document.querySelector("[aria-busy=true]"), "it is not busy").not.toBeNull();
  await submit(form).catch(() => {}); // pressed twice, it goes once
  release();
  await until(() => document.querySelector("[aria-busy=true]") === null, "not being busy");
  expect(it.changes.filter((each) => form.change.test(each.path)).length).toBe(1);
  await settle(3);
  if (says !== null) expect(document.body.textContent).toContain(says);
});
