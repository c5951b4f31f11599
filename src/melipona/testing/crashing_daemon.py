"""The daemon with one more wish: to die at a chosen moment, once.

    python -m melipona.testing.crashing_daemon MOMENT FLAG --data DIR ...

MOMENT is the name of a tool (a call of it has had its effect, nobody was told its answer), `prompt-stored` (a prompt is
committed and not yet written to the engine) or `prompt-written` (it is written, and nothing else has happened). There
the process kills itself with SIGKILL. FLAG is a file that is made just before, so that the next daemon does not do it
again.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from melipona import daemon
from melipona.boxes.link_unix import BoxLink
from melipona.gate.toolbox import Toolbox
from melipona.ids import ProgramId
from melipona.principals import AgentPrincipal

PROMPT = b'"type": "user"'


def die_after_tool(tool: str, flag: Path) -> None:
    """Arm the wish to die with a call's answer."""
    call = Toolbox.call

    async def called(self: Toolbox, caller: AgentPrincipal, name: str, arguments: object, own_id: str | None) -> Any:
        answer = await call(self, caller, name, arguments, own_id)
        if name == tool:
            die_once(flag)
        return answer

    Toolbox.call = called


def die_at_prompt(flag: Path, *, written: bool) -> None:
    """Arm the wish to die before or after a prompt is written."""
    write = BoxLink.write

    async def wrote(self: BoxLink, program: ProgramId, seq: int, line: bytes) -> None:
        if PROMPT in line and not written:
            die_once(flag)
        await write(self, program, seq, line)
        if PROMPT in line and written:
            die_once(flag)

    BoxLink.write = wrote


def die_once(flag: Path) -> None:
    """Die, unless an earlier daemon did."""
    if not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def main(moment: str, flag: Path, rest: list[str]) -> int:
    """Run the daemon with the wish."""
    if moment.startswith("prompt-"):
        die_at_prompt(flag, written=moment == "prompt-written")
    else:
        die_after_tool(moment, flag)
    return daemon.main(rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
