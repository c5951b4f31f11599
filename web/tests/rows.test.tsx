// @vitest-environment happy-dom
// What a row says on a screen of any width.
import { act } from "react";
import { createRoot } from "react-dom/client";
import { afterEach, expect, test } from "vitest";
import { TurnBlock } from "~/features/turns/turn-block";
import { Answers, AT, agentRow, leave, messageRow, sit, until } from "./seat";

afterEach(leave);

const text = (): string => document.body.textContent ?? "";

/** The page reads its hive once, so all tests here share one agent. */
function hiveOf(messages: object[] = []): Answers {
  const hive = new Answers();
  hive.agents = [
    agentRow("ana", {
      state: "working",
      detail: "pytest -q",
      status: "nearly there",
      status_at: AT,
      context: { tokens: 41, window: 100, at: AT } as never,
      spent_usd: 1.1,
      budget_usd: 5,
      waiting: 2,
    }),
  ];
  hive.messages = messages;
  return hive;
}

test("a card on a phone has what the row has on a desk", async () => {
  const hive = hiveOf();
  await sit(hive, "/");
  const card = [...document.querySelectorAll("[role=row] [role=cell]")].find((each) =>
    each.classList.contains("md:hidden"),
  );
  expect(card?.textContent).toMatch(/^nearly there.+sonnet-4-5ctx 41 %\$1\.10 of \$52 waiting$/);
});

test("badges of a message share one place on its line, whose end is its age", async () => {
  const hive = hiveOf([messageRow(7, { state: "parked", kind: "reminder", maybe_seen: true })]);
  await sit(hive, "/messages");
  const places = [...(document.querySelector("main li > button")?.children ?? [])];
  expect(places.map((each) => each.tagName)).toEqual(["SPAN", "SPAN", "SPAN", "SPAN", "TIME"]);
  expect(places[3]?.textContent).toBe("parkedremindermay be repeated");
});

test("a sequence draws every message, also of those that have no lane of their own", async () => {
  const hive = hiveOf();
  hive.messages = Array.from({ length: 15 }, (_, at) =>
    messageRow(at + 1, { sender: `a${at}`, recipient: "ana" }),
  );
  await sit(hive, "/messages?as=sequence");
  expect(text()).toContain("The 11 that write most of 16 have a lane of their own");
  const lines = document.querySelectorAll("main svg g");
  expect(lines.length).toBe(15); // an arrow for every message, also for those that share the lane of the others
  const heard = [...document.querySelectorAll("main ol li")].map((each) => each.textContent ?? "");
  expect(heard.filter((each) => /a\d+ to ana: /.test(each)).length).toBe(15);
  expect(text()).toContain("others");
  hive.messages = hive.messages.slice(0, 3);
  await sit(hive, "/messages?as=sequence");
  expect(text()).not.toContain("have a lane");
});

test("a message of yours that is parked leads to where it is retried", async () => {
  const hive = hiveOf([messageRow(7, { state: "parked", attempts: 3 })]);
  await sit(hive, "/agents/ana");
  await until(() => text().includes("failed too often, attempt 3: retry it under Messages"));
  const link = [...document.querySelectorAll("a")].find(
    (each) => each.textContent === "retry it under Messages",
  );
  expect(link?.getAttribute("href")).toBe("/messages?state=parked&m=7");
});

test("a turn of which nobody knows how long it took says nothing of it (LE-4)", () => {
  const lost = {
    id: 7,
    state: "ended",
    result: "lost",
    cause: {},
    tools: {},
    cost_usd: null,
    duration_ms: null,
  };
  const line = (more: object): string => {
    const host = document.createElement("div");
    act(() => createRoot(host).render(<TurnBlock turn={{ ...lost, ...more } as never} />));
    return host.textContent ?? "";
  };
  expect(line({})).toBe("t7lost");
  expect(line({ duration_ms: 1800 })).toBe("t71.8 slost");
});

test("each bar of an agent's facts stands below the number that it draws", async () => {
  await sit(hiveOf(), "/agents/ana");
  const meters = [...document.querySelectorAll("aside [role=meter]")];
  expect(meters.map((each) => [each.parentElement?.tagName, each.parentElement?.textContent])).toEqual([
    ["DD", "$1.10 of $5"],
    ["DD", "41 of 100"],
  ]);
});
