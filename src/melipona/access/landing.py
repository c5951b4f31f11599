"""Where a browser goes once it is logged in: a page of ours, by its name, and nothing else (T39)."""

from __future__ import annotations

import re

PAGES = frozenset({"/", "/messages", "/costs", "/audit", "/health", "/settings"})
AGENT = re.compile(r"/agents/[a-z]([a-z0-9-]{0,30}[a-z0-9])?")


def landing(wanted: str) -> str:
    """`wanted` if it is one of our pages, else the first."""
    return wanted if wanted in PAGES or AGENT.fullmatch(wanted) else "/"
