"""Who may show the page in a frame: nobody, but for an agent's page the origins that `mel.toml` names (ASK-9, T25)."""

from __future__ import annotations

from pathlib import Path

import pytest
from api_browser import Browser
from operator_routes import ROUTES, path_of
from pydantic import ValidationError

from melipona.settings import HiveSettings, Settings
from melipona.testing.served import served

NEIGHBOUR = "http://localhost:3000"


def test_only_an_agents_page_may_be_embedded_and_only_by_the_origins_that_are_named(tmp_path: Path) -> None:
    settings = Settings(hive=HiveSettings(embed_origins=(NEIGHBOUR, "https://portal.example.org")))
    with served(tmp_path / "hive", settings=settings) as hive:
        browser = Browser(hive)
        browser.login()
        headers = browser.ask("GET", "/agents/ana").headers
        policy = headers["content-security-policy"]
        assert f"frame-ancestors {NEIGHBOUR} https://portal.example.org;" in policy
        assert "'none'" not in policy.partition("frame-ancestors")[2].partition(";")[0]
        assert "x-frame-options" not in headers
        for method, route in ROUTES:
            if method == "GET" and route != "/agents/{name}":
                headers = browser.ask("GET", path_of(route)).headers
                assert "frame-ancestors 'none'" in headers["content-security-policy"], route
                assert headers["x-frame-options"] == "DENY", route


def test_a_page_in_a_frame_of_a_neighbour_is_served_and_its_requests_are_the_hives_own(tmp_path: Path) -> None:
    """What a browser sends for a frame: a navigation from a page of the same site. Acting from there stays refused."""
    with served(tmp_path / "hive", settings=Settings(hive=HiveSettings(embed_origins=(NEIGHBOUR,)))) as hive:
        browser = Browser(hive)
        browser.login()
        framed = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
        assert browser.ask("GET", "/agents/ana?embed=1", headers=framed).status == 200
        acted = browser.ask("POST", "/api/v1/agents/ana/pause", b"{}", headers={"Origin": NEIGHBOUR})
        assert acted.status == 403


@pytest.mark.parametrize("origin", ["*", "https://*.example.org", "http://a/b", "http://a;x", "null", "http://a b", ""])
def test_what_is_no_origin_is_refused_in_mel_toml(origin: str) -> None:
    with pytest.raises(ValidationError):
        HiveSettings(embed_origins=(origin,))
