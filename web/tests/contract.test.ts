// The page against what it is built on: the API's document and the list of events.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { KINDS } from "~/live/kinds";
import { staleAfter, staleKeys } from "~/live/stale";
import { STATES } from "~/ui/state";

const docs = (name: string) => readFileSync(new URL(`../../docs/reference/${name}`, import.meta.url), "utf8");

test("the types are those of the committed OpenAPI document", () => {
  execFileSync("node", ["scripts/types.mjs", "--check"], {
    cwd: new URL("..", import.meta.url),
    stdio: "pipe",
  });
}, 30_000);

test("every kind of event is known, and no other", () => {
  const section = docs("events.md").split("## Kinds")[1]?.split("## ")[0] ?? "";
  const told = [...section.matchAll(/^\| `([a-z_.]+)` \|/gm)].map((match) => match[1]);
  expect([...KINDS].sort()).toEqual(told.sort());
  expect(Object.keys(staleAfter).sort()).toEqual(told);
});

test("every state has its shape, and no other", () => {
  const section = docs("states.md").split("## Agents")[1]?.split("### ")[0] ?? "";
  const told = [...section.matchAll(/^\| `([a-z_]+)` \|/gm)].map((match) => match[1]);
  expect([...STATES].sort()).toEqual(told.sort());
});

test("an event of a kind that is not known makes everything stale (LE-15)", () => {
  const event = {
    id: 1,
    at: "",
    kind: "moon.rose",
    agent: null,
    subject: null,
    by: "x",
    person: null,
    via: null,
    request_id: null,
    data: {},
  };
  expect(staleKeys(event)).toBe("all");
});
