"""Money: reserved before, settled once, settled by a restart, never past a limit by more than one request (I-14, D-30).

The model is a ledger of what each call was told. Days roll over in a zone with summer time; limits change; calls run in
parallel, end twice, end without usage, or never.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from melipona.agents import store as agent_rows
from melipona.budgets.model import BudgetBusy, BudgetSpent, Reservation, Usage
from melipona.budgets.prices import load_prices
from melipona.budgets.service import Budgets
from melipona.clock import micros
from melipona.settings import BudgetSettings

from .base import NAMES, StoreMachine, begin_life
from .bench import CrashError

ZONE = "Europe/Berlin"
HIVE = 2_000_000
OWN = 800_000
MODELS = ("claude-opus-4-5", "claude-haiku-4-5", "a-model-that-nobody-knows")
PRICES = load_prices()


@dataclass(slots=True)
class Call:
    """A call as who made it knows it. `costs` is every cost that it may have; one once it was told."""

    reservation: Reservation
    day: str
    epoch: int
    state: set[str]
    costs: set[int]


class BudgetMachine(StoreMachine):
    """Rules are calls of the gate in parallel, the operator's budgets, time and restarts."""

    def begin(self) -> None:
        at = datetime(2026, 10, 24, 20, tzinfo=UTC)  # the night in which Berlin's day has 25 hours
        self.clock.jump_wall(timedelta(microseconds=micros(at) - self.clock.now()))
        self.calls: dict[int, Call] = {}
        self.doubt = self.releasing = 0
        self.own: dict[str, int] = dict.fromkeys(NAMES, OWN)
        self.most: dict[tuple[str, str], int] = {}
        self.largest: dict[tuple[str, str], int] = {}
        self._live()

    def _live(self) -> None:
        settings = BudgetSettings(hive_usd_per_day=HIVE / 1e6, agent_usd_per_day=OWN / 1e6, turns_per_hour=0)
        self.budgets = Budgets(settings, timezone=ZONE, prices=PRICES)
        self.epoch = int(self.bench.do(begin_life))

    def recover(self) -> None:
        """D-30: what a dead daemon left open is settled by the most that it can have cost."""
        self._live()
        left = self.bench.do(self.budgets.settle_stale, self.epoch)
        open_now = [call for call in self.calls.values() if call.state == {"reserved"}]
        assert left <= len(open_now) + self.doubt, "what was settled is settled again"
        for call in open_now:
            row = self._row(call)
            call.state, call.costs = {row["state"]}, {row["cost"]}
            released = call.reservation.id == self.releasing
            assert row["state"] == "settled" or (released and row["state"] == "released"), (
                "a call of a dead daemon is left open or for nothing (I-8)"
            )
            assert 0 <= row["cost"] <= call.reservation.micro_usd, "more than was set aside"

    def _today(self) -> str:
        return datetime.fromtimestamp(self.clock.now() / 1e6, ZoneInfo(ZONE)).date().isoformat()

    def _row(self, call: Call) -> dict[str, Any]:
        number = call.reservation.id
        state, cost = self.rows(f"SELECT state, cost_micro_usd FROM spend WHERE id = {number}")[0]
        return {"state": state, "cost": cost}

    def _cost(self, call: Call) -> int:
        return int(self._row(call)["cost"])

    # ---- calls ------------------------------------------------------------------------------------------------------

    @rule(
        agent=st.sampled_from(NAMES),
        model=st.sampled_from(MODELS),
        size=st.sampled_from([30, 3000, 90_000]),
        most=st.sampled_from([1, 1000, 8000]),
    )
    def reserves(self, agent: str, model: str, size: int, most: int) -> None:
        """One more call beside those that are under way."""
        identifier, day = self.ids[agent], self._today()
        wanted = PRICES.of(model).most(-(-size // 3), most)
        settled, reserved = self._sums(day)
        mine, set_aside = self._sums(day, agent)
        own = self.own[agent] or OWN
        spent = settled >= HIVE or mine >= own
        fits = self._fits(HIVE, settled, reserved, wanted) and self._fits(own, mine, set_aside, wanted)
        newest, self.doubt = self._newest(), 1
        try:
            got: Reservation = self.write(self.budgets.reserve, identifier, model, size, most, epoch=self.epoch)
        except BudgetSpent as refused:
            until = refused.until
            assert spent, "refused as spent although it is not"
            assert until > self.clock.now(), "a day ended before it began"
            return
        except BudgetBusy:
            assert not spent
            assert not fits, "refused although it fits"
            return
        except CrashError:
            for number, reserved_now, at in self.rows(
                f"SELECT id, reserved_micro_usd, at FROM spend WHERE id > {newest}"
            ):
                made = Reservation(number, identifier, model, reserved_now, 0, most, at, True)
                self.calls[number] = Call(made, day, self.epoch, {"settled"}, {self._cost_of(number)})
                self._note(agent, day, own, wanted)
            return
        finally:
            self.doubt = 0
        assert fits, "let in although it does not fit (I-14)"
        assert not spent, "let in although the money is spent (I-14)"
        assert got.micro_usd == wanted, "another sum was set aside than bytes/3 and max_tokens cost (D-30)"
        self.calls[got.id] = Call(got, day, self.epoch, {"reserved"}, {wanted})
        self._note(agent, day, own, wanted)

    def _note(self, agent: str, day: str, own: int, wanted: int) -> None:
        for who, limit in (("", HIVE), (agent, own)):
            key = (who, day)
            self.most[key] = max(self.most.get(key, 0), limit)
            self.largest[key] = max(self.largest.get(key, 0), wanted)

    @staticmethod
    def _fits(limit: int, settled: int, reserved: int, wanted: int) -> bool:
        """It fits, or it is the only one and goes with what is left."""
        return settled + reserved + wanted <= limit or not reserved

    @rule(data=st.data(), part=st.sampled_from([0.0, 0.3, 1.0]), how=st.sampled_from(["settle", "release", "unknown"]))
    def ends(self, data: st.DataObject, part: float, how: str) -> None:
        """A call ends: with its usage, refused, or broken off."""
        call = self._draw(data, "reserved")
        if call is None:
            return
        got = call.reservation
        usage = Usage(input=int(got.prompt_tokens * part), output=int(got.max_tokens * part))
        true = PRICES.of(got.model).cost(usage)
        wanted = {"settle": "settled", "release": "released", "unknown": "settled"}[how]
        try:
            if how == "settle":
                assert self.write(self.budgets.settle, got, usage, status=200) == true
            elif how == "release":
                self.releasing = got.id
                self.write(self.budgets.release, got, status=529)
            else:
                seen = usage if part else None
                most = self.write(self.budgets.settle_unknown, got, seen, status=200)
                assert most <= got.micro_usd, "a call that broke off costs more than was set aside"
                assert most >= true or seen is None, "a call that broke off is cheaper than what was seen of it"
        except CrashError:
            if call.state == {"reserved"}:
                row = self._row(call)
                call.state, call.costs = {row["state"]}, {row["cost"]}
            assert self._row(call)["state"] != "reserved", "a dead daemon's call is still open (I-8)"
            return
        call.state = {wanted}
        call.costs = {true if how == "settle" else 0 if how == "release" else self._cost(call)}

    @rule(data=st.data(), how=st.sampled_from(["settle", "release", "unknown"]))
    def ends_again(self, data: st.DataObject, how: str) -> None:
        """An end that comes twice, or after a restart has settled it, changes nothing."""
        call = self._draw(data, "settled", "released")
        if call is None:
            return
        before = self._row(call)
        try:
            if how == "settle":
                self.write(self.budgets.settle, call.reservation, Usage(output=9), status=200)
            elif how == "release":
                self.write(self.budgets.release, call.reservation, status=None)
            else:
                self.write(self.budgets.settle_unknown, call.reservation, None, status=None)
        except CrashError:
            pass
        assert self._row(call) == before, "a call was settled twice (I-14)"

    def _draw(self, data: st.DataObject, *states: str) -> Call | None:
        known = [number for number, call in self.calls.items() if call.state <= set(states)]
        return self.calls[data.draw(st.sampled_from(known), label="call")] if known else None

    @rule(agent=st.sampled_from(NAMES), usd=st.sampled_from([0, 400_000, 3_000_000]))
    def operator_sets_a_budget(self, agent: str, usd: int) -> None:
        try:
            self.write(agent_rows.change, self.ids[agent], budget_micro_usd=usd)
        except CrashError:
            usd = int(self.rows(f"SELECT budget_micro_usd FROM agents WHERE name = '{agent}'")[0][0])
        self.own[agent] = usd

    @rule(hours=st.sampled_from([1, 5, 24]))
    def hours_pass(self, hours: int) -> None:
        self.clock.advance(timedelta(hours=hours))

    @rule()
    def restarts(self) -> None:
        self.restart()

    # ---- what must always hold --------------------------------------------------------------------------------------

    def _sums(self, day: str, agent: str | None = None) -> tuple[int, int]:
        """By the ledger."""
        mine = [
            call
            for call in self.calls.values()
            if call.day == day and (agent is None or call.reservation.agent_id == self.ids[agent])
        ]
        settled = sum(max(call.costs) for call in mine if call.state != {"reserved"})
        return settled, sum(max(call.costs) for call in mine if call.state == {"reserved"})

    def _newest(self) -> int:
        return int(self.rows("SELECT coalesce(max(id), 0) FROM spend")[0][0])

    def _cost_of(self, number: int) -> int:
        return int(self.rows(f"SELECT cost_micro_usd FROM spend WHERE id = {number}")[0][0])

    @invariant()
    def sums_are_the_ledger(self) -> None:
        """I-14: what is counted is what calls were told."""
        day = self._today()
        assert self.read(self.budgets.spent_today) == sum(self._sums(day)), "the hive's sum is not the ledger's"
        for agent in NAMES:
            said = self.read(self.budgets.spent_today, self.ids[agent])
            assert said == sum(self._sums(day, agent)), f"{agent}'s sum is not the ledger's"
        assert {row[0] for row in self.rows("SELECT id FROM spend")} == set(self.calls), "calls came or went"

    @invariant()
    def no_limit_is_passed_by_more_than_a_request(self) -> None:
        """I-14, T33."""
        for (who, day), limit in self.most.items():
            total = sum(self._sums(day, who or None))
            assert total <= limit + self.largest[who, day], f"{who or 'the hive'}: {total} of {limit} on {day} (I-14)"

    @invariant()
    def nothing_is_open_without_a_holder(self) -> None:
        """I-8."""
        for number, epoch in self.rows("SELECT id, epoch FROM spend WHERE state = 'reserved'"):
            assert epoch == self.epoch, f"call {number} is open in a daemon that is gone"

    @invariant()
    def an_agent_is_blocked_when_its_money_is_spent_and_only_then(self) -> None:
        day, at = self._today(), self.clock.now()
        for agent in NAMES:
            blocked = self.read(self.budgets.may_run, self.ids[agent])
            spent = self._sums(day)[0] >= HIVE or self._sums(day, agent)[0] >= (self.own[agent] or OWN)
            assert (blocked is not None) == spent, f"{agent} is blocked wrongly"
            if blocked is not None:
                ends = datetime.fromtimestamp(blocked.until / 1e6, ZoneInfo(ZONE))
                assert blocked.until > at
                assert (ends.hour, ends.minute) == (0, 0), "a day ends at midnight"
                assert blocked.until - at <= 25 * 3_600_000_000, "a day has at most 25 hours (I-9)"
