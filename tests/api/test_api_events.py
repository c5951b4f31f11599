"""The live stream of events: nothing missed, nothing twice, resumed by id, bounded (OP-8, D-33)."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import pytest

from melipona.api import live
from melipona.client import Client
from melipona.store import events
from melipona.store.engine import Event
from melipona.testing.served import ServedHive
from melipona.views.events import event_json

DEADLINE = 20.0


class Follower:
    """Follows the events in a thread."""

    def __init__(self, client: Client, stop: Callable[[list[int]], bool], **query: object) -> None:
        self.numbers: list[int] = []
        self.names: list[str] = []
        self.last: str | None = None
        self.open = threading.Event()
        self._client, self._stop, self._query = client, stop, query
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        for name, identifier, data in self._client.stream("/events", **self._query):  # type: ignore[arg-type]
            self.open.set()
            self.names.append(name)
            self.last = identifier
            if name == "message":
                self.numbers.append(data["id"])
            if self._stop(self.numbers):
                return

    def wait(self) -> None:
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive()


def _record(hive: ServedHive, count: int, agent: str | None = None) -> None:
    async def many() -> None:
        for _ in range(count):
            await hive.services.store.write(events.record, "test.happened", agent=agent)

    hive.run(many())


def test_a_follower_gets_every_event_once_in_order_while_others_write(hive: ServedHive) -> None:
    """D-33: from stored to live without a gap, with several followers that begin at different moments."""
    _record(hive, 700)
    followers = [Follower(hive.client, lambda seen: bool(seen) and seen[-1] >= 1500, after=0)]
    for _ in range(4):
        _record(hive, 200)
        followers.append(Follower(hive.client, lambda seen: bool(seen) and seen[-1] >= 1500, after=100))
    for at, follower in enumerate(followers):
        follower.wait()
        assert follower.numbers == list(range(1 if at == 0 else 101, 1501))


def test_a_follower_resumes_by_id_after_the_daemon_was_away(hive: ServedHive) -> None:
    """Last-Event-ID holds the store's id and the number."""
    _record(hive, 10)
    first = Follower(hive.client, lambda seen: len(seen) == 5, after=0)
    first.wait()
    assert first.last is not None
    second = Follower(hive.client, lambda seen: len(seen) == 5, last=first.last)
    second.wait()
    assert second.numbers == [6, 7, 8, 9, 10]


@pytest.mark.parametrize("last", ["another-store-3", "garbage", "-", "{store}-999999"])
def test_an_unknown_store_or_number_is_answered_by_reset(hive: ServedHive, last: str) -> None:
    """D-33: the client fetches the snapshot again, and goes on from there."""
    _record(hive, 3)
    state = hive.client.get("/state")
    stream = hive.client.stream("/events", last=last.format(store=state["store"]))
    name, identifier, data = next(stream)
    assert (name, data) == ("reset", {"store": state["store"], "event": 3})
    assert identifier == f"{state['store']}-3"
    _record(hive, 1)
    assert next(stream)[2]["id"] == 4


def test_the_snapshot_and_the_stream_fit_together(hive: ServedHive) -> None:
    """D-33: what happens after the snapshot comes, and only that."""
    _record(hive, 5)
    state = hive.client.get("/state")
    _record(hive, 2)
    stream = hive.client.stream("/events", after=f"{state['store']}-{state['event']}")
    assert [next(stream)[2]["id"] for _ in range(2)] == [6, 7]


def test_a_follower_of_one_agent_gets_only_its_events(hive: ServedHive) -> None:
    """Stored and live ones alike."""
    _record(hive, 2, "ana")
    _record(hive, 2, "ben")
    stream = hive.client.stream("/events", after=0, agent="ben")
    assert [next(stream)[2]["id"] for _ in range(2)] == [3, 4]
    _record(hive, 1, "ana")
    _record(hive, 1, "ben")
    assert next(stream)[2]["id"] == 6


def test_an_event_is_encoded_once_for_all_followers(hive: ServedHive, monkeypatch: pytest.MonkeyPatch) -> None:
    """PERFORMANCE.md section 11, rule 12."""
    encoded: list[int] = []
    plain = event_json

    def counted(event: Event) -> str:
        encoded.append(event.id)
        return plain(event)

    monkeypatch.setattr(live, "event_json", counted)
    followers = [Follower(hive.client, lambda seen: len(seen) == 3) for _ in range(5)]
    _until(lambda: _clients(hive) == 5)
    _record(hive, 3)
    for follower in followers:
        follower.wait()
    assert sorted(encoded) == [1, 2, 3]


def test_a_reader_that_does_not_read_is_cut_and_hurts_nobody(hive: ServedHive, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full queue means closed; the client resumes by id."""
    monkeypatch.setattr(live, "QUEUE", 50)
    with socket.socket(socket.AF_UNIX) as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.settimeout(DEADLINE)
        lazy.connect(str(hive.data / "run" / "mel.sock"))
        lazy.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        _until(lambda: _clients(hive) == 1)
        for _ in range(60):
            if _clients(hive) == 0:
                break
            _record(hive, 100)
        assert _clients(hive) == 0
        assert _ends(lazy)


def test_the_page_of_events_is_newest_first_and_keyed(hive: ServedHive) -> None:
    """D-38; with `after`, oldest first as a follower reads them."""
    _record(hive, 7)
    page = hive.client.get("/events/page", limit=3)
    assert [event["id"] for event in page["items"]] == [7, 6, 5]
    page = hive.client.get("/events/page", limit=3, next=page["next"])
    assert [event["id"] for event in page["items"]] == [4, 3, 2]
    page = hive.client.get("/events/page", limit=3, next=page["next"])
    assert ([event["id"] for event in page["items"]], page["next"]) == ([1], None)
    up = hive.client.get("/events/page", limit=3, after=2)
    assert [event["id"] for event in up["items"]] == [3, 4, 5]
    up = hive.client.get("/events/page", limit=3, after=2, next=up["next"])
    assert ([event["id"] for event in up["items"]], up["next"]) == ([6, 7], None)


def test_an_event_has_the_promised_fields(hive: ServedHive) -> None:
    """Issue "The hive runs": an event has id, kind, at; who asked and for which request stands beside (audit)."""
    hive.client.post("/agents", {"name": "ana", "engine": "playbook"})
    event = hive.client.get("/events/page", kind="agent.created")["items"][0]
    assert event["kind"] == "agent.created"
    assert event["at"].endswith("Z")
    assert event["by"] == "operator"
    assert event["agent"] == "ana"
    assert event["request_id"]


def _ends(sock: socket.socket) -> bool:
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def _clients(hive: ServedHive) -> int:
    import http.client

    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(hive.data / "run" / "mel.sock"))
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    line = next(line for line in text.splitlines() if line.startswith("melipona_sse_clients "))
    return int(float(line.split()[1]))


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
