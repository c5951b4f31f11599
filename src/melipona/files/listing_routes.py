"""Folders that people may look into, over HTTP."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query
from typing_extensions import TypedDict

from melipona.boxes.folders import Folders
from melipona.clock import rfc3339
from melipona.files.listing import list_folder
from melipona.views.request import room_router

AFolderPath = Annotated[
    str,
    Query(
        min_length=1,
        max_length=4096,
        description="As agents see it: `/agents/NAME/state`, `/agents/NAME/inbox` or `/shared`, or below.",
    ),
]


class EntryView(TypedDict):
    """A file, or a folder, which has no size."""

    name: str
    folder: bool
    size: int | None
    modified_at: str


class FolderView(TypedDict):
    """What lies in a folder: folders first, then files, by name."""

    path: str
    entries: list[EntryView]
    more: bool
    """It holds more than is told."""
    unnamed: int
    """Entries that are neither files nor folders, or whose names are no text."""


def listing_routes(folders: Folders) -> APIRouter:
    """Routes below `/api/v1`."""
    router = room_router("files")

    @router.get("/folders", response_model=FolderView)
    async def show(path: AFolderPath) -> Any:
        """What lies in a folder, at most 1,000 entries. No link is followed."""
        found = await asyncio.to_thread(list_folder, folders, path)
        entries = [
            {
                "name": entry.name,
                "folder": entry.is_folder,
                "size": entry.size,
                "modified_at": rfc3339(entry.modified_at),
            }
            for entry in found.entries
        ]
        return {"path": found.path, "entries": entries, "more": found.more, "unnamed": found.unnamed}

    del show
    return router
