"""Other programs doing the same, measured with `--peers` where they are installed: each in a process of its own.

`python -m bench.peers PATH` serves events by sse-starlette at a unix socket: `GET /events` follows, `POST /emit/N`
makes so many.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

SSE_STARLETTE = "sse-starlette"
DATA = "x" * 300


def has_sse_starlette() -> bool:
    """Whether it is installed here."""
    return importlib.util.find_spec("sse_starlette") is not None


def sse_starlette_app() -> Starlette:
    """A queue a client, an object an event, as its documentation shows."""
    from sse_starlette import EventSourceResponse, ServerSentEvent

    queues: set[asyncio.Queue[int]] = set()

    async def events(_: Request) -> Response:
        queue: asyncio.Queue[int] = asyncio.Queue()
        queues.add(queue)

        async def follow() -> AsyncGenerator[Any]:
            try:
                yield ServerSentEvent(comment="hello", sep="\n")
                while True:
                    yield ServerSentEvent(DATA, id=str(await queue.get()), sep="\n")
            finally:
                queues.discard(queue)

        return EventSourceResponse(follow())

    async def emit(request: Request) -> Response:
        for number in range(int(request.path_params["count"])):
            for queue in queues:
                queue.put_nowait(number)
        return Response()

    return Starlette(routes=[Route("/events", events), Route("/emit/{count}", emit, methods=["POST"])])


def main(path: Path) -> None:
    """Serve until killed."""
    uvicorn.run(sse_starlette_app(), uds=str(path), http="httptools", log_level="error", access_log=False, ws="none")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
