"""Builds the dashboard of `web/` into the wheel. An editable installation leaves that to ./mel (scripts/page.sh)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGE = "src/melipona/api/page"


class PageHook(BuildHookInterface[Any]):
    """Runs npm unless the page was built already, as it is in a source distribution."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the files are collected.

        Raises:
            RuntimeError: the page is not built and npm is not there.
        """
        if version == "editable":
            return
        build_data["artifacts"].append(f"/{PAGE}/**")
        root = Path(self.root)
        if (root / PAGE / "index.html").exists():
            return
        npm = shutil.which("npm")
        if npm is None:
            raise RuntimeError("the dashboard is built by Node 20.19 or newer with npm, and there is none")
        for command in (["ci", "--omit=dev", "--no-audit", "--no-fund"], ["run", "build"]):
            subprocess.run([npm, *command], cwd=root / "web", check=True)
