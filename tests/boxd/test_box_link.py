"""The daemon's end: whom it hears, how it ends, and that every call does."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from melipona.boxes.link import Link, ProgramSpec
from melipona.boxes.link_unix import BoxLink
from melipona.boxes.sockets import dial_unix, listen_unix
from melipona.clock import SystemClock
from melipona.errors import BoxError, BoxLost, BoxProtocolError, Invalid, WorldFailed
from melipona.ids import BoxId, ProgramId
from melipona.testing.boxd_outside import boxd_outside

from .conftest import SOON, FakeBoxd, hear, shell, spec

pytestmark = pytest.mark.anyio


@pytest.mark.threat("T9")
async def test_only_the_boxs_init_is_heard(link: BoxLink, tmp_path: Path) -> None:
    """T9, SECURITY 3.5: children of the box can reach the socket file and are turned away by their pid."""
    stranger = FakeBoxd(tmp_path / "run")
    await stranger.hello()
    await stranger.hung_up()
    assert (await link.ready(SOON)).boxd != "x"


async def test_a_crowd_of_strangers_does_not_keep_the_init_out(link: BoxLink, tmp_path: Path) -> None:
    """T9: an agent may dial as often as it likes."""
    for _ in range(40):
        FakeBoxd(tmp_path / "run")
    assert link._connection is not None
    link._connection.abort()
    with anyio.fail_after(2):
        await link.wait_connected()
    assert await link.ping(SOON) < 5


async def test_an_init_that_dials_before_its_driver_knows_it_is_heard_all_the_same(tmp_path: Path) -> None:
    """A box may dial before `start` has returned its pid."""
    known: list[int] = []
    link = BoxLink(tmp_path, lambda pid: pid in known, clock=SystemClock())
    async with anyio.create_task_group() as tasks:
        await tasks.start(link.serve)
        boxd = FakeBoxd(tmp_path)
        await boxd.hello()
        known.append(os.getpid())
        await link.ready(SOON)
        await link.aclose()


async def test_a_newer_hello_takes_the_place_of_an_older_one(own_link: BoxLink, tmp_path: Path) -> None:
    first, second = FakeBoxd(tmp_path), FakeBoxd(tmp_path)
    await first.hello()
    await own_link.ready(SOON)
    await second.hello(boxd="second")
    await first.hung_up()
    assert (await own_link.ready(SOON)).boxd == "second"


async def test_a_daemon_accepts_a_box_with_a_welcome(own_link: BoxLink, tmp_path: Path) -> None:
    boxd = FakeBoxd(tmp_path)
    await boxd.hello()
    assert (await boxd.asked("welcome"))["protocol"] == 1


async def test_a_box_with_a_newer_protocol_is_flagged_and_not_driven(own_link: BoxLink, tmp_path: Path) -> None:
    """D-14: it is let finish and stopped by who holds the link; nothing is misread meanwhile."""
    boxd = FakeBoxd(tmp_path)
    await boxd.hello(protocol=7)
    assert (await own_link.ready(SOON)).protocol == 7
    assert own_link.newer
    with pytest.raises(BoxError) as caught:
        await own_link.start(spec("p", "true"))
    assert caught.value.code == "box_newer"


async def test_a_breach_ends_the_link_for_good_and_not_the_daemon(own_link: BoxLink, tmp_path: Path) -> None:
    """T8: every call says so from then on; whoever holds the link ends the box."""
    boxd = FakeBoxd(tmp_path)
    await boxd.hello()
    await own_link.ready(SOON)
    async with anyio.create_task_group() as tasks:

        async def call() -> None:
            with pytest.raises(BoxProtocolError):
                await own_link.ping(SOON)

        tasks.start_soon(call)
        await boxd.asked("ping")
        await boxd.say({"ev": "reply", "re": 999})
    assert isinstance(own_link.failure, BoxProtocolError)
    await boxd.hung_up()
    with pytest.raises(BoxProtocolError):
        await own_link.ready(SOON)
    with pytest.raises(BoxProtocolError):
        await anext(own_link.follow(ProgramId("p"), 0))
    again = FakeBoxd(tmp_path)
    await again.hello()
    await again.hung_up()


async def test_a_hello_of_another_box_is_a_breach(tmp_path: Path) -> None:
    link = BoxLink(tmp_path, lambda _: True, clock=SystemClock(), box=BoxId("mine"))
    async with anyio.create_task_group() as tasks:
        await tasks.start(link.serve)
        boxd = FakeBoxd(tmp_path)
        await boxd.hello()
        with pytest.raises(BoxProtocolError, match="outside"):
            await link.ready(SOON)
        await link.aclose()


async def test_every_call_to_a_box_that_never_answers_ends_at_its_deadline(own_link: BoxLink, tmp_path: Path) -> None:
    """T8, SECURITY 3.5 (5): a stopped box looks alive, so no call may wait for it for ever."""
    boxd = FakeBoxd(tmp_path)
    await boxd.hello()
    await own_link.ready(SOON)
    program = ProgramId("p")
    calls = [
        lambda: own_link.start(spec("p", "true")),
        lambda: own_link.write(program, 1, b"x\n"),
        lambda: own_link.end_input(program),
        lambda: own_link.signal(program, 15),
        lambda: own_link.resize(program, 1, 1),
        lambda: own_link.forget(program),
        lambda: anext(own_link.follow(program, 0)),
        lambda: own_link.ping(timedelta(seconds=0.1)),
    ]
    for call in calls:
        with anyio.fail_after(5), pytest.raises(BoxLost):
            await call()


async def test_a_box_that_is_stopped_fails_its_ping(link: BoxLink) -> None:
    """SECURITY 3.5 (5)."""
    await link.start(shell("self", "echo $PPID"))
    pid = int((await hear(link, "self")).data)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(BoxLost):
            await link.ping(timedelta(seconds=0.2))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert await link.ping(SOON) < 20


async def test_without_a_box_the_wait_for_it_ends_at_its_deadline(own_link: BoxLink) -> None:
    with pytest.raises(BoxLost):
        await own_link.ready(timedelta(seconds=0.05))
    with pytest.raises(BoxLost):
        await own_link.start(spec("p", "true"))


async def test_a_box_that_was_found_gone_fails_its_readers_at_once(own_link: BoxLink, tmp_path: Path) -> None:
    """A dead turn is given back in seconds, not after a deadline."""
    boxd = FakeBoxd(tmp_path)
    await boxd.hello()
    await own_link.wait_connected()
    boxd.socket.close()
    with anyio.fail_after(10):
        await own_link.wait_disconnected()
    own_link.fail(BoxLost("out of memory"))
    with pytest.raises(BoxLost, match="out of memory"):
        await own_link.start(spec("p", "true"))


async def test_acknowledgements_are_told_again_on_the_next_connection(own_link: BoxLink, tmp_path: Path) -> None:
    await own_link.acknowledge(ProgramId("p"), 10)
    await own_link.acknowledge(ProgramId("p"), 5)
    boxd = FakeBoxd(tmp_path)
    await boxd.hello()
    asked = await boxd.asked("ack")
    assert (asked["id"], asked["at"]) == ("p", 10)


async def test_a_request_too_long_for_a_frame_is_refused_before_it_is_sent(link: BoxLink) -> None:
    with pytest.raises(Invalid):
        await link.start(ProgramSpec(ProgramId("p"), ["x" * 2_000_000], {}))
    assert await link.ping(SOON) < 5


async def test_a_socket_folder_of_two_hundred_bytes_works(tmp_path: Path) -> None:
    """D-10: AF_UNIX ends at 107 bytes; data folders do not."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    async with boxd_outside(deep) as link:
        contract: Link = link
        await contract.start(shell("p", "echo deep"))
        assert bytes((await hear(link, "p")).data) == b"deep\n"
        with dial_unix(deep / "run", "ctl.sock"):
            pass


async def test_a_socket_takes_the_place_of_a_dead_one_with_its_own_mode(tmp_path: Path) -> None:
    listen_unix(tmp_path, "gate.sock").close()
    with pytest.raises(ConnectionRefusedError):
        dial_unix(tmp_path, "gate.sock")
    with listen_unix(tmp_path, "gate.sock", mode=0o660, gid=os.getgid()):
        assert (tmp_path / "gate.sock").stat().st_mode & 0o777 == 0o660
        dial_unix(tmp_path, "gate.sock").close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["gate.sock"]


async def test_a_socket_is_never_made_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(WorldFailed):
        listen_unix(tmp_path / "link", "gate.sock")
    with pytest.raises(ValueError, match="bare name"):
        listen_unix(tmp_path, "../gate.sock")
