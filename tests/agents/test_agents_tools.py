"""What agents learn about themselves and each other, and what they publish."""

from __future__ import annotations

import os
from typing import Any

import pytest
from sqlalchemy import Connection, insert

from melipona.agents.tools import agent_tools
from melipona.errors import AskedWrongly, Invalid, LimitReached, NotFound
from melipona.principals import AgentPrincipal
from melipona.store.engine import now
from melipona.store.schema import boxes
from melipona.testing.rooms import OPERATOR, Rooms, ToolCall
from melipona.tool import Tool

pytestmark = pytest.mark.anyio


def tool(hive: Rooms, name: str, **more: Any) -> Tool:
    return next(tool for tool in agent_tools(hive.agents, hive.folders, **more) if tool.name == name)


async def with_folders(hive: Rooms, name: str) -> AgentPrincipal:
    agent = await hive.agent(name)
    hive.folders.make_agent(agent.id, agent.agent)
    return agent


def have_box(c: Connection, agent: AgentPrincipal) -> None:
    row = {"id": f"box-{agent.agent}", "agent_id": agent.id, "driver": "bubblewrap", "state": "up", "host": "h"}
    c.execute(insert(boxes).values(row | {"created_at": now(c), "entered_at": now(c)}))


async def test_whoami_tells_name_folders_limits_and_what_is_left(hive: Rooms) -> None:
    """BR-12: the same paths for everybody."""
    ana = await hive.agent("ana", turns_per_hour=7, send_allow=["ben"])
    answer = await hive.call(tool(hive, "whoami", budget_left=lambda c, a: 1_500_000), ana)
    assert (answer["name"], answer["role"], answer["budget_left_usd"]) == ("ana", "worker", 1.5)
    assert answer["folders"]["notes"] == "/agents/ana/state"
    assert (answer["limits"]["turns_per_hour"], answer["limits"]["receive_seconds"]) == (7, 180)
    assert answer["limits"]["may_write_to"] == ["ben", "operator"]


async def test_list_agents_shows_state_and_the_status_of_those_that_have_a_box(hive: Rooms) -> None:
    """ASK-2: with its age, absent when unset or without a box."""
    ana, ben = await hive.agent("ana"), await hive.agent("ben")
    await hive.agent("cleo")
    await hive.agents.stop(OPERATOR, "cleo")
    for agent in (ana, ben):
        await hive.call(tool(hive, "set_status"), agent, text="  baking\n bread ")
    await hive.store.write(have_box, ben)
    hive.later(seconds=90)
    answer = await hive.call(tool(hive, "list_agents"), ana)
    assert answer["agents"] == [
        {"name": "ana", "role": "worker", "state": "idle", "you": True},
        {"name": "ben", "role": "worker", "state": "idle", "status": "baking bread", "status_age_seconds": 90},
        {"name": "cleo", "role": "worker", "state": "off"},
    ]


async def test_list_agents_takes_the_state_words_that_are_derived_elsewhere(hive: Rooms) -> None:
    """D-37."""
    ana = await hive.agent("ana")

    async def states() -> dict[str, str]:
        return {"ana": "queued"}

    answer = await hive.call(tool(hive, "list_agents", states=states), ana)
    assert answer["agents"][0]["state"] == "queued"


async def test_a_status_is_short_and_an_empty_one_clears_it(hive: Rooms) -> None:
    """ASK-2."""
    ana = await hive.agent("ana")
    with pytest.raises(Invalid, match="at most 200"):
        await hive.call(tool(hive, "set_status"), ana, text="x" * 201)
    await hive.call(tool(hive, "set_status"), ana, text="y" * 200)
    assert (await hive.look("ana")).status_text == "y" * 200
    await hive.call(tool(hive, "set_status"), ana, text=" ")
    assert (await hive.look("ana")).status_text is None


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("work", "/ws/out/r.md"),
        ("work", "out/r.md"),
        ("home", "/home/agent/out/r.md"),
        ("state", "/agents/ana/state/out/r.md"),
    ],
)
async def test_a_file_of_ones_own_folders_is_published_as_a_copy(hive: Rooms, place: str, path: str) -> None:
    """D-8, NX-3: readable by all boxes, written by the daemon."""
    ana = await with_folders(hive, "ana")
    folder = {
        "work": hive.folders.work(ana.id),
        "home": hive.folders.home(ana.id),
        "state": hive.folders.state(ana.agent),
    }[place]
    (folder / "out").mkdir()
    (folder / "out" / "r.md").write_bytes(b"report\x00\xff")
    answer = await hive.call(tool(hive, "publish"), ana, path=path)
    assert answer == {"path": "/shared/ana/r.md", "bytes": 8}
    copy = hive.data / "shared" / "ana" / "r.md"
    assert copy.read_bytes() == b"report\x00\xff"
    assert (copy.stat().st_mode & 0o777, copy.stat().st_uid) == (0o644, os.geteuid())
    assert [entry.name for entry in copy.parent.iterdir()] == ["r.md"]
    (event,) = await hive.told("file.published")
    assert event.agent == "ana"


