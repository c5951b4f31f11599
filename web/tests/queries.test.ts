// Every list that a view has asked for is what a cold load would show, whatever happened on the way, by whom ever.
import { QueryClient, QueryObserver } from "@tanstack/react-query";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Connection } from "~/live/connection";
import type { Kind } from "~/live/kinds";
import { Staleness, whenBack } from "~/live/staleness";
import { agent, event, FakeHive, same, turns, until, worldOf } from "./fake-hive";

const WHO = ["ana", "ben"] as const;
type Name = (typeof WHO)[number];

interface Mail {
  readonly id: number;
  readonly sender: string;
  readonly recipient: string;
  state: "waiting" | "leased" | "handled" | "parked";
  turn: number | null;
}

/** A hive of mail, turns, money and tombstones, with the events that the real one records for each change. */
class WholeHive extends FakeHive {
  down = false;
  readonly mail: Mail[] = [];
  readonly ran: { id: number; agent: Name; state: string }[] = [];
  readonly tombstones = new Set<string>();
  readonly changes = new Map<string, number>();

  happens(kind: Kind, name: string | null, subject: string | null = null, data: object = {}): void {
    this.event += 1;
    const one = { ...event(this.event, kind), agent: name, subject, data } as ReturnType<typeof event>;
    this.events.push(one);
    this.say(`id: ${this.store}-${one.id}\ndata: ${JSON.stringify(one)}\n\n`);
  }
  override async answer(path: string, init: RequestInit): Promise<Response> {
    if (this.down) throw new TypeError("refused");
    return super.answer(path, init);
  }
  send(sender: string, recipient: Name): void {
    const id = this.mail.length + 1;
    this.mail.push({ id, sender, recipient, state: "waiting", turn: null });
    this.happens("message.sent", recipient, `m${id}`, { sender, recipient });
  }
  begin(name: Name): void {
    const one = this.mail.find((each) => each.recipient === name && each.state === "waiting");
    if (!one) return;
    const id = this.ran.length + 1;
    this.ran.push({ id, agent: name, state: "running" });
    Object.assign(one, { state: "leased", turn: id });
    this.happens("turn.started", name, `t${id}`);
    this.happens("message.leased", name, `m${one.id}`);
  }
  end(name: Name, state: "handled" | "parked"): void {
    const turn = this.ran.find((each) => each.agent === name && each.state === "running");
    const one = this.mail.find((each) => each.turn === turn?.id && each.state === "leased");
    if (!turn || !one) return;
    turn.state = "ended";
    one.state = state;
    this.happens("turn.ended", name, `t${turn.id}`);
    this.happens(state === "handled" ? "message.handled" : "message.parked", name, `m${one.id}`);
  }
  retry(): void {
    const one = this.mail.find((each) => each.state === "parked");
    if (!one) return;
    one.state = "waiting";
    this.happens("message.retried", one.recipient, `m${one.id}`);
  }
  bury(name: Name): void {
    const was = this.tombstones.delete(name);
    if (!was) this.tombstones.add(name);
    this.happens(was ? "agent.purged" : "agent.destroyed", name);
  }
  tune(name: Name): void {
    this.changes.set(name, (this.changes.get(name) ?? 0) + 1);
    this.happens("agent.changed", name);
  }
  /** What a view reads, by the key that it reads it under. */
  read(key: readonly string[]): unknown {
    const [noun, name] = key;
    if (noun === "messages")
      return this.mail
        .filter((each) => name === "*" || each.recipient === name || each.sender === name)
        .map((each) => `${each.id} ${each.state}`);
    if (noun === "inbox") return this.mail.filter((each) => each.sender === "ben").length;
    if (noun === "turns")
      return this.ran
        .filter((each) => name === "*" || each.agent === name)
        .map((each) => `${each.id} ${each.state}`);
    if (noun === "turn") return this.ran[0]?.state ?? "none";
    if (noun === "agent") return this.changes.get(String(name)) ?? 0;
    if (noun === "costs") return this.ran.filter((each) => each.state === "ended").length;
    if (noun === "tombstones") return [...this.tombstones];
    if (noun === "events") return this.event;
    return { mail: this.mail.length, of: this.event }; // why
  }
}

