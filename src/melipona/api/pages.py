"""The two plain pages that stand until the dashboard does: login, and the hive at a glance. They hold no data.

No inline script or style (CSP); everything foreign is put in as text nodes by `hive.js`.
"""

from __future__ import annotations

from importlib import resources
from types import MappingProxyType

from fastapi import APIRouter
from starlette.responses import Response

from melipona.api.auth import Logins
from melipona.api.login_routes import BEFORE_LIFE, before_name, set_cookie
from melipona.errors import NotFound

_ASSETS = MappingProxyType(
    {
        "hive.css": "text/css; charset=utf-8",
        "hive.js": "text/javascript; charset=utf-8",
        "login.js": "text/javascript; charset=utf-8",
        "mark.svg": "image/svg+xml",
    }
)


def page_routes(logins: Logins, port: int) -> APIRouter:
    """The pages and what they load."""
    router = APIRouter(include_in_schema=False)
    files = {name: (resources.files("melipona.api") / "assets" / name).read_bytes() for name in _ASSETS}
    pages = {name: (resources.files("melipona.api") / "assets" / name).read_bytes() for name in _PAGES}

    @router.get("/")
    async def hive() -> Response:
        return Response(pages["hive.html"], media_type="text/html; charset=utf-8")

    @router.get("/login")
    async def login() -> Response:
        response = Response(pages["login.html"], media_type="text/html; charset=utf-8")
        set_cookie(response, before_name(port), logins.before_login(), BEFORE_LIFE)
        return response

    @router.get("/assets/{name}")
    async def asset(name: str) -> Response:
        if name not in files:
            raise NotFound("there is no such file")
        return Response(files[name], media_type=_ASSETS[name])

    del hive, login, asset
    return router


_PAGES = ("hive.html", "login.html")
