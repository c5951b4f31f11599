"""What every test may use."""

from __future__ import annotations

import signal

import pytest


def pytest_configure() -> None:
    """Hear Ctrl-C, and let what is started hear it, also where a shell that runs us in the background ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The daemon runs on asyncio."""
    return "asyncio"
