"""Files that agents name, over HTTP: one to show and one to keep (FR-2, FR-3, FR-11)."""

from __future__ import annotations

import asyncio
import base64
from pathlib import PurePosixPath
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query
from fastapi.responses import Response
from typing_extensions import TypedDict

from melipona.clock import rfc3339
from melipona.files.references import Files
from melipona.views.request import room_router

AFilePath = Annotated[
    str,
    Query(
        min_length=1,
        max_length=4096,
        description="As agents see it: `/agents/NAME/state/…`, `/agents/NAME/inbox/…` or `/shared/…`.",
    ),
]


class FileView(TypedDict):
    """A file of at most 1 MiB. Exactly one of `text` and `base64` is there."""

    path: str
    size: int
    modified_at: str
    text: str | None
    base64: str | None


def file_routes(files: Files) -> APIRouter:
    """Routes below `/api/v1`."""
    router = room_router("files")

    @router.get("/files", response_model=FileView)
    async def show(path: AFilePath) -> Any:
        """A file to be shown."""
        found = await asyncio.to_thread(files.read, path)
        text = found.text
        return {
            "path": found.path,
            "size": len(found.data),
            "modified_at": rfc3339(found.modified_at),
            "text": text,
            "base64": None if text is not None else base64.b64encode(found.data).decode(),
        }

    @router.get("/files/download", response_class=Response)
    async def download(path: AFilePath) -> Response:
        """The same file to be kept: never shown by a browser, whatever is in it."""
        found = await asyncio.to_thread(files.read, path)
        name = quote(PurePosixPath(found.path).name, safe="", errors="surrogateescape")
        headers = {
            "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
            "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
        }
        return Response(found.data, media_type="application/octet-stream", headers=headers)

    del show, download
    return router
