"""Lives of a daemon. Leases and operations carry the epoch that holds them; one of an older epoch belongs to a daemon
that is gone (D-16)."""

from __future__ import annotations

from sqlalchemy import Connection, insert, update

from melipona.ids import EpochId
from melipona.store import events
from melipona.store.engine import now
from melipona.store.jumps import meet_clock, newest_event_at
from melipona.store.schema import epochs


def begin_epoch(c: Connection, *, host: str, pid: int, version: str) -> EpochId:
    """A daemon begins: its epoch. Older ones that never ended are closed, they are known to be gone (`flock`)."""
    at, newest = now(c), newest_event_at(c)
    unclean = c.execute(
        update(epochs)
        .where(epochs.c.ended_at.is_(None), epochs.c.host == host)
        .values(ended_at=at, ended_why="unclean")
    ).rowcount
    epoch = c.execute(insert(epochs).values(host=host, pid=pid, started_at=at).returning(epochs.c.id)).scalar_one()
    data = {"epoch": epoch, "pid": pid, "version": version, "after_unclean_end": unclean > 0}
    events.record(c, "daemon.started", data=data)
    meet_clock(c, newest)
    return EpochId(epoch)


def end_epoch(c: Connection, epoch: EpochId, *, why: str) -> None:
    """A daemon ends in an orderly way."""
    c.execute(update(epochs).where(epochs.c.id == epoch).values(ended_at=now(c), ended_why=why))
    events.record(c, "daemon.stopping", data={"epoch": epoch, "why": why})
