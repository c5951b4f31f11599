// What somebody may not do is not offered, or says why, on every view (ASK-23). The hive refuses it by itself.
// @vitest-environment happy-dom
import { act } from "react";
import { afterEach, expect, test, vi } from "vitest";
import { Answers, agentRow, controls, leave, messageRow, settle, sit } from "./seat";

vi.setConfig({ testTimeout: 60_000 });
afterEach(leave);

const OWN = /^\/(logout|tokens|sessions|passkeys|recovery-codes|step-up)/;
const PLACES: Record<string, string> = {
  swarm: "/",
  "new agent": "/?new=agent",
  conversation: "/agents/ana",
  terminal: "/agents/ana?tab=terminal",
  "an open terminal": "/agents/ana?tab=terminal&terminal=x1",
  "agent's settings": "/agents/ana?tab=settings",
  model: "/agents/ana?ask=model",
  restart: "/agents/ana?ask=restart",
  "new session": "/agents/ana?ask=new-session",
  destroy: "/agents/ana?ask=destroy",
  purge: "/agents/ana?ask=purge",
  "parked message": "/messages?m=3",
  health: "/health",
  settings: "/settings",
};

function hiveFor(role: string): Answers {
  const hive = new Answers();
  hive.role = role;
  hive.agents = [
    agentRow("ana", {
      state: "working",
      turn: 4,
      pending: { kind: "compacting", by: "operator", since: "" } as never,
    }),
    agentRow("ben", { state: "stuck", wish: "stopped" }),
  ];
  hive.messages = [messageRow(3, { state: "parked", last_error: "no" })];
  return hive;
}

/** Presses every control of a place, each on a page of its own, and every key; what was asked for that changes. */
async function pressed(role: string, path: string): Promise<Set<string>> {
  const found = new Set<string>();
  const keep = (hive: Answers) => {
    for (const { method, path: at } of hive.changes) found.add(`${method} ${at}`);
  };
  await sit(hiveFor(role), path);
  const many = controls().length;
  expect(many).toBeGreaterThan(0);
  for (let at = 0; at <= many; at += 1) {
    // One more than there are: what is typed can make a button work.
    const hive = hiveFor(role);
    await sit(hive, path);
    const typed = document.querySelector<HTMLInputElement>("form input");
    if (typed && path.includes("purge")) await type(typed, "ana");
    const control = controls()[at];
    if (control) await act(async () => void press(control));
    await settle(3);
    keep(hive);
  }
  for (const key of ["p", "i", "n", "c"]) {
    const hive = hiveFor(role);
    await sit(hive, path.includes("?") ? path : `${path}?at=ana`);
    await act(
      async () => void document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true })),
    );
    await settle(3);
    keep(hive);
  }
  return found;
}

function press(control: HTMLElement): void {
  const form = control.closest("form");
  if (form && control.getAttribute("type") === "submit")
    form.dispatchEvent(new Event("submit", { bubbles: true, cancelable: true }));
  else control.click();
}

async function type(field: HTMLInputElement, text: string): Promise<void> {
  const set = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value")?.set;
  await act(async () => {
    set?.call(field, text);
    field.dispatchEvent(new Event("input", { bubbles: true }));
  });
}

test.each(Object.entries(PLACES))("a viewer can change nothing at: %s", async (_, path) => {
  const changed = [...(await pressed("viewer", path))].filter((each) => !OWN.test(each.split(" ")[1] ?? ""));
  expect(changed).toEqual([]);
});

test.each([
  ["/", "POST /agents/ana/pause"],
  ["/agents/ana", "POST /agents/ana/interrupt"],
  ["/agents/ana", "POST /agents/ana/take-back"],
  ["/agents/ana?ask=restart", "POST /agents/ana/restart"],
  ["/agents/ana?ask=purge", "POST /agents/ana/purge"],
  ["/messages?m=3", "POST /messages/3/retry"],
  ["/health", "POST /doctor"],
])("an operator at %s can: %s", async (path, change) => {
  expect(await pressed("operator", path)).toContain(change);
});

test.each([
  "/?new=agent",
  "/agents/ana",
  "/agents/ana?tab=terminal",
  "/agents/ana?tab=settings",
  "/agents/ana?ask=model",
  "/agents/ana?ask=purge",
])("at %s a viewer reads why it is not offered", async (path) => {
  await sit(hiveFor("viewer"), path);
  expect(document.body.textContent).toContain("You are a viewer here; that takes an operator.");
});
