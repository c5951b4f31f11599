"""A served hive, and browsers that look at it."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from api_browser import Browser

from melipona.testing.oidc_provider import OidcProvider
from melipona.testing.served import ServedHive, served


@pytest.fixture
def hive(tmp_path: Path) -> Generator[ServedHive]:
    """The API over a real store, a unix socket and loopback."""
    with served(tmp_path / "hive") as hive:
        yield hive


@pytest.fixture
def browser(hive: ServedHive) -> Browser:
    """A browser without a session."""
    return Browser(hive)


@pytest.fixture
def operator(browser: Browser) -> Browser:
    """A browser with a session."""
    browser.login()
    return browser


@pytest.fixture
def provider() -> Generator[OidcProvider]:
    """An OpenID provider of its own."""
    with OidcProvider() as provider:
        yield provider
