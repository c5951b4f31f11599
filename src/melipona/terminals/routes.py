"""Terminals over HTTP: open, type, resize, close. What they show streams from `api/terminal_stream.py`."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Protocol

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from melipona.errors import Invalid
from melipona.ids import agent_name
from melipona.terminals.service import Terminal
from melipona.views.request import Asker, room_router

Side = Annotated[int, Field(ge=1, le=1000)]


class TerminalService(Protocol):
    """What the routes need of `Terminals`."""

    async def open(self, by: Any, name: str, rows: int, columns: int) -> Terminal:
        """A new terminal."""
        ...

    def get(self, identifier: str) -> Terminal:
        """An open terminal."""
        ...

    async def type(self, identifier: str, data: bytes) -> None:
        """Input."""
        ...

    async def resize(self, identifier: str, rows: int, columns: int) -> None:
        """Another size."""
        ...

    def close(self, identifier: str) -> None:
        """The end."""
        ...


class Size(BaseModel):
    """A window's size in characters."""

    model_config = ConfigDict(extra="forbid")

    rows: Side = 24
    columns: Side = 80


class Typed(BaseModel):
    """What was typed."""

    model_config = ConfigDict(extra="forbid")

    data: str = Field(max_length=100_000, description="Base64, at most 64 KiB of bytes.")


class TerminalView(TypedDict):
    """A terminal that was opened."""

    id: str
    agent: str


def terminal_routes(terminals: TerminalService) -> APIRouter:
    """Routes below `/api/v1`."""
    router = room_router("terminals")

    @router.post("/agents/{name}/terminals", status_code=201, response_model=TerminalView)
    async def begin(name: str, size: Size, by: Asker) -> Any:
        """Open a shell in the agent's box. The agent begins no turn until it is closed."""
        made = await terminals.open(by, agent_name(name), size.rows, size.columns)
        return {"id": made.id, "agent": made.agent}

    @router.post("/terminals/{terminal}/input", status_code=204)
    async def type_(terminal: str, typed: Typed, by: Asker) -> None:
        """Type. Wait for the answer before the next piece: that keeps the order."""
        del by
        try:
            data = base64.b64decode(typed.data, validate=True)
        except binascii.Error as error:
            raise Invalid("that is no base64", code="not_base64") from error
        await terminals.type(terminal, data)

    @router.post("/terminals/{terminal}/size", status_code=204)
    async def size(terminal: str, size: Size, by: Asker) -> None:
        """Say what size the window has now."""
        del by
        await terminals.resize(terminal, size.rows, size.columns)

    @router.delete("/terminals/{terminal}", status_code=204)
    async def end(terminal: str, by: Asker) -> None:
        """End the shell and what runs on it."""
        del by
        terminals.close(terminal)

    del begin, type_, size, end
    return router
