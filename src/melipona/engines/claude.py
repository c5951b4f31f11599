"""The `claude` engine: the unmodified Claude Code command line, driven by its stream-json protocol (D-45).

Nothing of a repository decides how it runs: no hooks, no MCP servers, no permission rules and no model address of a
project take effect (T22); read-only managed settings and a strict MCP configuration see to that. Its key is a
placeholder, the gate adds the real one. `claude_decode` reads its output.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

from melipona.boxes.driver import INSIDE_HOME, Mount
from melipona.engines.base import GATE, inside_environment
from melipona.engines.claude_decode import ClaudeDecoder, control_answer
from melipona.engines.engine import EngineHealth, EngineLaunch, EngineProgram, Prompt
from melipona.errors import EngineMissing, WorldFailed
from melipona.process import plain_environment, run

EXTRA = "claude_agent_sdk"
"""Package of the extra melipona[claude]. It is never imported: only the program in it is used."""

INSIDE_CLI = "/opt/engine/claude"
INSIDE_SETTINGS = "/etc/claude-code/managed-settings.json"

DISALLOWED_TOOLS = (
    "AskUserQuestion",
    "CronCreate",
    "CronDelete",
    "CronList",
    "EnterPlanMode",
    "EnterWorktree",
    "ExitPlanMode",
    "ExitWorktree",
    "ListAgents",
    "Monitor",
    "PushNotification",
    "RemoteTrigger",
    "ReportFindings",
    "ScheduleWakeup",
    "SendMessage",
    "WebFetch",
    "WebSearch",
    "Workflow",
)
"""Built-in tools without sense in a box: they need a network or a person at the terminal, wait or wake in ways that the
hive does not see, or look like tools of the hive."""

_SESSION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_START = timedelta(seconds=30)
_INSTALL = "install the extra melipona[claude], or the native build of Claude Code so that `claude` is on PATH"


class _Completed(Protocol):
    @property
    def code(self) -> int: ...
    @property
    def text(self) -> str: ...


Run = Callable[[Sequence[str | Path]], Awaitable[_Completed]]


async def _run_plainly(argv: Sequence[str | Path]) -> _Completed:
    return await run(argv, timeout=_START, env=plain_environment())


def managed_settings_file() -> Path:
    """The managed settings that every box sees, a file of the package."""
    return Path(str(files("melipona.engines") / "claude-managed-settings.json"))


def managed_settings(gate: str = GATE) -> dict[str, Any]:
    """What the managed settings say, for a gate at `gate`."""
    settings: dict[str, Any] = json.loads(managed_settings_file().read_text())
    settings["env"]["ANTHROPIC_BASE_URL"] = f"http://{gate}/model/anthropic"
    return settings


def find_cli(environ: Mapping[str, str], extra: str = EXTRA) -> Path:
    """The command line's native program: `claude` on PATH, else the one that the optional `extra` package brings.

    A script on PATH (an npm install) is passed over: it would need Node and its whole tree in the box.

    Raises:
        EngineMissing: there is none.
    """
    folders = [Path(folder) for folder in environ.get("PATH", "").split(os.pathsep) if folder.startswith("/")]
    package = importlib.util.find_spec(extra)
    bundled = [Path(package.origin).parent / "_bundled"] if package is not None and package.origin else []
    for folder in [*folders, *bundled]:
        if _is_native(folder / "claude"):
            return (folder / "claude").resolve()
    raise EngineMissing("the Claude Code command line is not installed", remedy=_INSTALL)


def _is_native(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF" and os.access(path, os.X_OK)
    except OSError:
        return False


class ClaudeEngineDriver:
    """Drives the Claude Code command line.

    `cli` is its program on the host (looked for on PATH and in `extra` when None), `settings` the managed settings
    file on the host, `gate` the gate's address inside the box, `run` runs the program once for `health`.
    """

    name = "claude"
    needs_model_key = True

    def __init__(
        self,
        *,
        environ: Mapping[str, str] | None = None,
        cli: Path | None = None,
        settings: Path | None = None,
        extra: str = EXTRA,
        gate: str = GATE,
        run: Run = _run_plainly,
    ) -> None:
        self._environ = dict(os.environ if environ is None else environ)
        self._cli = cli
        self._extra = extra
        self._settings = settings or managed_settings_file()
        self._gate = gate
        self._run = run

    def cli(self) -> Path:
        """The program on the host.

        Raises:
            EngineMissing: it is not installed.
        """
        if self._cli is None:
            self._cli = find_cli(self._environ, self._extra)
        return self._cli

    async def health(self) -> EngineHealth:
        try:
            cli = self.cli()
            done = await self._run([cli, "--version"])
        except EngineMissing as error:
            return EngineHealth(ok=False, detail=error.message, remedy=error.remedy)
        except WorldFailed as error:
            return EngineHealth(ok=False, detail=error.message, remedy=_INSTALL)
        version = _VERSION.search(done.text)
        if done.code or not version:
            return EngineHealth(ok=False, detail=f"{cli} --version failed with {done.code}", remedy=_INSTALL)
        return EngineHealth(ok=True, detail=f"{cli}", version=version[0])

    def mounts(self) -> Sequence[Mount]:
        return [Mount(self.cli(), INSIDE_CLI), Mount(self._settings, INSIDE_SETTINGS)]

    def program(self, launch: EngineLaunch) -> EngineProgram:
        # A session id came out of a box once: only one that cannot be an option is handed on.
        resume = ["--resume", launch.session] if launch.session and _SESSION.fullmatch(launch.session) else []
        model = ["--model", launch.model] if launch.model else []
        argv = [*self._argv(), *model, *resume]
        # The prompt goes by the protocol and not by argv: an argument ends at 128 KiB, and `ps` would show it.
        first = _control("initialize", {"subtype": "initialize", "appendSystemPrompt": launch.system_prompt})
        return EngineProgram(argv, self._environment(), [first])

    def _argv(self) -> list[str]:
        server = {"type": "http", "url": f"http://{self._gate}/mcp", "alwaysLoad": True}
        return [
            INSIDE_CLI,
            "-p",
            *("--input-format", "stream-json"),
            *("--output-format", "stream-json"),
            "--verbose",
            "--include-partial-messages",
            "--strict-mcp-config",
            *("--mcp-config", json.dumps({"mcpServers": {"melipona": server}})),
            *("--permission-mode", "bypassPermissions"),
            *("--setting-sources", "project"),
            *("--disallowedTools", ",".join(DISALLOWED_TOOLS)),
        ]

    def _environment(self) -> dict[str, str]:
        return inside_environment(self._gate) | {
            "CLAUDE_CONFIG_DIR": f"{INSIDE_HOME}/.claude",
            "CLAUDE_CODE_TMPDIR": f"{INSIDE_HOME}/.cache",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
            "CLAUDE_CODE_MAX_RETRIES": "5",
            "DISABLE_AUTOUPDATER": "1",
            "MCP_TIMEOUT": "600000",
        }

    def decoder(self) -> ClaudeDecoder:
        return ClaudeDecoder()

    def prompt_line(self, prompt: Prompt) -> str:
        return _user(prompt.text)

    def interrupt_line(self, request: str) -> str | None:
        return _control(request, {"subtype": "interrupt"})

    def set_model_line(self, request: str, model: str) -> str | None:
        return _control(request, {"subtype": "set_model", "model": model})

    def compact_line(self) -> str | None:
        return _user("/compact")

    def context_line(self, request: str) -> str | None:
        """Costs some thirty token counts upstream; every `assistant` line tells the size for nothing."""
        return _control(request, {"subtype": "get_context_usage"})

    def permission_line(self, request: str, *, allow: bool, message: str) -> str | None:
        return control_answer(request, {"behavior": "allow"} if allow else {"behavior": "deny", "message": message})


def _user(text: str) -> str:
    return json.dumps({"type": "user", "message": {"role": "user", "content": text}, "parent_tool_use_id": None})


def _control(request: str, content: Mapping[str, Any]) -> str:
    return json.dumps({"type": "control_request", "request_id": request, "request": content})
