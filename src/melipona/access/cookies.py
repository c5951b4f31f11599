"""The two cookies: the session's, and the one that binds a login to the browser that opened the login page.

No script reads them and no other site sends them. Behind TLS their names say so (`__Host-`): a browser then takes them
over TLS alone, from this very host. Cookies do not know ports, so two hives of one machine need two names.
"""

from __future__ import annotations

from datetime import timedelta

from fastapi import Request
from starlette.responses import Response

from melipona.access.model import LINK_LIFE, SESSION_LIFE, Visitor
from melipona.views.request import VISITOR


def session_cookie(port: int, *, secure: bool) -> str:
    """Name of the session's cookie."""
    return "__Host-mel" if secure else f"mel-{port}"


def before_cookie(port: int, *, secure: bool) -> str:
    """Name of the login page's cookie."""
    return "__Host-mel-before" if secure else f"mel-{port}-before"


def visitor_of(request: Request) -> Visitor:
    """Who is at the other end of a request; the guard found out."""
    visitor = request.scope[VISITOR]
    assert isinstance(visitor, Visitor)
    return visitor


def before_of(request: Request) -> str | None:
    """What the login page's cookie holds."""
    return request.cookies.get(visitor_of(request).before_cookie)


def give_session(request: Request, response: Response, secret: str) -> None:
    """Log the browser in: it gets the session's cookie, and the login page's is used up."""
    visitor = visitor_of(request)
    _set(response, visitor, visitor.session_cookie, secret, SESSION_LIFE)
    _delete(response, visitor, visitor.before_cookie)


def give_before(request: Request, response: Response, value: str) -> None:
    """Give the browser the login page's cookie."""
    visitor = visitor_of(request)
    _set(response, visitor, visitor.before_cookie, value, LINK_LIFE)


def take_session(request: Request, response: Response) -> None:
    """Log the browser out."""
    visitor = visitor_of(request)
    _delete(response, visitor, visitor.session_cookie)


def _set(response: Response, visitor: Visitor, name: str, value: str, life: timedelta) -> None:
    seconds = int(life.total_seconds())
    response.set_cookie(name, value, max_age=seconds, path="/", httponly=True, samesite="strict", secure=visitor.secure)


def _delete(response: Response, visitor: Visitor, name: str) -> None:
    response.delete_cookie(name, path="/", httponly=True, samesite="strict", secure=visitor.secure)
