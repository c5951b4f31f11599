"""Results that are kept: one JSON document for each campaign in bench/results/faults/, with the machine it ran on."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.faults.campaign import CampaignResult
from melipona.boxes.programs import find_bwrap

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench/results"
FOLDER = RESULTS / "faults"


def keep(result: CampaignResult, folder: Path = FOLDER) -> Path:
    """Write a result down; the newest of a campaign replaces the one before. Where it lies.

    The machine's load of the last quarter of an hour is kept too: times that were measured beside other work are slow.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.campaign}.json"
    document = {**result.as_json(), "machine": machine(), "at": datetime.now(UTC).strftime("%Y-%m-%d")}
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path


def machine() -> dict[str, Any]:
    """What a result depends on besides the code."""
    return {
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "git": _said("git", "--version").removeprefix("git version "),
        "bubblewrap": _said(str(find_bwrap(os.environ)), "--version").removeprefix("bubblewrap "),
        "root": os.geteuid() == 0,
        "load": round(os.getloadavg()[2], 1),
        "commit": commit(),
    }


def commit() -> str:
    """The commit that is checked out."""
    return _said("git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD")


def _said(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
