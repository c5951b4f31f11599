"""Files that bodies name: events carry what was verified in their own transaction; agents are told nothing (FR-7)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from melipona.files.vouching import CHANGE_MOST, TOKENS_MOST
from melipona.mail.tools import mail_tools
from melipona.testing.rooms import OPERATOR, Rooms

pytestmark = pytest.mark.anyio
PLAN = "/shared/ana/plan.md"


@pytest.fixture
async def shared(hive: Rooms) -> Rooms:
    """A hive in which one file is shared."""
    (hive.data / "shared" / "ana").mkdir(parents=True)
    (hive.data / "shared" / "ana" / "plan.md").write_text("the plan")
    return hive


async def data(hive: Rooms, kind: str) -> list[dict[str, Any]]:
    return [json.loads(event.data) for event in await hive.told(kind)]


async def test_a_message_and_its_delivery_name_the_files_of_that_moment(shared: Rooms) -> None:
    """BR-15: sent and delivered alike; what is gone by then is not named again."""
    ana, ben = await shared.agent("ana"), await shared.agent("ben")
    await shared.send(ana, "ben", f"read {PLAN}, not /shared/ana/none nor /state/plan.md")
    await shared.begin(ben)
    assert (await data(shared, "message.sent"))[0]["files"] == [PLAN]
    assert (await data(shared, "message.leased"))[0]["files"] == [PLAN]
    await shared.send(ana, "ben", f"again {PLAN}")
    (shared.data / "shared" / "ana" / "plan.md").unlink()
    await shared.call(_tool(shared, "receive"), ben)
    assert (await data(shared, "message.sent"))[1]["files"] == [PLAN]
    assert "files" not in (await data(shared, "message.leased"))[1]


@pytest.mark.threat("T23")
async def test_an_agent_is_never_told_which_paths_are_files(shared: Rooms) -> None:
    """I-43: neither by sending, receiving nor looking back: it would be a question about what others have."""
    ana, ben = await shared.agent("ana"), await shared.agent("ben")
    shared.folders.make_agent(ana.id, ana.agent)
    (shared.folders.state(ana.agent) / "secret.md").write_text("ana's own")
    answers = []
    for path in ("/agents/ana/state/secret.md", "/agents/ana/state/secreT.md"):
        sent = await shared.call(_tool(shared, "send"), ben, to="ana", body=f"I ask about {path}")
        answers.append({key: value for key, value in sent.items() if key != "id"})
    assert answers[0] == answers[1]
    await shared.begin(ana, limit=0)
    received = await shared.call(_tool(shared, "receive"), ana)
    recent = await shared.call(_tool(shared, "recent"), ana)
    for message in received["messages"] + recent["messages"]:
        assert not [key for key in message if key.startswith("files")]


async def test_what_is_looked_up_for_a_change_is_bounded_and_that_is_said(shared: Rooms) -> None:
    """A body that names ten thousand files, and a lease of many bodies."""
    ana, ben = await shared.agent("ana"), await shared.agent("ben")
    (shared.data / "shared" / "0").write_text("x")
    named = " ".join(f"/shared/{number}" for number in range(TOKENS_MOST + 1))
    for _ in range(4):
        await shared.send(ana, "ben", named)
    assert {(*item["files"], item["files_cut"]) for item in await data(shared, "message.sent")} == {("/shared/0", True)}
    for start in range(5):
        await shared.send(ana, "ben", " ".join(f"/shared/{start}-{number}" for number in range(TOKENS_MOST)))
    await shared.begin(ben)
    leased = await data(shared, "message.leased")
    assert [item.get("files_cut", False) for item in leased] == [True] * 4 + [False] + [True] * 4
    assert CHANGE_MOST == 2 * TOKENS_MOST


async def test_a_broadcast_is_looked_up_once(shared: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    """One body, however many read it."""
    for name in ("ana", "ben", "cleo"):
        await shared.agent(name)
    looks: list[str] = []
    is_served = shared.mail.files.is_served
    monkeypatch.setattr(shared.mail.files, "is_served", lambda path: looks.append(path) or is_served(path))
    await shared.send(OPERATOR, "*", f"all: {PLAN}")
    assert [item["files"] for item in await data(shared, "message.sent")] == [[PLAN]] * 3
    assert looks == [PLAN]


def _tool(hive: Rooms, name: str) -> Any:
    return next(tool for tool in mail_tools(hive.mail) if tool.name == name)
