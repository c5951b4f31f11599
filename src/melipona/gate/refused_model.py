"""Refusals of the model route in the shape of the Messages API: an engine understands them and does not try for ever.

`x-should-retry` is what the API's own clients obey.
"""

from __future__ import annotations

from melipona.budgets.model import BudgetBusy, BudgetSpent
from melipona.errors import MeliponaError, UpstreamError
from melipona.gate.exchange import Exchange

NO_RETRY = {"x-should-retry": "false"}
SOON = {"x-should-retry": "true", "retry-after": "2"}


async def error(x: Exchange, status: int, kind: str, message: str, headers: dict[str, str]) -> None:
    """An error as the Messages API words it."""
    await x.json(status, {"type": "error", "error": {"type": kind, "message": message}}, headers=headers)


async def wrong(x: Exchange, asked: MeliponaError, status: int, kind: str) -> None:
    """The request itself is at fault."""
    await error(x, status, kind, str(asked), NO_RETRY)


async def not_on_table(x: Exchange) -> None:
    """No such call for agents."""
    await error(x, 403, "permission_error", "this call of the model API is not open to agents", NO_RETRY)


async def no_key(x: Exchange) -> None:
    """The hive has no key."""
    message = (
        "this hive has no key for the model API; the operator must set ANTHROPIC_API_KEY or models.anthropic.key_file"
    )
    await error(x, 401, "authentication_error", message, NO_RETRY)


async def key_refused(x: Exchange, status: int) -> None:
    """The upstream does not take the hive's key; its own words stay outside."""
    kind = "authentication_error" if status == 401 else "permission_error"
    await error(x, status, kind, "the model API refused the key of this hive; the operator must renew it", NO_RETRY)


async def spent(x: Exchange, budget: BudgetSpent) -> None:
    """No money is left today."""
    await error(x, 402, "billing_error", str(budget), NO_RETRY)


async def busy(x: Exchange, budget: BudgetBusy) -> None:
    """Money is only set aside."""
    await error(x, 429, "rate_limit_error", str(budget), SOON)


async def too_many(x: Exchange, most: int) -> None:
    """Too many calls at once."""
    await error(x, 429, "rate_limit_error", f"at most {most} model calls of an agent run at once", SOON)


async def too_often(x: Exchange, most: int) -> None:
    """The upstream refused too many."""
    text = f"the model API has refused {most} calls of this agent within a minute; wait a minute"
    await error(x, 429, "rate_limit_error", text, {"x-should-retry": "true", "retry-after": "60"})


async def unreachable(x: Exchange, failure: UpstreamError) -> None:
    """The upstream did not answer, or not as it should."""
    if x.started:
        x.cut()
    else:
        await error(x, 502, "api_error", failure.message, {})
