"""What a starting daemon does with what older ones left: living boxes are taken over, dead ones are accounted for.

A box is known again by its handle. Where it lives, its sockets are bound anew, boxd dials in, and its open turn goes on
from the log's last offset. Where it is gone, or does not dial in within 30 s, its turn ends and the mail is given back
without counting as a failure (D-16, D-18).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import structlog
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskGroup, TaskStatus
from sqlalchemy import Connection

from melipona.agents import store as agent_rows
from melipona.boxes.driver import BoxDriver, BoxRef, BoxState
from melipona.boxes.folders import Folders
from melipona.boxes.link import Hello
from melipona.errors import BoxError, BoxLost, WorldFailed
from melipona.faults import fault
from melipona.ids import AgentId
from melipona.mail import store as mail_rows
from melipona.store import events
from melipona.store.engine import Store
from melipona.turns import box_rows, program_rows
from melipona.turns import store as rows
from melipona.turns.loop import Admitted, Turns
from melipona.turns.model import DAEMON_GONE, OpenTurn
from melipona.turns.parts import RunnerParts
from melipona.turns.station import Station, Stations

log = structlog.get_logger("adopt")


@dataclass(frozen=True, slots=True)
class Adoption:
    """Takes over what is there at a daemon's start."""

    store: Store
    driver: BoxDriver
    folders: Folders
    stations: Stations
    turns: Turns
    parts: RunnerParts
    host: str

    async def run(self, tasks: TaskGroup) -> None:
        """Begin to account for every box and open turn. What lives is taken over in `tasks`; until then its agent's
        lock is held, so that no second box of it starts."""
        await self._empty_trash()
        boxes = await self.store.read(box_rows.live_boxes, self.host)
        for row in boxes:
            await tasks.start(self._box, row, tasks, name=f"adopt the box of {row.agent}")
        await self._end_turns_without_box({row.agent_id for row in boxes})
        known = [row.id for row in boxes if row.handle is not None]
        await fault("turns.sweep.before_look")
        swept_boxes = await self.driver.sweep(self.folders.boxes, known)
        await fault("turns.sweep.after_look")
        for swept in swept_boxes:
            log.warning("ended a box that no row names", box=swept)
            await self.store.write_when_possible(_swept, swept)
        await self._clear_strays()

    async def _clear_strays(self) -> None:
        """Remove folders of boxes that are gone: a daemon may have died after the row and before the folder."""
        there = await asyncio.to_thread(self.folders.boxes_there)
        live = {row.id for row in await self.store.read(box_rows.live_boxes, self.host)}
        for box in there:
            if box not in live:
                await self.stations.clear(box)

    async def _empty_trash(self) -> None:
        try:
            await asyncio.to_thread(self.folders.empty_trash)
        except WorldFailed as error:
            log.warning("what was removed earlier is still there", error=error.message)

    async def _box(
        self, row: box_rows.BoxRow, tasks: TaskGroup, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED
    ) -> None:
        async with self.stations.lock(row.agent_id):
            task_status.started()
            if row.handle is None or await self._state(row) is BoxState.GONE:
                await self.store.write_when_possible(
                    box_rows.box_gone, row.id, row.agent, "gone when the daemon started"
                )
                await self.stations.clear(row.id)
            elif await self._take_over_box(row, tasks):
                return
            turn = await self.store.read(rows.open_turn_of, row.agent_id)
            if turn is not None:
                await self.store.write_when_possible(self._end_lost, turn)

    async def _take_over_box(self, row: box_rows.BoxRow, tasks: TaskGroup) -> bool:
        await fault("turns.adoption.before_open")
        station = await self.stations.open(row)
        await fault("turns.adoption.after_open")
        try:
            hello = await station.link.ready(timedelta(seconds=self.parts.settings.turns.adopt))
            if station.link.newer:
                raise BoxLost(f'the box of "{row.agent}" speaks a newer protocol than this Melipona')
            await self._forget_strangers(station, hello)
        except BoxError as error:
            log.warning("a living box could not be taken over", agent=row.agent, error=error.message)
            await self._give_up(station, row, error.message)
            return False
        await self._adopt_turn(station, tasks)
        return True

    async def _state(self, row: box_rows.BoxRow) -> BoxState:
        await fault("turns.adoption.before_inspect")
        state = await self.driver.inspect(BoxRef(row.id, row.handle or {}))
        await fault("turns.adoption.after_inspect")
        return state

    async def _forget_strangers(self, station: Station, hello: Hello) -> None:
        """End programs whose rows the daemon before had ended, and died before boxd was told."""
        live = await self.store.read(program_rows.live_program, station.box)
        for program in hello.programs:
            if live is None or program.id != live.id:
                await station.link.forget(program.id)

    async def _give_up(self, station: Station, row: box_rows.BoxRow, why: str) -> None:
        try:
            await self.stations.stop(station, why)
        except BoxError as error:
            log.warning("a box can neither be reached nor stopped", agent=row.agent, error=error.message)

    async def _adopt_turn(self, station: Station, tasks: TaskGroup) -> None:
        admitted = await self.store.write_when_possible(self._take_over, station)
        if admitted is not None:
            log.info("turn goes on", turn=admitted.turn.id, agent=admitted.agent.name)
            self.turns.begin(tasks, admitted, adopted=True)

    def _take_over(self, c: Connection, station: Station) -> Admitted | None:
        turn = rows.open_turn_of(c, station.agent_id)
        agent = agent_rows.by_id(c, station.agent_id)
        if turn is None or agent is None or not rows.adopt(c, turn.id, self.parts.epoch):
            return None
        return Admitted(turn, agent, mail_rows.leased_by(c, turn.id))

    async def _end_turns_without_box(self, with_box: set[AgentId]) -> None:
        for turn in await self.store.read(rows.open_turns):
            if turn.agent_id not in with_box:
                await self.store.write_when_possible(self._end_lost, turn)

    def _end_lost(self, c: Connection, turn: OpenTurn) -> None:
        ending = DAEMON_GONE
        values = {"result": ending.result, "reason": ending.reason, "note": ending.note}
        if not rows.adopt(c, turn.id, self.parts.epoch):
            return
        rows.end_turn(c, turn.id, self.parts.epoch, values)
        self.parts.mail.give_back(c, turn.id, turn.generation, failed=ending.failed, reason=ending.note)


def _swept(c: Connection, what: str) -> None:
    events.record(c, "box.swept", data={"box": what})
