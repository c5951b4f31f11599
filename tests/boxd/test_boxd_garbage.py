"""No frame from its daemon, however broken, ends boxd: PID 1's death would be the box's (D-44)."""

from __future__ import annotations

import json
import random
from typing import Any

import anyio
import pytest

from melipona.boxes.inside import boxd as inside
from melipona.boxes.sockets import listen_unix
from melipona.boxes.wire import frame
from melipona.testing.boxd_outside import BoxdProcess

from .conftest import SOON, Daemons, hear, shell

pytestmark = pytest.mark.anyio

OPERATIONS = [name[3:] for name in dir(inside.Control) if name.startswith("do_")]
FIELDS = (
    "id seq at more number key rows columns fol to argv env cwd terminal lossless n protocol op ev".split()  # noqa: SIM905
)


def _value(rng: random.Random, depth: int = 0) -> Any:
    kinds = [
        lambda: None,
        lambda: rng.choice([True, False]),
        lambda: rng.choice([-1, 0, 1, 2, 9, 65536, 1 << 31, 1 << 63, 1 << 200, -(1 << 70)]),
        lambda: rng.choice([0.5, 1e308, -0.0]),
        lambda: rng.choice(["", "p", "\0", "\ud800", "x" * 70, "../..", "é"]),
        lambda: [_value(rng, depth + 1) for _ in range(rng.randrange(3))] if depth < 3 else [],
        lambda: {str(_value(rng, 3)): _value(rng, depth + 1) for _ in range(rng.randrange(3))} if depth < 3 else {},
    ]
    return rng.choice(kinds)()


def _head(rng: random.Random) -> dict[str, Any]:
    head = {name: _value(rng) for name in FIELDS if rng.random() < 0.5}
    if rng.random() < 0.9:
        head["op"] = rng.choice([name for name in OPERATIONS if name != "welcome"])
    if rng.random() < 0.5:
        head["id"] = "p"
    if head.get("op") == "signal":
        head["number"] = rng.choice([0, 18, 64, 65, -1, None, "x"])
    return head


def _noise(rng: random.Random) -> bytes:
    kind = rng.randrange(4)
    if kind == 0:
        return rng.randbytes(rng.randrange(1, 100))
    if kind == 1:
        return (1 << 20).to_bytes(4, "big") + (1).to_bytes(4, "big")
    if kind == 2:
        return b"\xff" * 8 + b"x" * 100
    return (4).to_bytes(4, "big") + (1 << 31).to_bytes(4, "big") + b"null"


async def test_frames_of_nonsense_are_answered_and_boxd_lives(boxd: BoxdProcess, daemons: Daemons) -> None:
    """Three thousand operations with fields of every wrong kind, and a ping that is answered after each hundred."""
    rng = random.Random(20261121)
    listener = listen_unix(boxd.sockets, "ctl.sock")
    listener.setblocking(True)
    listener.settimeout(20)
    boxd.start()
    for _ in range(30):
        daemon, _ = listener.accept()
        with daemon:
            daemon.settimeout(20)
            for _ in range(100):
                text = json.dumps(_head(rng)).encode()
                blob = rng.randbytes(rng.randrange(20))
                daemon.sendall(len(text).to_bytes(4, "big") + len(blob).to_bytes(4, "big") + text + blob)
            daemon.sendall(frame({"op": "ping", "n": 12345}))
            heard = b""
            while b'"re":12345' not in heard:
                more = daemon.recv(1 << 20)
                assert more
                heard += more
    listener.close()
    await _lives(boxd, daemons)


async def test_noise_makes_boxd_hang_up_and_dial_again(boxd: BoxdProcess, daemons: Daemons) -> None:
    rng = random.Random(7)
    listener = listen_unix(boxd.sockets, "ctl.sock")
    listener.setblocking(True)
    listener.settimeout(20)
    boxd.start()
    for _ in range(25):
        daemon, _ = listener.accept()
        with daemon:
            daemon.sendall(_noise(rng))
    listener.close()
    await _lives(boxd, daemons)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"nul", b"\xff\xfe", b'{"op":1}', b"{} {}", b'{"op":"__init__"}'])
async def test_a_frame_that_is_no_request_costs_nothing(boxd: BoxdProcess, daemons: Daemons, text: bytes) -> None:
    listener = listen_unix(boxd.sockets, "ctl.sock")
    listener.setblocking(True)
    listener.settimeout(20)
    boxd.start()
    daemon, _ = listener.accept()
    with daemon:
        daemon.sendall(len(text).to_bytes(4, "big") + (0).to_bytes(4, "big") + text + frame({"op": "ping", "n": 1}))
        daemon.settimeout(20)
        heard = b""
        while b'"re":1' not in heard:
            heard += daemon.recv(1 << 20) or pytest.fail("boxd hung up")
    listener.close()


async def test_very_deep_json_does_not_end_boxd(boxd: BoxdProcess, daemons: Daemons) -> None:
    listener = listen_unix(boxd.sockets, "ctl.sock")
    listener.setblocking(True)
    boxd.start()
    daemon, _ = listener.accept()
    with daemon:
        text = b'{"op":"ping","n":1,"x":' + b"[" * 400_000 + b"]" * 400_000 + b"}"
        daemon.sendall(len(text).to_bytes(4, "big") + (0).to_bytes(4, "big") + text)
    listener.close()
    await _lives(boxd, daemons)


async def _lives(boxd: BoxdProcess, daemons: Daemons) -> None:
    """The same boxd serves the next daemon in full."""
    link = daemons.link()
    async with anyio.create_task_group() as tasks:
        await tasks.start(link.serve)
        await link.ready(SOON)
        assert await link.ping(SOON) < 5
        await link.start(shell("well", "echo well"))
        assert bytes((await hear(link, "well")).data) == b"well\n"
        await link.aclose()
    assert not boxd.ended()
