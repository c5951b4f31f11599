"""Errors as RFC 9457 problem details: what happened, what it means, what to do, and a stable code for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from typing_extensions import TypedDict

from melipona import errors
from melipona.store.engine import request_id
from melipona.views.request import PROBLEM_TYPE

MEDIA_TYPE = PROBLEM_TYPE

STATUS: tuple[tuple[type[errors.MeliponaError], int], ...] = (
    (errors.Invalid, 422),
    (errors.NotFound, 404),
    (errors.Refused, 403),
    (errors.Conflict, 409),
    (errors.LimitReached, 429),
    (errors.AskedWrongly, 400),
    (errors.StoreFull, 507),
    (errors.OutcomeUnknown, 503),
    (errors.StoreError, 503),
    (errors.UpstreamError, 502),
    (errors.WorldFailed, 500),
    (errors.MeliponaError, 500),
)
"""Families of `errors.py`, the more special first."""

TITLES = {
    422: "A value is not acceptable",
    404: "There is no such thing",
    403: "That is refused",
    409: "Its present state does not allow that",
    429: "A limit is reached",
    507: "The disk is full",
    401: "Nobody is logged in",
}


class Problem(TypedDict):
    """Why a request failed."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    remedy: str
    request_id: str | None


def status_of(error: errors.MeliponaError) -> int:
    """The HTTP status of an error."""
    return next(status for kind, status in STATUS if isinstance(error, kind))


def problem(status: int, code: str, detail: str, remedy: str = "") -> Problem:
    """The document that tells of a failure."""
    return {
        "type": f"urn:melipona:problem:{code}",
        "title": TITLES.get(status) or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "remedy": remedy,
        "request_id": request_id.get(),
    }


def problem_response(
    status: int, code: str, detail: str, remedy: str = "", more: Mapping[str, object] | None = None
) -> Response:
    """The same as a response, with more fields."""
    found = {**problem(status, code, detail, remedy), **(more or {})}
    body = json.dumps(found, ensure_ascii=False).encode()
    return Response(body, status, media_type=MEDIA_TYPE)


def handle_errors(app: FastAPI) -> None:
    """Have every error of `app` answered by a problem document."""

    @app.exception_handler(errors.MeliponaError)
    async def ours(_: Request, error: errors.MeliponaError) -> Response:  # pyright: ignore[reportUnusedFunction]
        return problem_response(status_of(error), error.code, error.message, error.remedy, error.more)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:  # pyright: ignore[reportUnusedFunction]
        mistakes = "; ".join(_mistake(item) for item in error.errors())
        return problem_response(422, "invalid", mistakes, "see docs/reference/openapi.json for what is expected")

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:  # pyright: ignore[reportUnusedFunction]
        code = {404: "no_such_route", 405: "method_not_allowed"}.get(error.status_code, "http_error")
        return problem_response(error.status_code, code, str(error.detail))

    @app.exception_handler(Exception)
    async def bug(_: Request, error: Exception) -> Response:  # pyright: ignore[reportUnusedFunction]
        name = type(error).__name__
        return problem_response(500, "bug", f"the daemon has a bug ({name})", "its log names the request")


def _mistake(item: Any) -> str:
    """One mistake of a request; the value itself is not repeated."""
    where = ".".join(str(part) for part in item["loc"] if part not in ("body", "query", "path"))
    return f"{where or 'body'}: {item['msg']}"
