"""A hive with the provider of the tests, for whatever logs in by one."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from melipona.clock import ManualClock
from melipona.settings import parse_settings
from melipona.testing.oidc_provider import CLIENT, SECRET, OidcProvider
from melipona.testing.served import ServedHive, served


def true_clock() -> ManualClock:
    """It stands at the true time, which the provider's tokens are about."""
    return ManualClock(datetime.fromtimestamp(time.time(), UTC))


@contextmanager
def hive_with(folder: Path, provider: OidcProvider, clock: ManualClock, **more: Any) -> Generator[ServedHive]:
    """A hive with that provider; `more` overrides settings of `[access.oidc]`."""
    secret = folder / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    oidc = {"issuer": provider.issuer, "client_id": CLIENT, "client_secret_file": str(secret), **more}
    with served(folder / "hive", settings=parse_settings({"access": {"oidc": oidc}}), clock=clock) as hive:
        yield hive
