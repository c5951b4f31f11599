"""Passes one answer of the model API on to a box: usage read, key taken out, headers by list, no redirect (T14)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection

from melipona.budgets.model import Reservation, Usage
from melipona.budgets.service import Budgets
from melipona.errors import UpstreamError
from melipona.faults import fault
from melipona.finishing import to_the_end
from melipona.gate.exchange import Exchange
from melipona.gate.scan import KeyScanner
from melipona.gate.table import Table
from melipona.gate.upstream import returned
from melipona.gate.usage import StreamUsage, body_usage
from melipona.store.engine import Store

if TYPE_CHECKING:
    import httpx2

KEY_REFUSED = (401, 403)
WHOLE_MOST = 64 << 20
ERROR_MOST = 1 << 20


class Ending:
    """How a call ended, filled in on the way, and the money that is settled by it."""

    def __init__(self, store: Store, budgets: Budgets, reservation: Reservation | None) -> None:
        self._store, self._budgets, self._reservation = store, budgets, reservation
        self.status: int | None = None
        self.usage: Usage | None = None
        self.complete = False
        self.refused = False
        self.key_seen = False

    async def settle(self) -> None:
        """Settle the reservation by what is known now, once. A failure leaves it to be settled by the next call.

        That comes before the answer's end goes to the box: a turn that ends with it finds its true cost.
        """
        if self._reservation is not None:
            await fault("gate.settlement.before_write")
            await to_the_end(self._write())
            await fault("gate.settlement.after_write")

    async def _write(self) -> None:
        assert self._reservation is not None
        await self._store.reserved.write(self._settle, self._budgets, self._reservation)
        self._reservation = None

    def _settle(self, c: Connection, budgets: Budgets, reservation: Reservation) -> None:
        if self.refused or (self.status is not None and self.status >= 300):
            budgets.release(c, reservation, status=self.status)
        elif self.complete and self.usage is not None:
            budgets.settle(c, reservation, self.usage, status=self.status or 0)
        else:
            budgets.settle_unknown(c, reservation, self.usage, status=self.status)


class Relay:
    """One answer on its way."""

    def __init__(self, x: Exchange, table: Table, secret: bytes, ending: Ending) -> None:
        self._x, self._table, self._ending = x, table, ending
        self._scanner = KeyScanner(secret)
        self._secret = secret.decode()

    async def answer(self, response: httpx2.Response) -> None:
        """Pass `response` on, but for a refusal of the key, whose words stay outside.

        Raises:
            UpstreamError: it broke off, or is no answer of a model API.
        """
        import httpx2

        status = self._ending.status = response.status_code
        try:
            if 300 <= status < 400:
                raise UpstreamError("the model API answered with a redirect, which is never followed")
            if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
                raise UpstreamError(
                    "the model API packed its answer, which was not asked for and is not unpacked (T24)"
                )
            if status in KEY_REFUSED:
                return
            if status >= 400:
                await self._whole(response, ERROR_MOST)
            elif response.headers.get("content-type", "").startswith("text/event-stream"):
                await self._stream(response)
            else:
                await self._whole(response, WHOLE_MOST)
        except httpx2.HTTPError as error:
            raise UpstreamError(f"the model API broke off: {type(error).__name__}") from error
        finally:
            self._ending.key_seen = self._ending.key_seen or self._scanner.found > 0

    async def _whole(self, response: httpx2.Response, limit: int) -> None:
        read = bytearray()
        await fault("gate.upstream.before_read")
        async for data in response.aiter_bytes():
            await fault("gate.upstream.after_read")
            read += data
            if len(read) > limit:
                raise UpstreamError(f"the model API's answer is longer than {limit} bytes")
        self._ending.usage = body_usage(read)
        self._ending.complete = self._ending.usage is not None
        await self._ending.settle()
        body = self._scanner.feed(bytes(read)) + self._scanner.end()
        headers = self._headers(response)
        await self._x.answer(response.status_code, body, headers.pop("content-type", "application/json"), headers)

    async def _stream(self, response: httpx2.Response) -> None:
        usage = StreamUsage()
        headers = self._headers(response)
        await self._x.start(response.status_code, headers.items())
        try:
            await fault("gate.stream.before_read")
            async for data in response.aiter_bytes():
                await fault("gate.stream.after_read")
                usage.feed(data)
                if usage.stopped:
                    self._ending.usage, self._ending.complete = usage.usage, usage.final
                    await self._ending.settle()
                out = self._scanner.feed(data)
                if out:
                    await self._x.write(out)
        finally:
            self._ending.usage, self._ending.complete = usage.usage, usage.final
        await self._ending.settle()
        if not usage.stopped:
            raise UpstreamError("the model API ended a stream before its end")
        await self._x.write(self._scanner.end(), more=False)

    def _headers(self, response: httpx2.Response) -> dict[str, str]:
        found = {name: value for name, value in returned(response.headers) if self._table.may_return(name)}
        clean = {name: value for name, value in found.items() if not self._secret or self._secret not in value}
        self._ending.key_seen = self._ending.key_seen or len(clean) < len(found)
        return clean
