"""A canary secret of the login provider, used in logins that work and that fail: it stays in its one file (T37)."""

from __future__ import annotations

import base64
import gzip
import json
import os
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from melipona.testing.hive import QUICK, running_hive
from melipona.testing.oidc_provider import CLIENT, OidcProvider

from .operators import Browser, routes_of

CANARY = "oidc-canary-7c1d9e5b3f8a4026"
FORMS = (
    CANARY.encode(),
    base64.b64encode(f"{CLIENT}:{CANARY}".encode()),
    quote(CANARY).encode(),
    CANARY.encode().hex().encode(),
)


@pytest.mark.threat("T37")
def test_t37_the_providers_secret_is_in_its_one_file_only(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(CANARY)
    secret.chmod(0o600)
    with OidcProvider(secret=CANARY) as provider:
        config = f'{QUICK}\n[access.oidc]\nissuer = "{provider.issuer}"\nclient_id = "{CLIENT}"\n'
        with running_hive(tmp_path, config=f'{config}client_secret_file = "{secret}"\n') as hive:
            hive.client.post("/people/owner/identities", {"subject": provider.person.subject})
            shown = [_login(Browser.of(hive.client), provider)]
            provider.secret = "another"  # the provider refuses ours now, and says so
            shown.append(_login(Browser.of(hive.client), provider))
            assert [json.loads(body).get("code", "in") for body in shown] == ["in", "oidc"]
            hive.client.post("/backup", {"path": str(tmp_path / "b.tar.gz"), "homes": True})
            shown += [gzip.decompress((tmp_path / "b.tar.gz").read_bytes()), hive.log.encode()]
            operator = Browser.of(hive.client).login()
            shown += [operator.ask(method, path).body for method, path in routes_of(hive.client) if method == "GET"]
            shown += [Path(f"/proc/{hive.pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
            files = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
            assert [piece[:200] for piece in shown if any(form in piece for form in FORMS)] == []
            assert {path for path in files if any(form in path.read_bytes() for form in FORMS)} == {secret}


def _login(browser: Browser, provider: OidcProvider) -> bytes:
    browser.ask("GET", "/login")
    address = browser.ask("POST", "/api/v1/login/oidc/start", b"{}").json["url"]
    assert CANARY not in address
    query = {name: values[0] for name, values in parse_qs(urlsplit(provider.log_in(address)).query).items()}
    return browser.ask("POST", "/api/v1/login/oidc", json.dumps(query).encode()).body


def test_t37_the_secret_of_the_environment_is_taken_out_of_it(tmp_path: Path) -> None:
    """What the daemon starts later gets no copy: its own environment has none any more."""
    from melipona.access.logins import SECRET, provider_of
    from melipona.clock import SystemClock
    from melipona.settings import OidcSettings

    environ = {SECRET: CANARY}
    settings = OidcSettings(issuer="https://login.example.org", client_id=CLIENT)
    assert CANARY not in repr(provider_of(settings, environ, SystemClock()))
    assert environ == {}
    assert SECRET not in os.environ
