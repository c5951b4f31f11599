"""`/model/anthropic`: model calls by an exact table; the gate adds the key, counts the money, and passes the answer on.

Nothing of a request reaches the upstream but its checked body, the allowed betas and the route's own address. Nothing
of an answer reaches the box but its body, without the key, and the listed headers.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass

from melipona.budgets.model import BudgetBusy, BudgetSpent, Reservation
from melipona.budgets.service import Budgets
from melipona.errors import AskedWrongly, Invalid, UpstreamError
from melipona.finishing import to_the_end
from melipona.gate import refused_model as say
from melipona.gate.exchange import Exchange, Times
from melipona.gate.refusals import UPSTREAM_A_MINUTE, Refusals
from melipona.gate.relay import KEY_REFUSED, Ending, Relay
from melipona.gate.table import Asked, FieldRefused, Route, Table, check
from melipona.gate.upstream import NEVER_REACHED, Upstream
from melipona.gate.watch import while_there
from melipona.settings import GateSettings
from melipona.store.engine import Store

PREFIX = "/model/anthropic"
PROBES = frozenset({"", "/"})
BIG = 100 << 10
"""Longer bodies are parsed in a thread: the loop never computes for long (rule 9)."""

BUSY_WAIT = 30.0
BUSY_LOOK = 0.5


@dataclass(frozen=True, slots=True)
class ModelParts:
    """What the model route works with."""

    store: Store
    upstream: Upstream
    table: Table
    budgets: Budgets
    refusals: Refusals
    settings: GateSettings
    epoch: int


class ModelRoute:
    """The model API as agents see it."""

    def __init__(self, parts: ModelParts) -> None:
        self._p = parts
        self._streams: Counter[str] = Counter()
        self._big = asyncio.Semaphore(1)

    async def __call__(self, x: Exchange) -> None:
        path = x.path.removeprefix(PREFIX)
        if x.method in ("GET", "HEAD") and path in PROBES:
            await x.json(200, {"ok": True})
            return
        route = self._p.table.route(x.method, path)
        if route is None:
            await self._p.refusals.route(x.agent, x.method, x.path)
            await say.not_on_table(x)
        elif not self._p.upstream.has_key:
            await self._p.refusals.no_key(x.agent)
            await say.no_key(x)
        elif self._p.refusals.too_often(x.agent):
            await say.too_often(x, UPSTREAM_A_MINUTE)
        elif self._streams[x.agent.id] >= self._p.settings.streams:
            await say.too_many(x, self._p.settings.streams)
        else:
            await self._counted(x, route)

    async def _counted(self, x: Exchange, route: Route) -> None:
        agent = x.agent.id
        self._streams[agent] += 1
        try:
            await self._checked(x, route)
        finally:
            self._streams[agent] -= 1
            if not self._streams[agent]:
                del self._streams[agent]

    async def _checked(self, x: Exchange, route: Route) -> None:
        try:
            body = await x.body(self._p.settings.model_body_bytes)
            asked = await self._look(route, body)
        except FieldRefused as refused:
            await self._p.refusals.field(x.agent, refused)
            await say.wrong(x, refused, 403, "permission_error")
            return
        except Invalid as error:
            await say.wrong(x, error, 400, "invalid_request_error")
            return
        except AskedWrongly as error:
            await say.wrong(x, error, 413, "request_too_large")
            return
        x.times = Times(0, x.times.total)
        await while_there(x, self._paid(x, route, asked, body))

    async def _look(self, route: Route, body: bytes) -> Asked:
        if len(body) > BIG:
            async with self._big:  # side by side they would take as long, and all their memory at once
                return await asyncio.to_thread(check, self._p.table, route, body)
        return check(self._p.table, route, body)

    async def _paid(self, x: Exchange, route: Route, asked: Asked, body: bytes) -> None:
        try:
            reservation = await self._reserve(x, route, asked, len(body))
        except BudgetSpent as spent:
            await self._p.refusals.spent(x.agent, spent)
            await say.spent(x, spent)
            return
        except BudgetBusy as busy:
            await say.busy(x, busy)
            return
        ending = Ending(self._p.store, self._p.budgets, reservation)
        ending.refused = True
        try:
            if reservation is not None and not reservation.price_known:
                await self._p.refusals.price_unknown(x.agent, asked.model)
            await self._sent(x, route, body, ending)
        finally:
            await ending.settle()

    async def _reserve(self, x: Exchange, route: Route, asked: Asked, size: int) -> Reservation | None:
        if route.name != "messages":
            return None
        reserve, left = self._p.budgets.reserve, BUSY_WAIT
        while True:
            try:
                return await self._known(
                    self._p.store.reserved.write(
                        reserve, x.agent.id, asked.model, size, asked.max_tokens, epoch=self._p.epoch
                    )
                )
            except BudgetBusy:
                if left <= 0:
                    raise
            await asyncio.sleep(BUSY_LOOK)
            left -= BUSY_LOOK

    async def _known(self, reserving: Awaitable[Reservation]) -> Reservation:
        """The reservation. A box that hangs up while it is written leaves none behind: nobody else knows of it."""
        made: list[Reservation] = []

        async def reserve() -> None:
            made.append(await reserving)

        try:
            await to_the_end(reserve())
        except asyncio.CancelledError:
            for reservation in made:
                await to_the_end(self._p.store.reserved.write(self._p.budgets.release, reservation, status=None))
            raise
        return made[0]

    async def _sent(self, x: Exchange, route: Route, body: bytes, ending: Ending) -> None:
        ending.refused = False
        try:
            response = await self._p.upstream.send(route.method, route.path, _query(x), body, self._headers(x))
            try:
                await Relay(x, self._p.table, self._p.upstream.secret, ending).answer(response)
            finally:
                await response.aclose()
        except UpstreamError as error:
            ending.refused = error.code == NEVER_REACHED
            await ending.settle()
            await say.unreachable(x, error)
        finally:
            await ending.settle()
        if ending.status is not None and ending.status >= 400:
            self._p.refusals.by_upstream(x.agent)
        if ending.status in KEY_REFUSED:
            await self._p.refusals.key_refused(x.agent, ending.status)
            await say.key_refused(x, ending.status)
        if ending.key_seen:
            await self._p.refusals.key_seen(x.agent)

    def _headers(self, x: Exchange) -> list[tuple[str, str]]:
        allowed, dropped = self._p.table.allowed_betas(x.headers("anthropic-beta"))
        self._p.refusals.betas(dropped)
        headers = [("anthropic-version", self._p.table.version), ("accept", "application/json")]
        return [*headers, ("anthropic-beta", ",".join(allowed))] if allowed else headers


def _query(x: Exchange) -> str:
    return "beta=true" if b"beta=true" in x.scope["query_string"].split(b"&") else ""
