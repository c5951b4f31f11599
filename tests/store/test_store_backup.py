"""A backup taken while the hive runs restores to the same hive; nothing hostile is followed (D-35, I-18, T23)."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import socket
import sqlite3
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select

from melipona.clock import ManualClock
from melipona.errors import Conflict, Invalid, NotFound, StoreFull
from melipona.store import events
from melipona.store.backup import STORE, backup, restore, unpack_backup, write_backup
from melipona.store.engine import Store
from melipona.store.schema import login_links, meta, people, sessions
from melipona.store.seals import Sealer, head, verify

pytestmark = pytest.mark.anyio


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder as a daemon leaves it."""
    folder = tmp_path / "data"
    for path in (
        "agents/ana/state",
        "agents/ana/inbox",
        "shared/mail",
        "shared/ben",
        "operator/mail",
        "turns/0",
        "homes/id-ana/home/.claude",
        "homes/id-ana/ws",
        "homes/id-old/named/state",
        "run",
    ):
        (folder / path).mkdir(parents=True)
    folder.chmod(0o700)
    for path, text in {
        "agents/ana/state/notes.md": "remember",
        "agents/ana/inbox/12.md": "a long body",
        "shared/mail/13.md": "to all",
        "operator/mail/14.md": "to you",
        "turns/0/7.jsonl": '{"offset": 1}\n',
        "homes/id-ana/home/.claude/session.jsonl": "session",
        "homes/id-ana/ws/big": "workspace",
        "homes/id-old/named/state/notes.md": "of a tombstone",
        "anthropic.key": "sk-canary",
        "run/port": "canary",
    }.items():
        (folder / path).write_text(text)
    return folder


@pytest.fixture
async def store(data: Path) -> AsyncIterator[Store]:
    store = await Store.open(data / STORE, ManualClock())
    await store.write(fill)
    await Sealer(store).finish()
    yield store
    await store.close()


def fill(c: Connection) -> None:
    for number in range(50):
        events.record(c, "test.made", agent="ana", data={"n": number})
    owner = c.execute(select(people.c.id)).scalar_one()
    by = {"person_id": owner, "created_at": 1}
    c.execute(insert(sessions).values(id_hash="h", method="m", user_agent="u", seen_at=1, **by, **_ends()))
    c.execute(insert(login_links).values(token_hash="canary", ends_at=2, **by))


def _ends() -> dict[str, int]:
    return {"ends_at": 9, "idle_ends_at": 9}


def names(archive: Path) -> set[str]:
    with tarfile.open(archive) as tar:
        return {member.name for member in tar if member.isreg()}


async def test_a_backup_of_a_running_hive_restores(store: Store, data: Path, tmp_path: Path) -> None:
    """D-35, I-18, D-33: everything is there again, under a new store id, and the events verify."""
    seen: list[str] = []
    told = await backup(data, tmp_path / "hive.tar.gz", progress=lambda name, _: seen.append(name))
    assert told["head"] == await store.read(head)
    assert told["files"] == len(seen) == len(names(tmp_path / "hive.tar.gz")) - 1
    assert (tmp_path / "hive.tar.gz").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []

    new = tmp_path / "new"
    found = await restore(tmp_path / "hive.tar.gz", new)
    assert found["head"] == told["head"]
    assert (new / "agents/ana/state/notes.md").read_text() == "remember"
    assert (new / "agents/ana/inbox/12.md").read_text() == "a long body"
    assert (new / "agents/ana/inbox/12.md").stat().st_mode & 0o777 == 0o644, "the box's uid reads it"
    assert (new / "homes/id-old/named/state/notes.md").read_text() == "of a tombstone"
    assert (new / "turns/0/7.jsonl").exists()
    assert (new / "operator/mail/14.md").exists()
    assert not (new / "homes/id-ana").exists()
    restored = await Store.open(new / STORE, ManualClock())
    try:
        assert (await restored.read(verify)).ok
        assert await restored.read(events.last_number) == 50
        query = select(meta.c.value).where(meta.c.key == "store_id")
        old_id = await store.read(lambda c: c.execute(query).scalar_one())
        new_id = await restored.read(lambda c: c.execute(query).scalar_one())
        assert new_id == found["store"] != old_id
        assert await restored.read(lambda c: c.execute(select(sessions)).all()) == []
        await restored.write(fill)
    finally:
        await restored.close()


async def test_homes_come_only_when_asked_for(store: Store, data: Path, tmp_path: Path) -> None:
    """D-35: with --homes engine sessions too."""
    del store
    write_backup(data, tmp_path / "a.tar.gz", homes=True)
    assert "homes/id-ana/home/.claude/session.jsonl" in names(tmp_path / "a.tar.gz")
    assert not any("/ws/" in name for name in names(tmp_path / "a.tar.gz"))


