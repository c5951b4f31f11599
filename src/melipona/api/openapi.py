"""`python -m melipona.api.openapi`: write docs/reference/openapi.json. A test fails when that is out of date (CL-3).

The document is made from the application itself, with stand-ins for what the routes call: no store, no daemon.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, cast

from fastapi import FastAPI

from melipona.access.logins import Logins
from melipona.api.app import create_app
from melipona.api.board import Board
from melipona.api.metrics import Lag
from melipona.api.services import Services

USUAL = Path("docs/reference/openapi.json")


class _StandIn:
    """Has every attribute and does nothing; the document needs names and types only."""

    port = 0
    version = "1"

    def __getattr__(self, _: str) -> Any:
        return self

    def __call__(self, *_: object, **__: object) -> Any:
        return self


def application() -> FastAPI:
    """The application with stand-ins for what its routes call."""
    nobody: Any = _StandIn()
    return create_app(cast("Services", nobody), cast("Logins", nobody), cast("Board", nobody), Lag())


def document() -> str:
    """The OpenAPI document as it is committed."""
    return json.dumps(application().openapi(), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the document to the path given, else to its usual place in the repository."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else USUAL
    path.write_text(document(), encoding="utf-8")


if __name__ == "__main__":
    main()
