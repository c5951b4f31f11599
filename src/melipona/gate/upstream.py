"""The model API behind the gate: one fixed address and the key, which is read once and shown to nobody (D-29, T14)."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from melipona import __version__
from melipona.errors import Invalid, UpstreamError
from melipona.faults import fault
from melipona.secret_file import clean_secret, read_secret
from melipona.settings import ModelSettings

if TYPE_CHECKING:
    import httpx2

DEFAULT_URL = "https://api.anthropic.com"
ENVIRONMENT = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL")
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
NEVER_REACHED = "upstream_unreachable"
"""Code of errors of calls that cannot have cost anything."""

CONNECT_SECONDS = 15.0
SILENCE_SECONDS = 600.0
"""The API sends pings into its streams; a whole answer may take its time."""


class Upstream:
    """Where model calls go. Without a key it refuses (`has_key`), and the hive runs on."""

    def __init__(self, base_url: str, key: str = "", *, bearer: bool = False) -> None:
        self.base_url = _checked(base_url)
        self._key = key
        self._bearer = bearer
        self._client: httpx2.AsyncClient | None = None

    def __repr__(self) -> str:
        return f"Upstream({self.base_url!r}, {'with a key' if self._key else 'without a key'})"

    @classmethod
    def from_settings(cls, settings: ModelSettings, environ: MutableMapping[str, str]) -> Upstream:
        """The upstream of the settings, else of the environment; takes the keys out of `environ` and `os.environ`.

        Raises:
            Invalid: a bad address, or a key file that others can read.
        """
        api_key, token, base_url = (environ.get(name, "").strip() for name in ENVIRONMENT)
        for name in ENVIRONMENT[:2]:
            environ.pop(name, None)
            os.environ.pop(name, None)
        url = settings.base_url or base_url or DEFAULT_URL
        if settings.key_file:
            return cls(url, read_secret(Path(settings.key_file).expanduser(), "models.anthropic.key_file"))
        return (
            cls(url, clean_secret(api_key, ENVIRONMENT[0]))
            if api_key
            else cls(url, clean_secret(token, ENVIRONMENT[1]), bearer=True)
        )

    @property
    def has_key(self) -> bool:
        return bool(self._key)

    @property
    def secret(self) -> bytes:
        """The bytes that must never go to a box, for the scanner."""
        return self._key.encode()

    async def open(self) -> httpx2.AsyncClient:
        """The client for model calls."""
        if self._client is None:
            import httpx2  # only when the first model call comes

            for chatty in ("httpx2", "httpcore2"):  # at DEBUG they log headers that an upstream may echo
                logging.getLogger(chatty).setLevel(logging.WARNING)
            times = httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS, pool=CONNECT_SECONDS)
            limits = httpx2.Limits(max_connections=None, max_keepalive_connections=32)
            self._client = httpx2.AsyncClient(timeout=times, limits=limits, trust_env=False, follow_redirects=False)
        return self._client

    async def aclose(self) -> None:
        """Close connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def send(
        self, method: str, path: str, query: str, body: bytes, headers: Sequence[tuple[str, str]]
    ) -> httpx2.Response:
        """One call; the answer's body is not read yet, and the caller must close it.

        Raises:
            UpstreamError: it could not be reached, or answered nonsense.
        """
        import httpx2

        client = await self.open()
        url = f"{self.base_url}{path}" + (f"?{query}" if query else "")
        request = client.build_request(method, url, content=body, headers=[*headers, *self._fixed().items()])
        await fault("gate.upstream.before_send")
        try:
            response = await client.send(request, stream=True)
        except httpx2.HTTPError as error:
            never = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
            raise UpstreamError(
                f"the model API at {self.base_url} {'could not be reached' if never else 'broke off'}: "
                f"{type(error).__name__}",
                remedy="the engine tries again; the operator can look at `mel doctor`",
                code=NEVER_REACHED if never else "upstream_error",
            ) from error
        await fault("gate.upstream.after_send")
        return response

    def _fixed(self) -> Mapping[str, str]:
        key = {"authorization": f"Bearer {self._key}"} if self._bearer else {"x-api-key": self._key}
        return {
            "user-agent": f"melipona/{__version__}",
            "content-type": "application/json",
            "accept-encoding": "identity",
            **key,
        }


def _checked(url: str) -> str:
    parts = urlsplit(url)
    good = parts.hostname and not parts.username and not parts.query and not parts.fragment
    if not good or parts.scheme not in ("http", "https"):
        raise Invalid(f"{url!r} is not an address of a model API", remedy="write https://host, without /v1")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise Invalid(
            f"{url!r} would send the key unencrypted", remedy="use https; plain http is only for this machine itself"
        )
    return url.rstrip("/")


def returned(headers: Any) -> list[tuple[str, str]]:
    """Response headers as pairs of lower-case name and value."""
    return [(str(name).lower(), str(value)) for name, value in headers.items()]