async def test_publishing_again_replaces_and_a_repeated_call_does_not(hive: Rooms) -> None:
    """D-23: one call, one effect."""
    ana = await with_folders(hive, "ana")
    source, copy = hive.folders.work(ana.id) / "r.md", hive.data / "shared" / "ana" / "r.md"
    source.write_text("one")
    call = ToolCall(hive.store, ana, {"path": "r.md"})
    await tool(hive, "publish").handler(call)
    source.write_text("two")
    await tool(hive, "publish").handler(call)
    assert copy.read_text() == "one"
    await hive.call(tool(hive, "publish"), ana, path="r.md")
    assert copy.read_text() == "two"
    assert len(list(copy.parent.iterdir())) == 1


HOSTILE = {
    "up": "../secret",
    "far up": "/ws/../../../../secret",
    "relative link": "rel",
    "absolute link": "abs",
    "link through proc": "magic",
    "linked folder": "up/secret",
    "fifo": "fifo",
    "hard link": "hard",
    "folder": "folder",
    "the folder itself": "/ws/",
    "nul": "ok\0x",
    "elsewhere": "/etc/passwd",
    "another agent": "/agents/ben/state/secret",
    "beginning alike": "/ws2/secret",
    "hidden name": ".hidden",
    "newline": "a\nb",
    "missing": "nothing",
}


@pytest.mark.parametrize("case", sorted(HOSTILE))
async def test_nothing_but_a_plain_file_below_ones_own_folders_is_published(hive: Rooms, case: str) -> None:
    """T23: links, fifos, hard links, NUL, `..`, others' folders."""
    ana = await with_folders(hive, "ana")
    await with_folders(hive, "ben")
    work = hive.folders.work(ana.id)
    secret = hive.data / "secret"
    for file in (secret, work.parent / "secret", hive.folders.state((await hive.look("ben")).name) / "secret"):
        file.write_text("SECRET")
    (work / "rel").symlink_to("../secret")
    (work / "abs").symlink_to(secret)
    (work / "magic").symlink_to(f"/proc/self/root{secret}")
    (work / "up").symlink_to("..")
    os.mkfifo(work / "fifo")
    (work / "hard").hardlink_to(secret)
    (work / "folder").mkdir()
    for name in ("ok", ".hidden", "a\nb"):
        (work / name).write_text("fine")
    with pytest.raises(AskedWrongly) as refusal:
        await hive.call(tool(hive, "publish"), ana, path=HOSTILE[case])
    assert str(hive.data) not in str(refusal.value), "no host path is told to an agent"
    assert not (hive.data / "shared" / "ana").exists() or list((hive.data / "shared" / "ana").iterdir()) == []


async def test_a_published_file_has_at_most_one_mebibyte(hive: Rooms) -> None:
    """D-8."""
    ana = await with_folders(hive, "ana")
    big = hive.folders.work(ana.id) / "big"
    big.write_bytes(b"x" * (1 << 20))
    assert (await hive.call(tool(hive, "publish"), ana, path="big"))["bytes"] == 1 << 20
    big.write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(LimitReached, match="1048576"):
        await hive.call(tool(hive, "publish"), ana, path="big")


async def test_the_number_of_published_files_is_bounded(hive: Rooms) -> None:
    """T35: an old one can still be replaced."""
    ana = await with_folders(hive, "ana")
    shelf = hive.data / "shared" / "ana"
    shelf.mkdir()
    for number in range(1000):
        (shelf / f"{number}").touch()
    for name in ("new", "7"):
        (hive.folders.work(ana.id) / name).write_text("x")
    with pytest.raises(LimitReached, match="1000 files"):
        await hive.call(tool(hive, "publish"), ana, path="new")
    await hive.call(tool(hive, "publish"), ana, path="7")


async def test_a_missing_file_is_not_found(hive: Rooms) -> None:
    """Errors say what happened."""
    ana = await with_folders(hive, "ana")
    with pytest.raises(NotFound, match=r"no file nothing\.md"):
        await hive.call(tool(hive, "publish"), ana, path="nothing.md")
