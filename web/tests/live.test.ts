// One snapshot, then one stream: what the page shows is what a cold load shows, whatever happens on the way.
import { QueryCache } from "@tanstack/react-query";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Agent } from "~/api/client";
import { Connection } from "~/live/connection";
import { type Followed, fold, fromSnapshot } from "~/live/fold";
import { SseParser } from "~/live/sse";
import { PAUSE_MS, Staleness } from "~/live/staleness";
import { agent, event, FakeHive, NAMES, same, turns, until, worldOf } from "./fake-hive";

type Step = { do: "change" | "gone"; name: string } | { do: "cut" } | { do: "restore" } | { do: "breathe" };
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant("change" as const), name: fc.constantFrom(...NAMES) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("gone" as const), name: fc.constantFrom(...NAMES) }) },
  { weight: 2, arbitrary: fc.constant({ do: "cut" as const }) },
  { weight: 1, arbitrary: fc.constant({ do: "restore" as const }) },
  { weight: 4, arbitrary: fc.constant({ do: "breathe" as const }) },
);

test("random changes, losses and restores end in what a cold load shows (I-37, I-38)", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const hive = new FakeHive();
      for (const name of NAMES) hive.agents.set(name, agent(name, 0));
      const end = new AbortController();
      const connection = new Connection(worldOf(hive), () => {});
      const running = connection.run(end.signal);
      let restores = 0;
      for (const each of steps) {
        if (each.do === "change" || each.do === "gone") hive.change(each.name, each.do === "gone");
        else if (each.do === "cut") hive.cut();
        else if (each.do === "restore") {
          hive.restore();
          restores += 1;
        } else await turns(3);
      }
      await until(() => same(connection.current(), hive));
      expect(hive.snapshots).toBeLessThanOrEqual(1 + restores); // one for the page, one for each other store
      end.abort();
      hive.cut();
      await running;
    }),
    { numRuns: 60 },
  );
});

test("no event is applied twice and none is missed, wherever the snapshot was taken (I-38)", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 20 }), fc.array(fc.integer({ min: 0, max: 20 })), (at, repeats) => {
      const all = Array.from({ length: 20 }, (_, number) => event(number + 1));
      const hive = { ...fromSnapshot(new FakeHive().snapshot()), event: at };
      // After a loss a stream begins anew somewhere at or below what was seen, and is in order.
      const followed: Followed[] = [at, ...repeats.filter((each) => each <= at)].flatMap((from) =>
        all.slice(from).map((one): Followed => ({ type: "event", event: one })),
      );
      const { fresh } = fold(hive, followed);
      expect(fresh.map((one) => one.id)).toEqual(all.slice(at).map((one) => one.id));
    }),
  );
});

test("one frame folds any number of rows at once, and nothing changes without cause", () => {
  const hive = fromSnapshot(new FakeHive().snapshot());
  expect(fold(hive, []).hive).toBe(hive);
  const rows = (agents: Agent[], gone: string[] = []): Followed => ({
    type: "rows",
    rows: { event: 1, agents, gone, hive: null },
  });
  const after = fold(hive, [
    rows([agent("ana", 1)]),
    rows([agent("ana", 2), agent("ben", 1)]),
    rows([], ["ben"]),
  ]).hive;
  expect([...after.agents.values()].map((each) => [each.name, each.waiting])).toEqual([["ana", 2]]);
  expect(after.mail).toBe(hive.mail);
});

test("a stream means the same however it is cut into pieces", () => {
  const text =
    'retry: 1000\n\n:\n\nid: s-1\ndata: {"a":1}\n\nevent: rows\ndata: x\ndata: y\r\n\nid: s-2\ndata: z\n\n';
  const whole = new SseParser().feed(text);
  expect(whole).toEqual([
    { event: "message", data: '{"a":1}', id: "s-1" },
    { event: "rows", data: "x\ny", id: null },
    { event: "message", data: "z", id: "s-2" },
  ]);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: text.length })), (cuts) => {
      const parser = new SseParser();
      const at = [0, ...cuts.sort((a, b) => a - b), text.length];
      expect(at.slice(1).flatMap((end, index) => parser.feed(text.slice(at[index], end)))).toEqual(whole);
    }),
  );
});

test("a lost connection is seen at once, and tried again with patience", async () => {
  const hive = new FakeHive();
  const waits: number[] = [];
  const world = worldOf(hive, waits);
  const connection = new Connection(world, () => {});
  const links: string[] = [];
  connection.subscribe(() => links.push(connection.current().link));
  const end = new AbortController();
  const running = connection.run(end.signal);
  await until(() => connection.current().link === "live");
  world.fetch = async () => {
    throw new TypeError("refused");
  };
  hive.cut();
  await until(() => connection.current().link === "away");
  await until(() => waits.filter((ms) => ms <= 5000).length >= 6);
  expect(waits.filter((ms) => ms <= 5000).slice(0, 6)).toEqual([300, 600, 1200, 2400, 4800, 5000]);
  world.fetch = (path, init) => hive.answer(path, init);
  await until(() => connection.current().link === "live");
  end.abort();
  hive.cut();
  await running;
});

test("a network that goes away is seen at once, and not when silence has lasted", async () => {
  const hive = new FakeHive();
  const world = worldOf(hive);
  const connection = new Connection(world, () => {});
  const end = new AbortController();
  const running = connection.run(end.signal);
  await until(() => connection.current().link === "live");
  world.fetch = async () => {
    throw new TypeError("unreachable");
  };
  connection.drop(); // nothing ends the stream: its bytes only stop to come
  await until(() => connection.current().link === "away");
  end.abort();
  await running;
});

test("a session that ended stops the page from asking", async () => {
  const connection = new Connection(
    { ...worldOf(new FakeHive()), fetch: async () => new Response("{}", { status: 401 }) },
    () => {},
  );
  await connection.run(new AbortController().signal);
  expect(connection.current().link).toBe("logged_out");
});

test("sixty events a second make a list stale at once and then at its own pace, and the last one counts", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom("tell", "time"), { maxLength: 200 }), (steps) => {
      const told: number[] = [];
      const timers: (() => void)[] = [];
      let round = 0;
      let lastTell = -1;
      const queries = {
        invalidateQueries: async () => void told.push(round),
        getQueryCache: () => new QueryCache(),
      };
      const staleness = new Staleness(queries, (act, ms) => {
        expect(ms).toBe(PAUSE_MS);
        timers.push(act);
      });
      for (const each of steps) {
        if (each === "tell") {
          lastTell = round;
          staleness.tell([["messages", "*"]]);
        } else {
          round += 1;
          for (const act of timers.splice(0)) act();
        }
      }
      round += 1;
      for (const act of timers.splice(0)) act();
      const perRound = new Map<number, number>();
      for (const at of told) perRound.set(at, (perRound.get(at) ?? 0) + 1);
      expect(Math.max(0, ...perRound.values())).toBeLessThanOrEqual(1);
      if (lastTell >= 0) expect(told.some((at) => at >= lastTell)).toBe(true);
    }),
  );
});
