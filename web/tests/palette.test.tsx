// The palette reaches every view and every action of the API (DESIGN: keyboard and palette reach everything).
// @vitest-environment happy-dom
import { readFileSync } from "node:fs";
import { afterEach, expect, test } from "vitest";
import { PLACES } from "~/app/places";
import "~/features/messages/messages"; // a chunk that arrives after the tests have ended is an error
import { entries } from "~/features/palette/entries";
import { setMe } from "~/live/may";
import { Answers, agentRow, leave } from "./seat";

afterEach(leave);

const document_ = JSON.parse(
  readFileSync(`${import.meta.dirname}/../../docs/reference/openapi.json`, "utf8"),
) as { paths: Record<string, Record<string, unknown>> };

/** By route: the entry that leads to it, or why there is none. */
const LEADS: Record<string, string | { none: string }> = {
  "POST /agents": "Make an agent",
  "PATCH /agents/{name}": "Settings of ana",
  ...Object.fromEntries(
    [
      ["start", "Start off"],
      ["stop", "Stop ana"],
      ["restart", "Restart ana"],
      ["pause", "Pause ana"],
      ["resume", "Resume held"],
      ["destroy", "Destroy ana"],
      ["purge", "Purge ana"],
      ["interrupt", "Interrupt busy"],
      ["compact", "Compact ana"],
      ["new-session", "New session for ana"],
      ["take-back", "Take back what waits for later"],
      ["terminals", "Terminal of ana"],
    ].map(([verb, entry]) => [`POST /agents/{name}/${verb}`, entry as string]),
  ),
  "POST /messages": "Write to ana",
  "POST /messages/{message}/retry": "Parked mail",
  "POST /inbox/read": "Mark all messages read",
  "POST /doctor": "Examine this machine",
  "POST /backup": "Back up the hive",
  "POST /stop": "Stop the hive",
  "POST /logout": "Log out, revoke sessions",
  "DELETE /sessions/{session}": "Log out, revoke sessions",
  "POST /tokens": "Make or revoke a token",
  "DELETE /tokens/{token}": "Make or revoke a token",
  "POST /passkeys": "Add or change a passkey",
  "POST /passkeys/options": "Add or change a passkey",
  "PATCH /passkeys/{passkey}": "Add or change a passkey",
  "DELETE /passkeys/{passkey}": "Add or change a passkey",
  "POST /recovery-codes": "Add or change a passkey",
  "POST /login-links/switch": "Add or change a passkey",
  "POST /login-links": "Add or change people",
  "POST /people": "Add or change people",
  "PATCH /people/{name}": "Add or change people",
  "POST /people/{name}/identities": "Add or change people",
  "DELETE /people/{name}/identities/{identity}": "Add or change people",
  "DELETE /people/{name}/passkeys/{passkey}": "Add or change people",
  "DELETE /terminals/{terminal}": { none: "closes the terminal that one is in" },
  "POST /terminals/{terminal}/input": { none: "what is typed into a terminal" },
  "POST /terminals/{terminal}/size": { none: "follows the window" },
  "POST /step-up": { none: "confirms another action" },
};
const BEFORE_LOGIN = /^POST \/(login|step-up\/provider)(\/|$)/;

const CLAUDE = { engine: "claude" };
const AGENTS = [
  agentRow("ana", CLAUDE),
  agentRow("busy", { state: "working", turn: 4 }),
  agentRow("held", { state: "paused", paused_at: "2026-11-21T12:00:00Z" }),
  agentRow("later", { pending: { kind: "compacting", by: "operator", since: "" } as never }),
  agentRow("off", { state: "off", wish: "stopped" }),
];

function offeredTo(role: string, text: string): string[] {
  const hive = new Answers();
  hive.role = role;
  setMe(hive.me());
  const { views, actions } = entries(AGENTS, text);
  return [...views, ...actions].map((entry) => entry.label);
}

test("every action of the API has an entry, or a reason to have none", () => {
  const routes = Object.entries(document_.paths).flatMap(([path, methods]) =>
    Object.keys(methods)
      .filter((method) => ["post", "put", "patch", "delete"].includes(method))
      .map((method) => `${method.toUpperCase()} ${path.replace("/api/v1", "")}`),
  );
  const actions = routes.filter((route) => !BEFORE_LOGIN.test(route));
  expect(actions.filter((route) => !(route in LEADS))).toEqual([]);
  expect(Object.keys(LEADS).filter((route) => !routes.includes(route))).toEqual([]);
  const offered = new Set(offeredTo("admin", "x"));
  for (const [route, entry] of Object.entries(LEADS))
    if (typeof entry === "string") expect(offered, route).toContain(entry);
  expect(offered).toContain("Change the model of ana");
});

test("every view has an entry, for everybody", () => {
  for (const role of ["viewer", "operator", "admin"])
    for (const { name } of PLACES) expect(offeredTo(role, "")).toContain(name);
});

test("nobody is offered what they may not do, and an agent's actions come once something is typed", () => {
  const viewer = offeredTo("viewer", "ana");
  expect(viewer).toContain("Turns of ana");
  for (const entry of ["Pause ana", "Purge ana", "Write to ana", "Make an agent", "Back up the hive"])
    expect(viewer).not.toContain(entry);
  const operator = offeredTo("operator", "ana");
  expect(operator).toContain("Examine this machine");
  expect(operator).not.toContain("Stop the hive");
  expect(offeredTo("admin", "")).not.toContain("Pause ana");
  expect(new Set(offeredTo("admin", "x")).size).toBe(offeredTo("admin", "x").length);
});
