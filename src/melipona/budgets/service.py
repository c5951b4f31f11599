"""Budgets: whether an agent may run, and the money of each model call, set aside before and settled after (D-30).

Methods that take a connection are operations. Only what the upstream reports is counted; what an engine in a box claims
never comes here (T33).
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection

from melipona.budgets import store as rows
from melipona.budgets.model import (
    BYTES_A_TOKEN,
    FASTEST_TOKENS_A_SECOND,
    Blocked,
    BudgetBusy,
    BudgetSpent,
    Reservation,
    Usage,
    Verdict,
    day_of,
    end_of_day,
    micro,
    verdict,
    zone,
)
from melipona.budgets.prices import Prices, load_prices
from melipona.clock import Micros, later
from melipona.ids import AgentId
from melipona.settings import BudgetSettings
from melipona.store import events
from melipona.store.engine import now

HOUR = timedelta(hours=1)


class Budgets:
    """The limits of one hive. `timezone` is an IANA name, empty for the machine's own."""

    def __init__(self, settings: BudgetSettings, *, timezone: str = "", prices: Prices | None = None) -> None:
        self.settings = settings
        self.prices = prices or load_prices()
        self._zone = zone(timezone)
        self._hive_limit = micro(settings.hive_usd_per_day)
        self._agent_limit = micro(settings.agent_usd_per_day)

    def today(self, at: int) -> str:
        """The operator's local day of a moment, as rows hold it: 2026-11-21."""
        return day_of(at, self._zone).isoformat()

    def day_ends(self, at: int) -> Micros:
        """When that day ends."""
        return end_of_day(at, self._zone)

    # ---- before a turn --------------------------------------------------------------------------------------------

    def may_run(self, c: Connection, agent_id: AgentId) -> Blocked | None:
        """Why the agent may not start a turn now, or None."""
        own, per_hour = rows.limits(c, agent_id)
        try:
            self._check(c, agent_id, own, wanted=0)
        except BudgetSpent as spent:
            return Blocked("budget_spent", spent.message, spent.until)
        except BudgetBusy:
            return None
        limit = self.settings.turns_per_hour if per_hour < 0 else per_hour
        began = rows.nth_newest_start(c, agent_id, limit) if limit else None
        if began is None or not began <= now(c) < later(began, HOUR):  # a start in the future: the clock went back
            return None
        return Blocked("turns_per_hour", f"it has had its {limit} turns of an hour", later(began, HOUR))

    # ---- around a model call --------------------------------------------------------------------------------------

    def reserve(
        self, c: Connection, agent_id: AgentId, model: str, request_bytes: int, max_tokens: int, *, epoch: int
    ) -> Reservation:
        """Set aside the most that a call can cost.

        Raises:
            BudgetSpent: the day's money is spent; pass it to `record_spent` in a transaction of its own.
            BudgetBusy: calls under way hold what is left; try again when one has ended.
        """
        price = self.prices.of(model)
        prompt = -(-request_bytes // BYTES_A_TOKEN)
        most = price.most(prompt, max_tokens)
        self._check(c, agent_id, rows.limits(c, agent_id)[0], wanted=most)
        draft = Reservation(0, agent_id, model, most, prompt, max_tokens, now(c), price.known)
        number = rows.add(c, draft, day=self.today(now(c)), epoch=epoch)
        return Reservation(number, agent_id, model, most, prompt, max_tokens, draft.at, price.known)

    def settle(self, c: Connection, reservation: Reservation, usage: Usage, *, status: int) -> int:
        """Replace what was set aside by what the upstream's usage costs; that, in micro-USD."""
        cost = self.prices.of(reservation.model).cost(usage)
        rows.close(c, reservation.id, "settled", cost, usage, estimated=False, status=status)
        return cost

    def release(self, c: Connection, reservation: Reservation, *, status: int | None) -> None:
        """Give back what was set aside for a call that the upstream refused, or that never reached it."""
        rows.close(c, reservation.id, "released", 0, Usage(), estimated=False, status=status)

    def settle_unknown(self, c: Connection, reservation: Reservation, seen: Usage | None, *, status: int | None) -> int:
        """Settle a call whose usage never came in full: by the most that it can have cost. `seen` is what did come."""
        most = self._most(reservation, seen, now(c))
        usage = seen or Usage(input=reservation.prompt_tokens)
        rows.close(c, reservation.id, "settled", most, usage, estimated=True, status=status)
        return most

    def settle_stale(self, c: Connection, epoch: int) -> int:
        """Settle what daemons before `epoch` left open, by the most that it can have cost; how many there were."""
        left = rows.open_before(c, epoch)
        for row in left:
            price = self.prices.of(row["model"])
            reserved, prompt = int(row["reserved_micro_usd"]), int(row["input_tokens"])
            most = reserved
            if now(c) >= row["at"]:
                most = min(reserved, price.most(prompt, _written_since(row["at"], now(c))))
            rows.close(c, row["id"], "settled", most, Usage(input=prompt), estimated=True, status=None)
        return len(left)

    def record_spent(self, c: Connection, agent: str, spent: BudgetSpent) -> bool:
        """Record the event `budget.spent`, once a day and agent; whether it was recorded now."""
        told = rows.newest_event(c, "budget.spent", agent)
        if told is not None and self.today(told) == self.today(now(c)):
            return False
        data = {"scope": spent.scope, "spent_micro_usd": spent.spent, "limit_micro_usd": spent.limit}
        events.record(c, "budget.spent", agent=agent, data={**data, "until": spent.until})
        return True

    def spent_today(self, c: Connection, agent_id: AgentId | None = None) -> int:
        """Micro-USD of today, of one agent or of all, what is set aside included."""
        return rows.sums(c, self.today(now(c)), agent_id).total

    def left(self, c: Connection, agent_id: AgentId) -> int | None:
        """Micro-USD that the agent may still spend today, by its own limit and the hive's; None: neither has one."""
        own = rows.limits(c, agent_id)[0] or self._agent_limit
        limits = ((own, agent_id), (self._hive_limit, None))
        return min((max(0, limit - self.spent_today(c, whose)) for limit, whose in limits if limit), default=None)

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _check(self, c: Connection, agent_id: AgentId, own_limit: int, *, wanted: int) -> None:
        at = now(c)
        day = self.today(at)
        busy = False
        agent_limit = own_limit or self._agent_limit
        for scope, limit, whose in (("hive", self._hive_limit, None), ("agent", agent_limit, agent_id)):
            if not limit:
                continue
            so_far = rows.sums(c, day, whose)
            said = verdict(limit, so_far.settled, so_far.reserved, wanted)
            if said is Verdict.SPENT:
                raise BudgetSpent(
                    "hive" if scope == "hive" else "agent", so_far.settled, limit, end_of_day(at, self._zone)
                )
            busy = busy or said is Verdict.BUSY
        if busy:
            raise BudgetBusy

    def _most(self, reservation: Reservation, seen: Usage | None, at: int) -> int:
        price = self.prices.of(reservation.model)
        if at < reservation.at:
            return reservation.micro_usd
        output = min(reservation.max_tokens, _written_since(reservation.at, at))
        if seen is None:
            return min(reservation.micro_usd, price.most(reservation.prompt_tokens, output))
        whole = Usage(seen.input, max(output, seen.output), seen.cache_read, seen.cache_write_5m, seen.cache_write_1h)
        return price.cost(whole)


def _written_since(began: int, at: int) -> int:
    """The most tokens that a model can have written meanwhile."""
    return FASTEST_TOKENS_A_SECOND * (1 + (at - began) // 1_000_000)
