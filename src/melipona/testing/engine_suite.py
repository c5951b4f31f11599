"""What every engine driver promises, as tests: subclass `EngineSuite` and give it a `rig`.

class TestPlaybookEngine(EngineSuite):
    @pytest.fixture
    async def rig(self, tmp_path): ...
"""

from __future__ import annotations

import json
from typing import cast
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melipona.engines.engine import (
    Answered,
    Compaction,
    ContextSize,
    Result,
    SessionStarted,
    Text,
    TextDelta,
    ToolCall,
    ToolResult,
    Unknown,
)
from melipona.errors import MeliponaError
from melipona.testing.engine_rig import EngineRig, running, until

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.anyio
class EngineSuite:
    """The conformance suite."""

    async def test_the_engine_says_whether_it_can_be_used_here(self, rig: EngineRig) -> None:
        health = await rig.driver.health()
        assert health.ok, health
        assert health.version
        assert [mount for mount in rig.driver.mounts() if not mount.source.exists()] == []

    async def test_a_prompt_ends_with_one_good_result_and_its_text(self, rig: EngineRig) -> None:
        """D-17: the engine's own word ends a turn."""
        async with rig.started() as engine:
            result = await engine.turn(rig.script.say("the answer is 42"))
            assert (result.outcome, result.detail) == ("ok", "")
            assert "the answer is 42" in [event.text for event in engine.of(Text)]
            assert result.session == engine.of(SessionStarted)[-1].session
            assert engine.of(Unknown) == []
            assert await engine.end() == 0

    async def test_a_warm_program_takes_turn_after_turn_in_one_session(self, rig: EngineRig) -> None:
        async with rig.started() as engine:
            first = await engine.turn(rig.script.say("one"))
            second = await engine.turn(rig.script.say("two"))
            assert [first.outcome, second.outcome] == ["ok", "ok"]
            assert first.session == second.session
            assert [event.text for event in engine.of(Text)] == ["one", "two"]

    async def test_a_tool_call_reaches_the_gate_once_and_shows_its_result(self, rig: EngineRig) -> None:
        """HN-5: the tools of the hive."""
        async with rig.started() as engine:
            assert (await engine.turn(rig.script.send("operator", "done"))).outcome == "ok"
            sent = [call.arguments for call in rig.gate.calls if call.name == "send"]
            assert sent == [{"to": "operator", "body": "done"}]
            assert rig.gate.calls[0].key, "a call has a key, so that a repeat has one effect (D-23)"
            calls, results = engine.of(ToolCall), engine.of(ToolResult)
            assert [call.id for call in calls] == [result.id for result in results]
            assert all(result.ok for result in results)

    async def test_a_shell_command_shows_its_output(self, rig: EngineRig) -> None:
        async with rig.started() as engine:
            result = await engine.turn(rig.script.shell("echo from the box > made; cat made"))
            assert result.outcome == "ok"
            assert (rig.work / "made").read_text() == "from the box\n"
            assert any("from the box" in event.text for event in engine.of(ToolResult))

    async def test_an_interrupt_in_mid_tool_leaves_no_process(self, rig: EngineRig) -> None:
        mark = f"mark-{uuid4()}"
        async with rig.started() as engine:
            await engine.prompt(rig.script.shell(f"touch begun; python3 -c 'import time; time.sleep(300)' {mark}"))
            await until((rig.work / "begun").exists)
            await until(lambda: bool(running(mark)))
            await engine.write(rig.driver.interrupt_line("stop-1"))
            assert (await engine.wait(Answered, fits=lambda a: a.request == "stop-1")).ok
            assert (await engine.wait(Result)).outcome == "interrupted"
            await until(lambda: not running(mark))
            assert [event.ok for event in engine.of(ToolResult)] == [False]
            assert (await engine.turn(rig.script.say("still here"))).outcome == "ok"

    async def test_an_interrupt_while_text_streams_ends_the_turn(self, rig: EngineRig) -> None:
        async with rig.started() as engine:
            await engine.prompt(rig.script.stream(60))
            await engine.wait(TextDelta, 2)
            await engine.write(rig.driver.interrupt_line("stop-1"))
            assert (await engine.wait(Result)).outcome == "interrupted"

    async def test_an_interrupt_between_turns_changes_nothing(self, rig: EngineRig) -> None:
        async with rig.started() as engine:
            await engine.turn(rig.script.say("one"))
            await engine.write(rig.driver.interrupt_line("stop-1"))
            await engine.wait(Answered, fits=lambda a: a.request == "stop-1")
            assert (await engine.turn(rig.script.say("two"))).outcome == "ok"

    async def test_a_session_is_resumed_by_its_id_in_a_new_process(self, rig: EngineRig) -> None:
        async with rig.started() as engine:
            first = await engine.turn(rig.script.say("one"))
            await engine.end()
        async with rig.started(first.session) as engine:
            second = await engine.turn(rig.script.say("two"))
            assert (second.outcome, second.session) == ("ok", first.session)

    async def test_a_session_is_resumed_after_its_process_was_killed_in_mid_tool(self, rig: EngineRig) -> None:
        async with rig.started() as engine:
            await engine.prompt(rig.script.shell("touch begun; python3 -c 'import time; time.sleep(300)'"))
            await until((rig.work / "begun").exists)
            session = (await engine.wait(SessionStarted)).session
            await engine.kill()
        async with rig.started(session) as engine:
            assert (await engine.turn(rig.script.say("again"))).session == session

    async def test_a_session_that_does_not_exist_is_told_and_ends_the_program(self, rig: EngineRig) -> None:
        """D-26: the turn loop then starts a new session; it is no failure."""
        async with rig.started(rig.lost_session) as engine:
            assert (await engine.wait(Result)).outcome == "no_session"
            with pytest.raises(EOFError):
                await engine.wait(Result, 2)

    async def test_a_failed_turn_is_not_good_and_the_next_one_may_be(self, rig: EngineRig) -> None:
        async with rig.started() as engine:
            failed = await engine.turn(rig.script.fail())
            assert failed.outcome == "failed"
            assert failed.detail
            assert (await engine.turn(rig.script.say("well"))).outcome == "ok"

    async def test_the_model_is_switched_in_a_running_session(self, rig: EngineRig) -> None:
        async with rig.started() as engine:
            await engine.turn(rig.script.say("one"))
            await engine.write(rig.driver.set_model_line("model-1", rig.other_model))
            assert (await engine.wait(Answered, fits=lambda a: a.request == "model-1")).ok
            await engine.turn(rig.script.say("two"))
            assert engine.of(SessionStarted)[-1].model == rig.other_model

    async def test_the_context_is_compacted_on_request(self, rig: EngineRig) -> None:
        async with rig.started() as engine:
            await engine.turn(rig.script.say("one"))
            await engine.turn(rig.script.say("two"))
            await engine.write(rig.driver.compact_line())
            assert (await engine.wait(Result, 3)).outcome == "ok"
            assert len(engine.of(Compaction)) == 1

    async def test_the_context_size_is_told_on_request(self, rig: EngineRig) -> None:
        """LE-4: the context is its own number, not the summed usage."""
        async with rig.started() as engine:
            await engine.turn(rig.script.say("one"))
            before = len(engine.of(ContextSize))
            await engine.write(rig.driver.context_line("context-1"))
            size = await engine.wait(ContextSize, before + 1)
            assert size.tokens > 0
            assert size.window is not None

    async def test_a_decoder_may_begin_in_the_middle_of_a_turn(self, rig: EngineRig) -> None:
        """A restarted daemon adopts a running engine with a fresh decoder."""
        async with rig.started() as engine:
            await engine.turn(rig.script.send("operator", "hello"))
            lines = list(engine.lines)
        for begin in range(len(lines)):
            decoder = rig.driver.decoder()
            events = [event for line in lines[begin:] for event in decoder.feed(line)]
            results = [event for event in events if isinstance(event, Result)]
            assert [result.outcome for result in results] == ["ok"]

    async def test_a_decoder_never_raises(self, rig: EngineRig) -> None:
        """Whatever comes out of a box is hostile; recorded lines with foreign values are the nastiest."""
        async with rig.started() as engine:
            await engine.turn(rig.script.send("operator", "hello"))
            lines = list(engine.lines)
        driver = rig.driver

        @settings(max_examples=300, deadline=None, database=None)
        @given(st.binary() | _JSON.map(lambda value: json.dumps(value).encode()))
        def anything(line: bytes) -> None:
            driver.decoder().feed(line)

        @settings(max_examples=300, deadline=None, database=None)
        @given(st.data())
        def mutated(data: st.DataObject) -> None:
            message = json.loads(data.draw(st.sampled_from(lines)))
            driver.decoder().feed(json.dumps(_mutate(message, data)).encode())

        anything()
        mutated()
        assert isinstance(driver.decoder().feed(b"[" * 100_000)[0], Unknown)

    async def test_a_hostile_session_id_is_no_option(self, rig: EngineRig) -> None:
        """A session id comes out of a box: it can neither be an option of the program nor a path."""
        for hostile in ("--settings=/ws/evil.json", "../../etc/passwd", "a b; c"):
            try:
                program = rig.driver.program(rig.launch(hostile))
            except MeliponaError:
                continue
            assert not [word for word in program.argv if hostile in word]


def _mutate(value: object, data: st.DataObject) -> object:
    """`value` with one part of it replaced by something else."""
    if isinstance(value, dict) and value and data.draw(st.booleans()):
        table = cast("dict[str, object]", value)
        key = data.draw(st.sampled_from(sorted(table)))
        return {**table, key: _mutate(table[key], data)}
    if isinstance(value, list) and value and data.draw(st.booleans()):
        items = cast("list[object]", value)
        at = data.draw(st.integers(0, len(items) - 1))
        return [*items[:at], _mutate(items[at], data), *items[at + 1 :]]
    return data.draw(_JSON)
