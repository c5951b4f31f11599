"""The dashboard's files: one page for every address of it, and what that loads. They hold no data.

`web/` is built into `page/` beside this module; a wheel carries it, a clone builds it when Node is there. Without it a
plain page says what to do. Names of built files hold a hash of their content, so browsers may keep them for ever.
No inline script or style (CSP).
"""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Annotated

from fastapi import APIRouter, Header, Request
from starlette.responses import JSONResponse, Response

from melipona.access.cookies import give_before
from melipona.access.service import Access
from melipona.api.authority import PAGES

FOR_EVER = "public, max-age=31536000, immutable"
HTML = "text/html; charset=utf-8"
TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
PACKED = ".gz"
ICONS = frozenset(f"icon-{kind}.png" for kind in (192, 512, "maskable", "touch"))
PLAIN = ICONS | {"mark.svg", "manifest.webmanifest"}
"""Files that go by their plain names, for what a browser keeps of them itself."""


@dataclass(frozen=True, slots=True)
class Page:
    """The page and its files, by name. They are read when they are asked for first: most are asked for never."""

    index: bytes
    files: dict[str, Traversable]
    packed: dict[str, Traversable]
    """The same files compressed, by the name of the plain one."""

    @classmethod
    def find(cls) -> Page:
        """What was built; without it the page that says so."""
        here = resources.files("melipona.api")
        plain = {"mark.svg": here / "assets" / "mark.svg"}
        built = here / "page"
        if not (built / "index.html").is_file():
            return cls((here / "assets" / "missing.html").read_bytes(), plain, {})
        made = {entry.name: entry for entry in (built / "assets").iterdir()}
        packed = {name.removesuffix(PACKED): entry for name, entry in made.items() if name.endswith(PACKED)}
        files = {name: entry for name, entry in made.items() if not name.endswith(PACKED)}
        return cls((built / "index.html").read_bytes(), plain | files, packed)

    def answer(self, name: str, encodings: str) -> Response | None:
        """A file as a response, None when there is none of that name."""
        if name not in self.files:
            return None
        for_ever = name not in PLAIN
        headers = {"Cache-Control": FOR_EVER if for_ever else "no-store", "Vary": "Accept-Encoding"}
        entry = self.files[name]
        if name in self.packed and "gzip" in encodings:
            entry, headers["Content-Encoding"] = self.packed[name], "gzip"
        return Response(entry.read_bytes(), media_type=_type(name), headers=headers)


def _type(name: str) -> str:
    suffix = name[name.rfind(".") :]
    return TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def page_routes(access: Access) -> APIRouter:
    """The page and what it loads."""
    router = APIRouter(include_in_schema=False)
    page = Page.find()

    async def index() -> Response:
        return Response(page.index, media_type=HTML)

    for path in sorted(PAGES - {"/login"}):  # `/login/oidc` among them: who comes back keeps the cookie
        router.add_api_route(path, index, methods=["GET"])

    @router.get("/agents/{name}")
    async def agent(name: str) -> Response:
        del name  # the page itself reads its address
        return await index()

    @router.get("/login")
    async def login(request: Request) -> Response:
        response = await index()
        give_before(request, response, access.before_login())
        return response

    @router.get("/assets/{name}")
    async def asset(name: str, accept_encoding: Annotated[str, Header()] = "") -> Response:
        found = page.answer(name, accept_encoding)
        return found or JSONResponse({"detail": "there is no such file"}, 404, {"Cache-Control": "no-store"})

    del agent, login, asset
    return router
