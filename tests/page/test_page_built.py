"""What was built: small at first, nothing inline, and files that may be kept."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

FIRST_LOAD = 250_000
"""Bytes, compressed: what a browser loads before it shows the roster."""


def test_the_first_load_is_small(built: Path) -> None:
    """The bundle's budget: the page, its style and every script that the first view needs."""
    page = (built / "index.html").read_text()
    names = set(re.findall(r"/assets/([\w.-]+\.(?:js|css))", page))
    assert names
    sizes = {name: len(gzip.compress((built / "assets" / name).read_bytes())) for name in names}
    assert sum(sizes.values()) + len(gzip.compress(page.encode())) <= FIRST_LOAD, sizes


def test_nothing_is_inline(built: Path) -> None:
    """The policy would refuse it (T25)."""
    page = (built / "index.html").read_text()
    assert re.findall(r"<style|style=|\son\w+=|<script(?![^>]*\ssrc=)", page) == []


def test_the_heavy_parts_come_when_they_are_needed(built: Path) -> None:
    """Markdown, diffs, charts and the palette are chunks of their own."""
    page = (built / "index.html").read_text()
    for name in ("markdown-rendered", "diff", "chart", "palette"):
        assert list((built / "assets").glob(f"{name}-*.js")), name
        assert not re.search(rf"/assets/{name}-", page)


def test_compressed_files_hold_the_plain_ones(built: Path) -> None:
    """The daemon sends either."""
    for packed in (built / "assets").glob("*.gz"):
        assert gzip.decompress(packed.read_bytes()) == packed.with_suffix("").read_bytes()
