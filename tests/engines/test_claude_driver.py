"""How the claude engine is found and started (D-45); nothing here runs the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from melipona.engines.base import PLACEHOLDER_KEY
from melipona.engines.claude import ClaudeEngineDriver, find_cli, managed_settings, managed_settings_file
from melipona.engines.engine import EngineLaunch, Prompt
from melipona.errors import EngineMissing, WorldFailed
from melipona.ids import AgentName

SESSION = "49420a80-e47e-4de4-bc51-b7118ec3fd26"


def launch(session: str | None = None, model: str | None = "sonnet", advice: str = "be good") -> EngineLaunch:
    return EngineLaunch(AgentName("ana"), "worker", model, session, advice)


@dataclass(frozen=True)
class Ran:
    code: int
    text: str


def a_cli(folder: Path, content: bytes = b"\x7fELF....") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "claude"
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def test_the_program_on_path_comes_first_and_links_are_followed(tmp_path: Path) -> None:
    real = a_cli(tmp_path / "versions")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "claude").symlink_to(real)
    assert find_cli({"PATH": f"/nowhere:relative:{tmp_path}/bin"}) == real


def test_a_script_on_path_is_passed_over_for_the_extra(tmp_path: Path) -> None:
    """An npm install would need Node and its tree in the box."""
    a_cli(tmp_path, b"#!/usr/bin/env node\n")
    assert find_cli({"PATH": str(tmp_path)}).parent.name == "_bundled"


@pytest.mark.anyio
async def test_an_absent_program_is_an_error_that_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(EngineMissing) as caught:
        find_cli({"PATH": str(tmp_path)}, "no_such_package")
    assert "melipona[claude]" in caught.value.remedy
    driver = ClaudeEngineDriver(environ={}, extra="no_such_package")
    health = await driver.health()
    assert (health.ok, "melipona[claude]" in health.remedy) == (False, True)
    with pytest.raises(EngineMissing):
        driver.mounts()


@pytest.mark.anyio
async def test_health_tells_the_version_or_why_there_is_none(tmp_path: Path) -> None:
    async def good(argv: Sequence[str | Path]) -> Ran:
        assert argv[1:] == ["--version"]
        return Ran(0, "2.1.329 (Claude Code)\n")

    async def bad(argv: Sequence[str | Path]) -> Ran:
        return Ran(1, "")

    async def dead(argv: Sequence[str | Path]) -> Ran:
        raise WorldFailed("claude did not end within 30 s")

    cli = a_cli(tmp_path)
    assert (await ClaudeEngineDriver(cli=cli, run=good).health()).version == "2.1.329"
    for run in (bad, dead):
        health = await ClaudeEngineDriver(cli=cli, run=run).health()
        assert not health.ok
        assert health.remedy


def test_the_command_line_is_as_decided() -> None:
    """D-45."""
    program = ClaudeEngineDriver(environ={}).program(launch(SESSION))
    argv = list(program.argv)
    assert argv[:2] == ["/opt/engine/claude", "-p"]
    for option, value in {
        "--input-format": "stream-json",
        "--output-format": "stream-json",
        "--permission-mode": "bypassPermissions",
        "--setting-sources": "project",
        "--model": "sonnet",
        "--resume": SESSION,
    }.items():
        assert argv[argv.index(option) + 1] == value
    assert {"--verbose", "--include-partial-messages", "--strict-mcp-config"} <= set(argv)
    servers = json.loads(argv[argv.index("--mcp-config") + 1])
    expected = {"type": "http", "url": "http://127.0.0.1:4141/mcp", "alwaysLoad": True}
    assert servers == {"mcpServers": {"melipona": expected}}


def test_its_environment_holds_places_in_the_box_and_no_secret() -> None:
    secret = {"ANTHROPIC_API_KEY": "sk-ant-secret", "ANTHROPIC_AUTH_TOKEN": "secret", "PATH": "/usr/bin"}
    program = ClaudeEngineDriver(environ=secret).program(launch())
    assert "secret" not in json.dumps([dict(program.env), list(program.argv), list(program.first_lines)])
    assert program.env["ANTHROPIC_API_KEY"] == PLACEHOLDER_KEY
    assert program.env["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:4141/model/anthropic"
    assert program.env["CLAUDE_CONFIG_DIR"] == "/home/agent/.claude"
    assert program.env["MCP_TIMEOUT"] == "600000"
    assert program.env["PATH"].startswith("/opt/mel/bin:")


def test_without_a_model_the_command_line_chooses() -> None:
    assert "--model" not in ClaudeEngineDriver(environ={}).program(launch(model=None)).argv


def test_the_system_prompt_goes_by_the_first_line_whatever_its_length() -> None:
    advice = "a line\n" * 50_000
    program = ClaudeEngineDriver(environ={}).program(launch(advice=advice))
    (first,) = program.first_lines
    assert "\n" not in first
    assert json.loads(first)["request"] == {"subtype": "initialize", "appendSystemPrompt": advice}
    assert max(len(word) for word in program.argv) < 1000


@pytest.mark.parametrize("session", ["--settings=/ws/evil", "x", f"{SESSION}\n", f" {SESSION}", ""])
def test_only_a_sessions_id_is_resumed(session: str) -> None:
    assert "--resume" not in ClaudeEngineDriver(environ={}).program(launch(session)).argv


def test_lines_are_single_lines_whatever_they_carry() -> None:
    driver = ClaudeEngineDriver(environ={})
    nasty = 'two\nlines \u2028 "quotes" \r \x00'
    lines = [
        driver.prompt_line(Prompt(nasty)),
        driver.set_model_line("r", nasty),
        driver.permission_line("r", allow=False, message=nasty),
        driver.interrupt_line(nasty),
        driver.context_line("r"),
        driver.compact_line(),
    ]
    for line in lines:
        assert line is not None
        assert len(line.splitlines()) == 1
        assert json.loads(line)["type"]
    assert json.loads(str(lines[0]))["message"]["content"] == nasty


def test_managed_settings_have_the_last_word_on_what_a_repository_could_turn() -> None:
    """T22: a repository's file of the same shape loses against these."""
    settings = managed_settings("127.0.0.1:9999")
    assert settings["allowManagedHooksOnly"] is settings["allowManagedPermissionRulesOnly"] is True
    assert settings["permissions"]["defaultMode"] == "bypassPermissions"
    assert settings["env"]["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:9999/model/anthropic"
    assert settings["apiKeyHelper"] == f"echo {PLACEHOLDER_KEY}"
    shipped = json.loads(managed_settings_file().read_text())
    assert shipped["env"]["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:4141/model/anthropic"


def test_a_box_gets_the_program_and_the_settings_read_only(tmp_path: Path) -> None:
    mounts = ClaudeEngineDriver(cli=a_cli(tmp_path)).mounts()
    assert [mount.target for mount in mounts] == ["/opt/engine/claude", "/etc/claude-code/managed-settings.json"]
