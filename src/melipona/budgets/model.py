"""Records and pure decisions about money: usage, reservations, days, and whether a call may be made.

Money is integers of micro-USD. A day is the operator's local day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from enum import Enum, auto
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from melipona.clock import Micros
from melipona.errors import Invalid, LimitReached
from melipona.ids import AgentId

FASTEST_TOKENS_A_SECOND = 500
"""No model writes faster: bounds what a call whose usage never came can have cost."""

BYTES_A_TOKEN = 3
"""A request has at most its bytes by this many prompt tokens (D-30)."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one model call, as the upstream counts them. `input` is what came from no cache."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0

    @property
    def cache_write(self) -> int:
        return self.cache_write_5m + self.cache_write_1h

    @property
    def prompt(self) -> int:
        """Tokens of the whole prompt."""
        return self.input + self.cache_read + self.cache_write


@dataclass(frozen=True, slots=True)
class Reservation:
    """Money set aside for a call that is under way."""

    id: int
    agent_id: AgentId
    model: str
    micro_usd: int
    prompt_tokens: int
    max_tokens: int
    at: Micros
    price_known: bool


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why an agent may not start a turn now. `until` is when that ends by itself."""

    reason: Literal["budget_spent", "turns_per_hour"]
    detail: str
    until: Micros


class BudgetSpent(LimitReached):
    """The money of the day is spent; `until` is the day's end."""

    code = "budget_spent"

    def __init__(self, scope: Literal["hive", "agent"], spent: int, limit: int, until: Micros) -> None:
        whose = "the hive's" if scope == "hive" else "this agent's"
        super().__init__(
            f"{whose} budget of the day is spent: {usd(spent)} of {usd(limit)}",
            remedy="it goes on the next day, or when the operator sets another budget",
        )
        self.scope, self.spent, self.limit, self.until = scope, spent, limit, until


class BudgetBusy(LimitReached):
    """What is left of the day's money is set aside for calls that are under way; try again when one has ended."""

    code = "budget_busy"

    def __init__(self) -> None:
        super().__init__(
            "what is left of the budget is set aside for calls that are under way", remedy="try again in some seconds"
        )


class Verdict(Enum):
    """What a limit says to a call."""

    YES = auto()
    BUSY = auto()
    SPENT = auto()


def verdict(limit: int, settled: int, reserved: int, wanted: int) -> Verdict:
    """May a call that can cost `wanted` be made? 0 as `limit` means no limit.

    A call is let in when it fits beside what is spent and set aside, so that parallel calls cannot pass the limit. The
    only call under way is also let in when less is left than it could cost at worst: else the last part of a budget,
    or a small one, could never be used. So the limit is passed by less than one call.
    """
    if limit <= 0:
        return Verdict.YES
    if settled >= limit:
        return Verdict.SPENT
    if settled + reserved + wanted <= limit:
        return Verdict.YES
    return Verdict.BUSY if reserved else Verdict.YES


def zone(name: str) -> tzinfo | None:
    """The time zone of that IANA name; None, the machine's own, for the empty one.

    Raises:
        Invalid: there is no such zone.
    """
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Invalid(
            f"{name!r} is not a time zone", remedy="set hive.timezone to a name like Europe/Berlin, or leave it empty"
        ) from error


def day_of(at: int, place: tzinfo | None) -> date:
    """The local day of a moment."""
    return datetime.fromtimestamp(at / 1_000_000, place).date()


def end_of_day(at: int, place: tzinfo | None) -> Micros:
    """When the local day of a moment ends."""
    midnight = datetime.combine(day_of(at, place) + timedelta(days=1), time(), place)
    first = Micros(int(midnight.timestamp() * 1_000_000))
    # Where clocks are set back over midnight it strikes twice: in the second evening only the second one is to come.
    return first if first > at else Micros(int(midnight.replace(fold=1).timestamp() * 1_000_000))


def usd(micro: int) -> str:
    """Micro-USD for a person: `1.25 USD`."""
    return f"{micro / 1_000_000:.2f} USD"


def micro(amount_usd: float) -> int:
    """USD in micro-USD."""
    return round(amount_usd * 1_000_000)