const KEYS: readonly (readonly (string | number)[])[] = [
  ["messages", "*", "all"],
  ["messages", "ana", "all"],
  ["messages", "ben", "waiting"],
  ["inbox", "unread"],
  ["turns", "*"],
  ["turns", "ana"],
  ["turn", 1],
  ["agent", "ana"],
  ["costs", 14],
  ["tombstones"],
  ["events", "all"],
  ["why", "ana"],
];

type Step =
  | { do: "send"; from: string; to: Name }
  | { do: "begin" | "handled" | "parked" | "bury" | "tune"; to: Name }
  | { do: "retry" | "cut" | "down" | "up" | "restore" | "absence" | "breathe" };
const to = fc.constantFrom(...WHO);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant("send" as const), from: fc.constantFrom("operator", ...WHO), to }),
  fc.record({
    do: fc.constantFrom("begin", "begin", "handled", "parked", "bury", "tune"),
    to,
  }) as fc.Arbitrary<Step>,
  fc.record({
    do: fc.constantFrom(
      "retry",
      "cut",
      "down",
      "up",
      "up",
      "restore",
      "absence",
      "absence",
      "breathe",
      "breathe",
    ),
  }) as fc.Arbitrary<Step>,
);

function take(hive: WholeHive, each: Step): void {
  if (each.do === "send") hive.send(each.from, each.to);
  else if (each.do === "begin") hive.begin(each.to);
  else if (each.do === "handled" || each.do === "parked") hive.end(each.to, each.do);
  else if (each.do === "bury") hive.bury(each.to);
  else if (each.do === "tune") hive.tune(each.to);
  else if (each.do === "retry") hive.retry();
  else if (each.do === "cut") hive.cut();
  else if (each.do === "restore") hive.restore();
  else if (each.do === "down") {
    hive.down = true;
    hive.cut();
  } else if (each.do === "up") hive.down = false;
}

test("random work, losses and absences end with every list as a cold load shows it (I-37, I-38, I-39)", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 25 }),
      fc.array(fc.nat({ max: 4 }), { minLength: 7, maxLength: 7 }),
      async (steps, slow) => {
        const hive = new WholeHive();
        for (const name of WHO) hive.agents.set(name, agent(name, 0));
        const queries = new QueryClient({
          defaultOptions: {
            queries: { staleTime: Number.POSITIVE_INFINITY, retry: 1, retryDelay: 0, networkMode: "always" },
          },
        });
        let asked = 0;
        const observers = KEYS.map((key) => {
          const queryFn = async () => {
            if (hive.down) throw new TypeError("refused");
            const answer = hive.read(key.map(String)); // read now, and on its way for a while
            asked += 1;
            await turns(slow[asked % slow.length] ?? 0);
            if (hive.down) throw new TypeError("refused");
            return answer;
          };
          return new QueryObserver(queries, { queryKey: key, queryFn });
        });
        const staleness = new Staleness(queries, (act) => setTimeout(act, 0));
        const connection = new Connection(worldOf(hive), staleness.tell);
        const rest = whenBack(connection, staleness.resumed);
        const forget = observers.map((observer) => observer.subscribe(() => {}));
        const end = new AbortController();
        const running = connection.run(end.signal);
        for (const each of steps) {
          take(hive, each);
          if (each.do === "breathe") await turns(2);
          if (each.do === "absence") {
            await turns(slow[0]); // what is asked now is answered by nobody
            take(hive, { do: "down" });
            await turns(8);
            take(hive, { do: "up" });
          }
        }
        hive.down = false;
        const wrong = () =>
          KEYS.filter(
            (key, at) =>
              JSON.stringify(observers[at]?.getCurrentResult().data) !==
              JSON.stringify(hive.read(key.map(String))),
          );
        for (let at = 0; at < 150 && (wrong().length > 0 || !same(connection.current(), hive)); at += 1)
          await turns(1);
        expect(wrong()).toEqual([]);
        await until(() => same(connection.current(), hive));
        end.abort();
        hive.cut();
        for (const each of forget) each();
        rest();
        queries.clear();
        await running;
      },
    ),
    { numRuns: 150 },
  );
}, 60_000);
