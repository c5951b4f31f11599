"""The ways in besides one-time links and tokens, made from the settings."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

from melipona.access.identity import is_entry
from melipona.access.oidc import check_issuer
from melipona.access.oidc_client import ProviderClient
from melipona.access.oidc_service import OidcLogin, Rules
from melipona.access.passkey_service import Passkeys
from melipona.access.place import Places
from melipona.access.provider_step_up import ProviderStepUp
from melipona.access.service import Access
from melipona.access.step_up import StepUp
from melipona.clock import Clock
from melipona.errors import Invalid
from melipona.principals import Role
from melipona.secret_file import clean_secret, read_secret
from melipona.settings import OidcSettings

SECRET = "MELIPONA_OIDC_SECRET"  # noqa: S105 (the name of a variable)


@dataclass(frozen=True, slots=True)
class Logins:
    """Passkeys, step-up and the provider of one hive."""

    access: Access
    places: Places
    passkeys: Passkeys
    step_up: StepUp
    oidc: OidcLogin
    again: ProviderStepUp

    @classmethod
    def of(cls, access: Access, url: str, port: int, provider: ProviderClient | None, settings: OidcSettings) -> Logins:
        """For a hive at `url` (empty: none). `provider` is what `provider_of` made of the settings."""
        places = Places(url, port)
        rules = None if provider is None else _rules(settings)
        button = None if provider is None else (settings.label, provider.issuer)
        oidc, step_up = OidcLogin(access, provider, rules), StepUp(access, places, button)
        return cls(access, places, Passkeys(access, places), step_up, oidc, ProviderStepUp(access, places, oidc))


def provider_of(settings: OidcSettings, environ: MutableMapping[str, str], clock: Clock) -> ProviderClient | None:
    """The provider of the settings; takes the secret out of `environ` and `os.environ`.

    Raises:
        Invalid: the settings do not fit together, or the secret's file can be read by others.
    """
    given = environ.pop(SECRET, "").strip()
    os.environ.pop(SECRET, None)
    if not settings.issuer:
        return None
    _check(settings)
    name = "access.oidc.client_secret_file"
    path = Path(settings.client_secret_file).expanduser()
    secret = read_secret(path, name) if settings.client_secret_file else clean_secret(given, SECRET)
    return ProviderClient(settings.issuer, settings.client_id, secret, clock.monotonic)


def _check(settings: OidcSettings) -> None:
    wrong = check_issuer(settings.issuer)
    if wrong is not None:
        raise Invalid(f"access.oidc.issuer: {wrong}", remedy="write the issuer as the provider does")
    if not settings.client_id:
        raise Invalid("access.oidc.client_id is missing", remedy="register this hive at the provider, which gives one")
    for entry in settings.allow:
        if not is_entry(entry):
            raise Invalid(
                f"access.oidc.allow: {entry!r} means nothing", remedy="write name@example.org, @example.org or sub:ID"
            )
    if settings.newcomers != "none" and not settings.allow:
        raise Invalid("access.oidc.newcomers would let everybody in", remedy="set access.oidc.allow too")


def _rules(settings: OidcSettings) -> Rules:
    newcomers = None if settings.newcomers == "none" else Role(settings.newcomers)
    return Rules(settings.label, settings.allow, newcomers)
