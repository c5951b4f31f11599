"""Asking a provider: its description and keys, codes for tokens. Every request is bounded in time and size and follows
no redirect; what comes back is JSON or an error in plain words (T14, T24)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio

from melipona import __version__
from melipona.access.identity import Asked, Identity, KeyUnknown, check_token, identity_of, read_keys
from melipona.access.logout_token import LoggedOut, check_logout
from melipona.access.oidc import Flow, Provider, authlib, authorization_address, check_sender, refused
from melipona.errors import UpstreamError
from melipona.faults import fault
from melipona.json_marks import too_intricate

if TYPE_CHECKING:
    import httpx2

SECONDS = 10.0
BYTES_MOST = 256 << 10
MARKS_MOST = 20_000
DESCRIBED_SECONDS = 3600.0
"""How long a description and its keys are believed."""
KEYS_AGAIN_SECONDS = 60.0
"""How soon an unknown key's name makes us ask for the keys again."""

Json = dict[str, Any]
T = TypeVar("T")


class ProviderClient:
    """One provider, as it was configured."""

    def __init__(self, issuer: str, client_id: str, secret: str, monotonic: Callable[[], float]) -> None:
        self.issuer, self.client_id = issuer, client_id
        self._secret, self._monotonic = secret, monotonic
        self._client: httpx2.AsyncClient | None = None
        self._provider: tuple[float, Provider] | None = None
        self._keys: tuple[float, list[Any]] | None = None

    def __repr__(self) -> str:
        return f"ProviderClient({self.issuer!r}, {self.client_id!r})"

    async def begin(self, redirect: str, flow: Flow, *, again: bool = False) -> str:
        """Where the browser goes to log in; `again`: whoever is logged in there must show who they are once more.

        Raises:
            UpstreamError: the provider does not answer, or nonsense.
        """
        provider = await self._described()
        return authorization_address(provider, self.client_id, redirect, flow, again=again)

    async def finish(self, code: str, sender: str | None, redirect: str, flow: Flow, at: int) -> Identity:
        """Who came back with `code` at the time `at` (seconds).

        Raises:
            Refused: something about the answer is not right.
            UpstreamError: the provider does not answer, or nonsense.
        """
        provider = await self._described()
        check_sender(provider, sender)
        tokens = await self._tokens(provider, code, redirect, flow)
        token, access = tokens.get("id_token"), tokens.get("access_token")
        if not isinstance(token, str) or not isinstance(access, str):
            raise refused("the provider gave no identity token")
        asked = Asked(provider.issuer, self.client_id, flow.nonce, access)
        claims = await self._checked(provider, lambda keys: check_token(token, keys, asked, at))
        more = None
        if "email" not in claims and provider.userinfo:
            more = await self._ask("GET", provider.userinfo, {"authorization": f"Bearer {access}"})
        return identity_of(claims, more)

    async def logged_out(self, token: str, at: int) -> LoggedOut:
        """Who has logged out at the provider, as its logout token says at the time `at` (seconds).

        Raises:
            Refused: something about the token is not right.
            UpstreamError: the provider does not answer, or nonsense.
        """
        provider = await self._described()
        return await self._checked(
            provider, lambda keys: check_logout(token, keys, provider.issuer, self.client_id, at)
        )

    async def aclose(self) -> None:
        """Close connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _described(self) -> Provider:
        if self._provider is None or self._is_old(self._provider[0], DESCRIBED_SECONDS):
            data = await self._ask("GET", self.issuer.rstrip("/") + "/.well-known/openid-configuration")
            provider = Provider.read(self.issuer, data, has_secret=bool(self._secret))
            self._provider = self._monotonic(), provider
        return self._provider[1]

    async def _checked(self, provider: Provider, check: Callable[[Sequence[Any]], T]) -> T:
        """What `check` finds in a token; a key that is not known yet may be new: the keys are asked for once more."""
        if self._keys is None or self._is_old(self._keys[0], DESCRIBED_SECONDS):
            await self._read_keys(provider)
        assert self._keys is not None
        try:
            return check(self._keys[1])
        except KeyUnknown:
            if not self._is_old(self._keys[0], KEYS_AGAIN_SECONDS):
                raise
            await self._read_keys(provider)
        return check(self._keys[1])

    async def _read_keys(self, provider: Provider) -> None:
        self._keys = self._monotonic(), read_keys(await self._ask("GET", provider.keys))

    async def _tokens(self, provider: Provider, code: str, redirect: str, flow: Flow) -> Json:
        body = authlib("oauth2.rfc6749.parameters").prepare_token_request(
            "authorization_code", code=code, redirect_uri=redirect, code_verifier=flow.verifier
        )
        headers = {"content-type": "application/x-www-form-urlencoded"}
        auth = authlib("oauth2.auth").ClientAuth(self.client_id, self._secret, provider.auth_method)
        url, headers, body = auth.prepare("POST", provider.token, headers, body)
        return await self._ask("POST", url, headers, body)

    async def _ask(self, method: str, url: str, headers: Mapping[str, str] | None = None, body: str = "") -> Json:
        await fault("access.oidc.before_ask")
        try:
            with anyio.fail_after(SECONDS):
                status, data = await self._read(method, url, dict(headers or {}), body)
        except TimeoutError as error:
            raise _unreachable(url, f"it took longer than {SECONDS:.0f} s") from error
        await fault("access.oidc.after_ask")
        found = _json(data)
        if status == 200 and found is not None:
            return found
        if method == "POST" and 400 <= status < 500:
            raise refused(f"the provider did not accept the login ({_error_code(found)})")
        raise _unreachable(url, f"it answers {status}" if status != 200 else "its answer is no JSON")

    async def _read(self, method: str, url: str, headers: dict[str, str], body: str) -> tuple[int, bytes]:
        import httpx2

        fixed = {"user-agent": f"melipona/{__version__}", "accept": "application/json", "accept-encoding": "identity"}
        data = bytearray()
        try:
            async with self._open().stream(method, url, headers=fixed | headers, content=body.encode()) as response:
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise _unreachable(url, "its answer is packed, which was not asked for")
                async for chunk in response.aiter_raw():
                    data += chunk
                    if len(data) > BYTES_MOST:
                        raise _unreachable(url, "its answer is too long")
                return response.status_code, bytes(data)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise _unreachable(url, type(error).__name__) from error

    def _open(self) -> httpx2.AsyncClient:
        if self._client is None:
            import httpx2  # only when somebody logs in

            limits = httpx2.Limits(max_connections=8, max_keepalive_connections=0)
            self._client = httpx2.AsyncClient(timeout=SECONDS, limits=limits, trust_env=False, follow_redirects=False)
        return self._client

    def _is_old(self, since: float, after: float) -> bool:
        return self._monotonic() - since > after


def _json(data: bytes) -> Json | None:
    if too_intricate(data, MARKS_MOST):
        return None
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return cast("Json", found) if isinstance(found, dict) else None


def _error_code(found: Json | None) -> str:
    """The error's code as providers give it; their texts are for their own pages."""
    code = (found or {}).get("error")
    plain = isinstance(code, str) and len(code) <= 40 and code.replace("_", "").isalnum() and code.isascii()
    return str(code) if plain else "no reason given"


def _unreachable(url: str, why: str) -> UpstreamError:
    return UpstreamError(
        f"the login provider at {url.partition('?')[0]} cannot be used now: {why}",
        remedy="try again later, or log in another way",
    )
