"""A stand-in for boxd in tests of box drivers alone: dials `ctl.sock`, runs what it is told, answers when it has ended.

A line of JSON each way: {"argv": [...], "env": {...}} and {"code": N, "out": text, "err": text}. Like boxd it makes
itself undumpable first, limits its programs, reaps orphans, dials again when the daemon went, and ends on SIGTERM once
it has asked everything. Standard library only; runs in a box as `python3 -I -S boxd.py CONFIG`.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from typing import Any


def limit(limits: dict[str, int]) -> None:
    """Set the rlimits of a program."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, kind in (
        ("nofile", resource.RLIMIT_NOFILE),
        ("nproc", resource.RLIMIT_NPROC),
        ("fsize", resource.RLIMIT_FSIZE),
    ):
        if limits.get(name):
            resource.setrlimit(kind, (limits[name], limits[name]))


def run(order: dict[str, Any], limits: dict[str, int]) -> dict[str, Any]:
    """Run one program to its end."""
    done = subprocess.run(
        order["argv"],
        env=order.get("env") or dict(os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        preexec_fn=lambda: limit(limits),
        start_new_session=True,
    )
    return {
        "code": done.returncode,
        "out": done.stdout.decode(errors="replace"),
        "err": done.stderr.decode(errors="replace"),
    }


def ask_all(*_: Any) -> None:
    """SIGTERM: ask everything in the box; end when nothing is left."""
    try:
        os.kill(-1, signal.SIGTERM)
        while True:
            os.wait()
    except OSError:
        os._exit(0)


def serve(connection: socket.socket, limits: dict[str, int]) -> None:
    """Answer orders until the daemon goes."""
    with connection, connection.makefile("rw", encoding="utf-8") as lines:
        for line in lines:
            order = json.loads(line)
            lines.write(json.dumps(run(order, limits)) + "\n")
            lines.flush()


def main() -> None:
    """Dial for ever."""
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
    signal.signal(signal.SIGTERM, ask_all)
    config = json.loads(sys.argv[1])
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect("/run/mel/ctl.sock")
            serve(connection, config["limits"])
        except OSError:
            connection.close()
            time.sleep(0.02)


if __name__ == "__main__":
    main()
