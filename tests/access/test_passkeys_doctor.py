"""`mel doctor` and the name that passkeys are for; what opens a hive to other machines."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from sqlalchemy import Connection, insert

from melipona.access.exposure import passkeys_finding, strong_ways
from melipona.access.people import owner
from melipona.boxes.driver import Finding
from melipona.clock import SystemClock
from melipona.settings import AccessSettings, OidcSettings
from melipona.store.engine import Store, now
from melipona.store.schema import passkeys

HERE = AccessSettings(url="https://hive.example.org")


def add(c: Connection, rp_id: str) -> None:
    values = {"credential_id": "x", "person_id": owner(c).id, "public_key": "x", "transports": "[]", "label": "x"}
    c.execute(insert(passkeys).values(**values, rp_id=rp_id, created_at=now(c)))


def found(folder: Path, made_for: str | None, settings: AccessSettings) -> tuple[list[Finding], list[str]]:
    """What the doctor says, and the strong ways in."""

    async def run() -> tuple[list[Finding], list[str]]:
        store = await Store.open(folder / "mel.db", SystemClock())
        if made_for is not None:
            await store.write(add, made_for)
        try:
            return await store.read(passkeys_finding, settings), await store.read(strong_ways, settings)
        finally:
            await store.close()

    return anyio.run(run)


@pytest.mark.threat("T41")
@pytest.mark.parametrize(
    ("made_for", "ok", "ways"),
    [("hive.example.org", [True], ["passkeys"]), ("localhost", [False], []), (None, [], [])],
)
def test_passkeys_of_another_name_are_told_and_open_nothing(
    tmp_path: Path, made_for: str | None, ok: list[bool], ways: list[str]
) -> None:
    findings, strong = found(tmp_path, made_for, HERE)
    assert ([finding.ok for finding in findings], strong) == (ok, ways)
    if made_for == "localhost":
        assert "1 for localhost can be used no more: this hive is hive.example.org" in findings[0].detail


@pytest.mark.threat("T41")
def test_a_provider_opens_a_hive_too(tmp_path: Path) -> None:
    settings = HERE.model_copy(update={"oidc": OidcSettings(issuer="https://login.example.org", client_id="x")})
    assert found(tmp_path, None, settings)[1] == ["a provider"]
