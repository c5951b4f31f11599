"""The real Claude Code command line through the real gate: a whole turn, and refusals that end it at once (D-28)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from melipona.engines.base import inside_environment
from melipona.engines.claude import find_cli

from .hive import Hive, add_turn, open_hive, steps
from .test_mel_in_box import relay

pytestmark = [pytest.mark.anyio, pytest.mark.claude]
PROMPT = "go " + steps({"tool": "note", "input": {"body": "from the command line"}}, {"text": "fine"})


async def turn(hive: Hive, folder: Path) -> Mapping[str, Any]:
    """The result of one turn with PROMPT."""
    home = folder / "home"
    home.mkdir()
    async with relay(hive, "ana") as gate:
        await hive.store.write(add_turn, "ana")
        server = {"type": "http", "url": f"http://{gate}/mcp", "alwaysLoad": True}
        argv = [
            *(find_cli(os.environ), "-p", PROMPT, "--output-format", "json", "--setting-sources", ""),
            *("--strict-mcp-config", "--mcp-config", json.dumps({"mcpServers": {"melipona": server}})),
            *("--allowedTools", "mcp__melipona"),
        ]
        quiet = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}
        env = {**inside_environment(gate), **quiet, "HOME": str(home), "PATH": "/usr/bin:/bin"}
        with anyio.fail_after(90):
            done = await anyio.run_process([str(word) for word in argv], env=env, cwd=home, check=False)
    return json.loads(done.stdout)


async def test_a_turn_passes_and_its_cost_is_what_the_engine_itself_counts(tmp_path: Path) -> None:
    """D-28, D-30: nothing is refused or dropped; every model call is settled; the prices agree with the engine's."""
    async with open_hive(tmp_path) as hive:
        result = await turn(hive, tmp_path)
        assert (result["is_error"], result["result"]) == (False, "fine")
        assert [event.kind for event in await hive.events()] == ["test.effect"]
        assert not hive.gate.refusals.dropped_betas
        rows = await hive.spends()
        assert {(row["state"], row["turn"], row["estimated"]) for row in rows} == {("settled", 1, 0)}
        assert sum(row["cost_micro_usd"] for row in rows) == pytest.approx(result["total_cost_usd"] * 1e6)


@pytest.mark.parametrize(("why", "status"), [("no key", 401), ("spent", 402), ("key refused", 401)])
async def test_a_refusal_ends_the_turn_at_once_with_its_reason(tmp_path: Path, why: str, status: int) -> None:
    """D-29, D-30: the engine does not try again for ever; its one request is its last."""
    settings = {"budgets": {"hive_usd_per_day": 0.000001}} if why == "spent" else None
    key = {"key": ""} if why == "no key" else {}
    async with open_hive(tmp_path, settings=settings, hostile="401" if why == "key refused" else None, **key) as hive:
        if why == "spent":
            async with hive.client("ben") as box:
                request = {"model": "claude-opus-5", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
                assert (await box.post("/model/anthropic/v1/messages", json=request)).status_code == 200
        before = len(hive.stub.requests)
        result = await turn(hive, tmp_path)
        assert (result["is_error"], result["api_error_status"]) == (True, status)
        assert len(hive.stub.requests) - before <= 1
