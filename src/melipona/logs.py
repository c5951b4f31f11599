"""The daemon's log: one JSON object a line, values bounded and escaped, so that nothing an agent writes can forge a
line (T36). Secrets are never handed to it; what looks like a model key is masked all the same (T37)."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

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
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_ToStructlog()])


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
