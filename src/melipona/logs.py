"""The daemon's log: one JSON object a line, values bounded and escaped, so that nothing an agent writes can forge a
line (T36). Secrets are never handed to it; what looks like a model key is masked all the same (T37)."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from melipona.text import visible

VALUE_BYTES = 2048
_KEY = re.compile(r"sk-ant-[A-Za-z0-9_-]{8,}")


def configure(*, readable: bool) -> None:
    """Log to stderr: `readable` for a person at a terminal, else JSON lines."""
    last: Any = structlog.dev.ConsoleRenderer(colors=False) if readable else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _bounded,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(_Unfailing(sys.stderr)),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_ToStructlog()])


class _Unfailing:
    """A stream whose failures end nothing: the log may lie on the disk that is full (I-17)."""

    def __init__(self, stream: TextIO) -> None:
        self._fd = stream.fileno() if _has_fd(stream) else None
        self._stream = stream

    def write(self, text: str) -> None:
        """Write at once and past Python's buffer, which would fail again at each later write."""
        try:
            if self._fd is None:
                self._stream.write(text)
            else:
                os.write(self._fd, text.encode(errors="backslashreplace"))
        except OSError:
            return

    def flush(self) -> None:
        """Nothing is held back."""


def _has_fd(stream: TextIO) -> bool:
    try:
        return stream.fileno() >= 0
    except (OSError, ValueError):
        return False


def _bounded(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Every text masked, on one line and at most 2 KiB."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = visible(_KEY.sub("sk-ant-…", value)[:VALUE_BYTES].replace("\n", "⏎"), lines=False)
    return event


class _ToStructlog(logging.Handler):
    """What libraries log by the standard library ends in the same lines."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger(record.name)
        logger.log(record.levelno, record.getMessage(), exc_info=record.exc_info or None)
