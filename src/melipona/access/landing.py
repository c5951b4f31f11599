"""Where a browser goes once it is logged in: a page of ours, by its name, and nothing else (T39)."""

from __future__ import annotations

import re

PAGES = frozenset({"/", "/messages", "/costs", "/audit", "/health", "/settings"})
AGENT = re.compile(r"/agents/[a-z]([a-z0-9-]{0,30}[a-z0-9])?")
QUERY = re.compile(r"[A-Za-z0-9_.~=&%+-]*")
"""What a page shows is in its query: letters that lead nowhere else."""


def landing(wanted: str) -> str:
    """`wanted` if it is one of our pages, with what it is to show; else the first page."""
    page, _, query = wanted.partition("?")
    if page not in PAGES and not AGENT.fullmatch(page):
        return "/"
    return wanted if query and QUERY.fullmatch(query) else page
