"""The one place that starts programs on the host: argument lists, explicit environment, bounded output and waits.

Boxes are started by their driver, which has needs of its own (descriptors, a launcher); everything else comes here.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from melipona.errors import WorldFailed
from melipona.faults import fault

OUTPUT_LIMIT = 4 << 20
GRACE = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that ended. A non-zero `code` is a result, not an exception; negative means a signal."""

    code: int
    stdout: bytes
    stderr: bytes
    cut: bool = False

    @property
    def text(self) -> str:
        """Standard output as text, bytes that are no UTF-8 replaced."""
        return self.stdout.decode(errors="replace")


def plain_environment(**extra: str) -> dict[str, str]:
    """A small environment that carries nothing of the daemon's own."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent", **extra}


async def run(
    argv: Sequence[str | Path],
    *,
    timeout: timedelta,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes = b"",
    output_limit: int = OUTPUT_LIMIT,
) -> Completed:
    """Run a program to its end in a process group of its own.

    Past `timeout` its group is asked (TERM), then killed, and reaped.

    Raises:
        WorldFailed: it cannot be started, or did not end in time.
    """
    name = Path(argv[0]).name
    await fault("process.run.before_start")
    try:
        process = await asyncio.create_subprocess_exec(
            *map(str, argv),
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(plain_environment() if env is None else env),
            cwd=cwd,
            start_new_session=True,
        )
    except OSError as error:
        raise WorldFailed(f"{name} cannot be started: {error.strerror or error}", code="cannot_start") from error
    try:
        await fault("process.run.after_start")
        async with asyncio.timeout(timeout.total_seconds()):
            out, err, _ = await asyncio.gather(
                _drain(process.stdout, output_limit), _drain(process.stderr, output_limit), _feed(process, stdin)
            )
            code = await process.wait()
    except TimeoutError as error:
        raise WorldFailed(f"{name} did not end within {timeout.total_seconds():g} s", code="timed_out") from error
    finally:
        if process.returncode is None:
            await _end(process)
    await fault("process.run.after_end")
    return Completed(code, out[0], err[0], cut=out[1] or err[1])


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    if process.stdin is None:
        return
    try:
        process.stdin.write(data)
        await process.stdin.drain()
        process.stdin.close()
    except (BrokenPipeError, ConnectionResetError):
        pass  # it ended without reading everything: its exit code tells


async def _drain(stream: asyncio.StreamReader | None, limit: int) -> tuple[bytes, bool]:
    """Everything up to `limit`; the rest is read and dropped so that the program can end."""
    assert stream is not None
    kept, cut = bytearray(), False
    while data := await stream.read(1 << 16):
        cut = cut or len(kept) + len(data) > limit
        kept += data[: limit - len(kept)]
    return bytes(kept), cut


async def _end(process: asyncio.subprocess.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        try:
            async with asyncio.timeout(GRACE.total_seconds()):
                await process.wait()
                return
        except TimeoutError:
            continue
