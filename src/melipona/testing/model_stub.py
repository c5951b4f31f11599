"""A loopback stub of the Messages API: exact, scripted, hostile on request, and deaf to any key but the real one.

    async with model_stub(key="sk-real") as stub:      # stub.url, stub.requests, await stub.seen(3)
    python -m melipona.testing.model_stub --port 0 --key sk-real --log requests.jsonl

What it answers is scripted by the prompt: see `model_script`. Every request is logged without its key. All waiting
ends when the stub closes, and none lasts longer than two minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import anyio.to_thread

from melipona.clock import SystemClock
from melipona.testing.model_script import Json
from melipona.testing.model_stub_http import StubHandler


class ModelStub:
    """A running stub. `requests` are the logged requests, oldest first; `hostile` makes every answer leak the key."""

    def __init__(
        self,
        *,
        key: str,
        port: int = 0,
        log: Path | None = None,
        hostile: str | None = None,
        handler: type[StubHandler] | None = None,
    ) -> None:
        self.key = key
        self.hostile = hostile
        self.requests: list[Json] = []
        self.ends: list[Json] = []
        self.spent: dict[str, int] = {}
        self.stopping = threading.Event()
        self._changed = threading.Condition()
        self._log = log.open("a") if log else None
        self._clock = SystemClock()
        bound = cast("type[StubHandler]", type("Handler", (handler or StubHandler,), {"stub": self}))
        self._server = _Server(("127.0.0.1", port), bound)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True, name="model-stub")
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Base URL, to be used as `ANTHROPIC_BASE_URL`."""
        return f"http://127.0.0.1:{self.port}"

    async def seen(self, count: int, within: float = 30.0) -> Json:
        """Wait until `count` requests for a message were accepted; the last of them.

        Raises:
            TimeoutError: they did not come in `within` seconds.
        """
        return await self.wait(lambda: self.messages[count - 1] if len(self.messages) >= count else None, within)

    async def wait(self, look: Callable[[], Any], within: float = 30.0) -> Any:
        """Wait until `look`, tried after every logged line, returns something true; that."""

        def waiting() -> Any:
            with self._changed:
                return self._changed.wait_for(lambda: look() or self.stopping.is_set(), within) and look()

        found = await anyio.to_thread.run_sync(waiting, abandon_on_cancel=True)
        if not found:
            raise TimeoutError(f"the model stub waited in vain; it saw {len(self.requests)} requests")
        return found

    @property
    def messages(self) -> list[Json]:
        """The accepted requests for a message (not refused ones, not token counts)."""
        return [r for r in self.requests if r["path"].split("?")[0].endswith("/v1/messages") and not r["refused"]]

    def record(self, line: Json) -> int:
        """Log one line: a request, or with `end` how the answer to request `n` ended. The request's number."""
        with self._changed:
            number = int(line.get("n") or len(self.requests) + 1)
            line = {"n": number, "at": self._clock.now(), **line}
            (self.ends if "end" in line else self.requests).append(line)
            if self._log:
                self._log.write(json.dumps(line) + "\n")
                self._log.flush()
            self._changed.notify_all()
        return number

    def close(self) -> None:
        """Stop serving; every handler that waits goes on at once."""
        self.stopping.set()
        with self._changed:
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
        if self._log:
            self._log.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


@asynccontextmanager
async def model_stub(
    *, key: str = "sk-ant-real-stub-key", port: int = 0, log: Path | None = None, hostile: str | None = None
) -> AsyncGenerator[ModelStub]:
    """A stub for as long as the context lasts."""
    stub = ModelStub(key=key, port=port, log=log, hostile=hostile)
    try:
        yield stub
    finally:
        await anyio.to_thread.run_sync(stub.close)


def main() -> None:
    """Serve until a signal ends the process; print one line with the base URL first."""
    parser = argparse.ArgumentParser(
        prog="python -m melipona.testing.model_stub", description="stub of the Messages API"
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", required=True, help="the only key that it accepts")
    parser.add_argument("--log", type=Path, help="JSON lines, one a request")
    parser.add_argument("--hostile", choices=("body", "header", "redirect", "401"), help="leak the key in every answer")
    options = parser.parse_args()
    stub = ModelStub(key=options.key, port=options.port, log=options.log, hostile=options.hostile)
    print(f"model stub at {stub.url}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