async def test_no_key_and_no_login_is_in_a_backup(store: Store, data: Path, tmp_path: Path) -> None:
    """D-35, T37: a canary set everywhere a key can be is found nowhere."""
    del store
    write_backup(data, tmp_path / "a.tar.gz", homes=True)
    assert b"canary" not in gzip.decompress((tmp_path / "a.tar.gz").read_bytes())


async def test_hostile_files_are_left_out_and_never_followed(store: Store, data: Path, tmp_path: Path) -> None:
    """T23: pipes, links, second names, sockets, holes; names with newlines and odd bytes are only names."""
    del store
    secret = tmp_path / "secret"
    secret.write_text("outside words")
    state = data / "agents/ana/state"
    os.mkfifo(state / "pipe")
    (state / "link").symlink_to(secret)
    (state / "folder-link").symlink_to(tmp_path)
    (state / "up").symlink_to("..")
    os.link(state / "notes.md", state / "second-name")
    (state / "a\nb").write_text("newline")
    (state / os.fsdecode(b"\xff\xfe")).write_text("odd")
    with (state / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    server = socket.socket(socket.AF_UNIX)
    server.bind(os.path.relpath(state / "sock"))
    server.close()
    deep = state
    for _ in range(150):
        deep /= "d"
        deep.mkdir()
    (data / "shared/ben/link.md").symlink_to(secret)

    told = write_backup(data, tmp_path / "a.tar.gz")
    stored = names(tmp_path / "a.tar.gz")
    for left_out in ("pipe", "link", "folder-link", "up", "second-name", "notes.md", "sparse", "sock"):
        assert f"agents/ana/state/{left_out}" not in stored
        assert any(f"state/{left_out}'" in note for note in told["notes"]), left_out
    assert "agents/ana/state/a\nb" in stored
    assert os.fsdecode(b"agents/ana/state/\xff\xfe") in stored
    assert any("too deep" in note for note in told["notes"])
    assert b"outside words" not in gzip.decompress((tmp_path / "a.tar.gz").read_bytes())
    unpack_backup(tmp_path / "a.tar.gz", tmp_path / "new")
    assert (tmp_path / "new/agents/ana/state/a\nb").read_text() == "newline"


async def test_a_swapped_folder_is_not_followed(store: Store, data: Path, tmp_path: Path) -> None:
    """T23: no moment between a look and its use matters. A folder is swapped for a link all the while."""
    del store
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("outside words")
    inner = data / "agents/ana/state/inner"
    inner.mkdir()
    (inner / "file").write_text("inside")
    stop = asyncio.Event()

    async def swap() -> None:
        while not stop.is_set():
            inner.rename(inner.with_name("aside"))
            inner.symlink_to(outside)
            await asyncio.sleep(0)
            inner.unlink()
            inner.with_name("aside").rename(inner)
            await asyncio.sleep(0)

    task = asyncio.create_task(swap())
    for number in range(10):
        target = tmp_path / f"{number}.tar.gz"
        await backup(data, target)
        assert b"outside words" not in gzip.decompress(target.read_bytes())
    stop.set()
    await task


async def test_a_growing_or_shrinking_file_does_not_break_the_archive(store: Store, data: Path, tmp_path: Path) -> None:
    """A turn log grows while it is copied; an agent cuts its file."""
    del store
    big = data / "agents/ana/state/big"
    big.write_bytes(os.urandom(1 << 20))
    cut: list[str] = []

    def progress(name: str, _: int) -> None:
        if name == STORE:
            cut.append(name)
            with (data / "turns/0/7.jsonl").open("a") as file:
                file.write("x" * 1000)

    write_backup(data, tmp_path / "a.tar.gz", progress=progress)
    assert cut
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        assert len(tar.getmembers()) > 5


@pytest.mark.parametrize("size", [0, 1, 4096, 10_000])
def test_what_cannot_be_read_any_more_is_zeros(tmp_path: Path, size: int) -> None:
    """The size that the header told must be kept."""
    from melipona.store.archive import _Exactly  # pyright: ignore[reportPrivateUsage]

    (tmp_path / "f").write_bytes(b"a" * size)
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    reader = _Exactly(fd, 8192)
    raw = b"".join(iter(lambda: reader.read(1000), b""))
    os.close(fd)
    assert raw == b"a" * min(size, 8192) + bytes(max(0, 8192 - size))
    assert reader.padded == (size < 8192)


async def test_a_backup_never_replaces_a_file(store: Store, data: Path, tmp_path: Path) -> None:
    del store
    target = tmp_path / "a.tar.gz"
    target.write_text("mine")
    with pytest.raises(Conflict):
        write_backup(data, target)
    assert target.read_text() == "mine"
    with pytest.raises(Conflict):
        write_backup(data, data / "shared/backup.tar.gz")
    with pytest.raises(NotFound):
        write_backup(data, tmp_path / "nowhere/backup.tar.gz")
    with pytest.raises(NotFound):
        write_backup(tmp_path / "empty", tmp_path / "b.tar.gz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "data"]


async def test_a_failed_backup_leaves_nothing(
    store: Store, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk while writing: an error, and no half file."""
    del store

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("melipona.store.backup.os.fsync", full)
    with pytest.raises(StoreFull):
        write_backup(data, tmp_path / "a.tar.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


async def test_a_restore_needs_an_empty_folder(store: Store, data: Path, tmp_path: Path) -> None:
    """D-35."""
    del store
    write_backup(data, tmp_path / "a.tar.gz")
    new = tmp_path / "new"
    new.mkdir()
    (new / "mine").write_text("mine")
    with pytest.raises(Conflict):
        unpack_backup(tmp_path / "a.tar.gz", new)
    assert (new / "mine").read_text() == "mine"


def rewritten(archive: Path, target: Path, change: dict[str, bytes], extra: tarfile.TarInfo | None = None) -> Path:
    with tarfile.open(archive) as old, tarfile.open(target, "w:gz") as new:
        for member in old:
            source = old.extractfile(member)
            raw = change.get(member.name, source.read() if source else b"")
            member.size = len(raw)
            new.addfile(member, io.BytesIO(raw))
        if extra is not None:
            new.addfile(extra)
    return target


async def test_a_forged_backup_is_refused_and_leaves_nothing(store: Store, data: Path, tmp_path: Path) -> None:
    """Damaged, changed, foreign or escaping archives."""
    del store
    good = tmp_path / "a.tar.gz"
    write_backup(data, good)
    unpack_backup(good, tmp_path / "taken-apart")
    changed = tmp_path / "changed.db"
    (tmp_path / "taken-apart" / STORE).rename(changed)
    with sqlite3.connect(changed) as c:
        c.execute("DROP TRIGGER events_no_update")
        c.execute("UPDATE events SET data='{}' WHERE id=5")
        c.execute("PRAGMA journal_mode=DELETE")
    c.close()
    escaping = tarfile.TarInfo("shared/../../escaped")
    link = tarfile.TarInfo("shared/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    cases = [
        rewritten(good, tmp_path / "1", {STORE: changed.read_bytes()}),
        rewritten(good, tmp_path / "2", {STORE: b"nonsense" * 1000}),
        rewritten(good, tmp_path / "3", {"backup.json": b"{}"}),
        rewritten(good, tmp_path / "4", {"backup.json": b'{"format": 99, "schema": "9999"}'}),
        rewritten(good, tmp_path / "5", {}, escaping),
        rewritten(good, tmp_path / "6", {}, link),
        rewritten(good, tmp_path / "7", {}, tarfile.TarInfo("etc/passwd")),
    ]
    (tmp_path / "8").write_bytes(good.read_bytes()[:2000])
    (tmp_path / "9").write_text("no archive")
    for case in [*cases, tmp_path / "8", tmp_path / "9"]:
        new = tmp_path / "new"
        with pytest.raises((Invalid, Exception)) as caught:
            unpack_backup(case, new)
        assert type(caught.value).__module__ == "melipona.errors", (case.name, caught.value)
        assert list(new.iterdir()) == [], case.name
        assert not (tmp_path / "escaped").exists()


async def test_agents_files_belong_to_the_box_owner(store: Store, data: Path, tmp_path: Path) -> None:
    """D-6: as root the owner uid owns what agents write; the rest is the daemon's."""
    del store
    write_backup(data, tmp_path / "a.tar.gz", homes=True)
    root = os.geteuid() == 0
    owner = (64000, 64000) if root else (os.geteuid(), os.getegid())
    unpack_backup(tmp_path / "a.tar.gz", tmp_path / "new", box_owner=owner)
    for path, uid in {
        "agents/ana/state": owner[0],
        "agents/ana/state/notes.md": owner[0],
        "homes/id-ana/home/.claude/session.jsonl": owner[0],
        "agents/ana/inbox/12.md": os.geteuid(),
        "agents/ana": os.geteuid(),
        "shared/mail/13.md": os.geteuid(),
        STORE: os.geteuid(),
    }.items():
        assert (tmp_path / "new" / path).stat().st_uid == uid, path
