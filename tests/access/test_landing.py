"""Where a browser goes once it is logged in (T39)."""

from __future__ import annotations

import pytest

from melipona.access.landing import landing

pytestmark = pytest.mark.threat("T39")


@pytest.mark.parametrize(
    "page", ["/", "/messages", "/agents/ana", "/messages?state=parked&q=a%20b", "/agents/ana?tab=turns&turn=12"]
)
def test_a_page_of_ours_is_opened_with_what_it_showed(page: str) -> None:
    """DESIGN: the address is the state, also after a login."""
    assert landing(page) == page


@pytest.mark.parametrize(
    ("wanted", "opened"),
    [
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/", "/"),
        ("/messages/../x", "/"),
        ("/agents/Ana", "/"),
        ("/api/v1/state?x=1", "/"),
        ("?x=1", "/"),
        ("/messages?q=<script>", "/messages"),
        ("/messages?q=a\r\nSet-Cookie: x", "/messages"),
        ("/messages?q=//evil.example", "/messages"),
        ("/messages?q=a#b", "/messages"),
        ("/messages?", "/messages"),
    ],
)
def test_nothing_else_is_opened(wanted: str, opened: str) -> None:
    assert landing(wanted) == opened
