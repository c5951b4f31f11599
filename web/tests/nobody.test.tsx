// @vitest-environment happy-dom
// A hive in which no agent lives: what earlier ones left is still there.
import { afterEach, expect, test } from "vitest";
import { Answers, agentRow, leave, sit, until } from "./seat";

afterEach(leave);

const text = (): string => document.body.textContent ?? "";

test("agents that were destroyed and mail that is parked are shown where no agent is left (TB-1)", async () => {
  const hive = new Answers();
  hive.agents = [];
  hive.gone = [agentRow("ben", { state: "off", wish: "destroyed" })];
  hive.parked = 2;
  await sit(hive, "/");
  await until(() => text().includes("1 destroyed agent, files kept"), text());
  expect(text()).toContain("No agents yet");
  expect(text()).toContain("2 messages failed too often");
  expect(document.title).toBe("2 · Melipona"); // what waits for a person, parked mail too
});
