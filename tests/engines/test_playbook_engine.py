"""The playbook engine keeps the engine contract, and plays every step of its format."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from melipona.engines.engine import (
    DropPartial,
    Prompt,
    PromptMessage,
    RateLimited,
    Result,
    Retry,
    SessionStarted,
    Text,
    TextDelta,
    ToolCall,
    ToolResult,
    Unknown,
    UsageClaim,
)
from melipona.engines.playbook import PlaybookEngineDriver, parse_playbook, player_source
from melipona.ids import MessageId
from melipona.testing.engine_rig import EngineRig, until
from melipona.testing.engine_suite import EngineSuite
from melipona.testing.gate_stub import GateStub, gate_stub

SCRIPT = r"""
[[rule]]
match = '^say (.*)'
steps = [{ say = "{match.1}" }]

[[rule]]
match = '^shell (.*)'
steps = [{ shell = "sh -c {match.1}" }]

[[rule]]
match = '^send (\S+) (.*)'
steps = [{ send = "{match.2}", to = "{match.1}" }]

[[rule]]
match = '^stream (.*)'
steps = [{ say = "TICKS", over = 60 }]

[[rule]]
body = "fail"
steps = [{ fail = "as told" }]
""".replace("TICKS", "tick " * 600)


def mail(body: str, sender: str = "operator", **more: object) -> Prompt:
    """A prompt with one message."""
    kind, seen = str(more.get("kind", "mail")), bool(more.get("maybe_seen", False))
    return Prompt(f"{sender}: {body}", [PromptMessage(MessageId(1), sender, body, kind, seen)])


class PlaybookScript:
    """Makes `SCRIPT` do things."""

    def say(self, text: str) -> Prompt:
        return mail(f"say {text}")

    def shell(self, command: str) -> Prompt:
        return mail(f"shell {command}")

    def send(self, to: str, body: str) -> Prompt:
        return mail(f"send {to} {body}")

    def stream(self, seconds: int) -> Prompt:
        return mail(f"stream {seconds}")

    def fail(self) -> Prompt:
        return mail("fail")


def rig_of(gate: GateStub, tmp_path: Path, playbook: str = SCRIPT) -> EngineRig:
    """The player, run by this very Python."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir(exist_ok=True)
    work.mkdir(exist_ok=True)
    driver = PlaybookEngineDriver(python=sys.executable, player=str(player_source()), gate=gate.address)
    env = {"HOME": str(home), "PATH": os.environ["PATH"]}
    return EngineRig(driver, PlaybookScript(), gate, home, work, env=env, playbook=parse_playbook(playbook))


@pytest.fixture
async def gate() -> AsyncIterator[GateStub]:
    async with gate_stub() as stub:
        yield stub


class TestPlaybookEngineKeepsTheContract(EngineSuite):
    @pytest.fixture
    async def rig(self, gate: GateStub, tmp_path: Path) -> EngineRig:
        return rig_of(gate, tmp_path)


@pytest.mark.anyio
class TestPlaybook:
    async def test_without_a_playbook_every_message_is_answered_to_its_sender(
        self, gate: GateStub, tmp_path: Path
    ) -> None:
        """D-27: the built-in playbook."""
        rig = rig_of(gate, tmp_path)
        rig.playbook = None
        async with rig.started() as engine:
            assert (await engine.turn(mail("hello", "ben"))).outcome == "ok"
            assert (await engine.turn(mail("restarted", "system", kind="kick"))).outcome == "ok"
        assert [call.arguments for call in gate.calls] == [{"to": "ben", "body": "heard: hello"}]

    async def test_rules_match_sender_kind_body_first_turn_count_and_maybe_seen(
        self, gate: GateStub, tmp_path: Path
    ) -> None:
        rules = """
        [[rule]]
        first_turn = true
        steps = [{ say = "first" }]
        [[rule]]
        from = ["ops-*", "ben"]
        steps = [{ say = "from" }]
        [[rule]]
        kind = "kick"
        steps = [{ say = "kind" }]
        [[rule]]
        maybe_seen = true
        steps = [{ say = "seen" }]
        [[rule]]
        body = "x"
        nth = [1, 3]
        steps = [{ say = "x {nth}" }]
        """
        prompts = [mail("x"), mail("x", "ops-1"), mail("x", kind="kick"), mail("x", maybe_seen=True)]
        async with rig_of(gate, tmp_path, rules).started() as engine:
            for prompt in [*prompts, mail("x"), mail("x"), mail("x")]:
                assert (await engine.turn(prompt)).outcome == "ok"
            said = [event.text for event in engine.of(Text)]
        unmatched = "no rule for the message of operator"
        assert said == ["first", "from", "kind", "seen", "x 1", unmatched, "x 3"]

    async def test_a_resumed_session_goes_on_counting_and_keeps_its_variables(
        self, gate: GateStub, tmp_path: Path
    ) -> None:
        rules = """
        [[rule]]
        nth = 1
        steps = [{ shell = "echo kept", into = "word" }]
        [[rule]]
        name = "later"
        steps = [{ say = "{word} in turn {turn}, {nth} of this rule" }]
        """
        rig = rig_of(gate, tmp_path, rules)
        async with rig.started() as engine:
            session = (await engine.turn(mail("one"))).session
        async with rig.started(session) as engine:
            await engine.turn(mail("two"))
            assert engine.of(Text)[0].text == "kept in turn 2, 1 of this rule"

    async def test_a_turn_that_crashed_counts_so_its_repeat_can_differ(self, gate: GateStub, tmp_path: Path) -> None:
        rules = """
        [[rule]]
        nth = 1
        steps = [{ crash = "SIGKILL" }]
        [[rule]]
        name = "again"
        steps = [{ say = "better" }]
        """
        rig = rig_of(gate, tmp_path, rules)
        async with rig.started() as engine:
            await engine.prompt(mail("one"))
            with pytest.raises(EOFError):
                await engine.wait(Result)
            session = engine.of(SessionStarted)[0].session
        async with rig.started(session) as engine:
            assert (await engine.turn(mail("one", maybe_seen=True))).outcome == "ok"

    async def test_a_call_whose_answer_was_lost_is_repeated_with_its_key(self, gate: GateStub, tmp_path: Path) -> None:
        """D-23: one effect."""
        rules = '[[rule]]\nsteps = [{ tool = "break_once", into = "got" }, { say = "{got.number}" }]'
        async with rig_of(gate, tmp_path, rules).started() as engine:
            assert (await engine.turn(mail("go"))).outcome == "ok"
            assert engine.of(Text)[0].text == "1"
        assert (len(gate.calls), gate.repeats) == (1, 1)

    async def test_every_call_of_a_playbook_has_a_key_of_its_own(self, gate: GateStub, tmp_path: Path) -> None:
        rules = '[[rule]]\nsteps = [{ repeat = 3, steps = [{ send = "round {round}" }] }]'
        rig = rig_of(gate, tmp_path, rules)
        async with rig.started() as engine:
            session = (await engine.turn(mail("go"))).session
        async with rig.started(session) as engine:
            await engine.turn(mail("go"))
        assert [call.arguments["body"] for call in gate.calls] == ["round 1", "round 2", "round 3"] * 2
        assert len({call.key for call in gate.calls}) == 6

    async def test_a_refused_tool_ends_the_turn_unless_it_may_fail(self, gate: GateStub, tmp_path: Path) -> None:
        rules = """
        [[rule]]
        steps = [{ tool = "refuse", may_fail = true, into = "no" }, { say = "{no} {no.code}" }, { tool = "refuse" }]
        """
        async with rig_of(gate, tmp_path, rules).started() as engine:
            result = await engine.turn(mail("go"))
            assert (result.outcome, result.detail) == ("failed", "tool refuse: refuse: no")
            assert engine.of(Text)[0].text == "refuse: no refused"
            assert [event.ok for event in engine.of(ToolResult)] == [False, False]

    async def test_a_gate_that_cannot_be_reached_is_the_worlds_fault(self, gate: GateStub, tmp_path: Path) -> None:
        rig = rig_of(gate, tmp_path, '[[rule]]\nsteps = [{ send = "x" }]')
        gate.close()
        async with rig.started() as engine:
            assert (await engine.turn(mail("go"))).outcome == "upstream"

    async def test_a_body_cannot_break_out_of_its_word_in_a_shell_command(self, gate: GateStub, tmp_path: Path) -> None:
        rules = "[[rule]]\nsteps = [{ shell = 'printf %s {body} > got' }]"
        nasty = "$(touch owned); `touch owned`' \"; touch owned #\n{sender}"
        rig = rig_of(gate, tmp_path, rules)
        async with rig.started() as engine:
            assert (await engine.turn(mail(nasty))).outcome == "ok"
        assert (rig.work / "got").read_text() == nasty
        assert not (rig.work / "owned").exists()

    async def test_placeholders_keep_types_nest_and_can_be_written_literally(
        self, gate: GateStub, tmp_path: Path
    ) -> None:
        rules = """
        [[rule]]
        match = '(?P<word>\\w+)'
        steps = [
          { set = { list = "{id}" } },
          { tool = "send", with = { to = "ben", body = "{match.word}", n = "{list}", deep = ["{sender}!"] } },
          { say = "{{body}} ${HOME} {print $1} {match.9}{{x}}" },
        ]
        """
        async with rig_of(gate, tmp_path, rules).started() as engine:
            assert (await engine.turn(mail("hello there"))).outcome == "ok"
            assert engine.of(Text)[0].text == "{body} ${HOME} {print $1} {x}"
        assert gate.calls[0].arguments == {"to": "ben", "body": "hello", "n": 1, "deep": ["operator!"]}

    async def test_git_and_shell_fail_the_turn_or_hand_their_code_on(self, gate: GateStub, tmp_path: Path) -> None:
        rules = """
        [[rule]]
        nth = 1
        steps = [
          { git = ["init", "-q", "repo"] },
          { shell = "echo out; exit 3", into = "x", may_fail = true },
          { say = "{x}/{x.exit}/{x.ok}" },
        ]
        [[rule]]
        name = "second"
        nth = 1
        steps = [{ git = ["no-such-command"] }]
        [[rule]]
        name = "third"
        steps = [{ shell = "python3 -c 'import time; time.sleep(60)'", timeout = 0.2 }]
        """
        rig = rig_of(gate, tmp_path, rules)
        async with rig.started() as engine:
            outcomes = [(await engine.turn(mail("go"))) for _ in range(3)]
            assert engine.of(Text)[0].text == "out/3/false"
        assert (rig.work / "repo" / ".git").is_dir()
        assert [result.outcome for result in outcomes] == ["ok", "failed", "failed"]
        assert "did not end within 0.2 s" in outcomes[2].detail

    async def test_a_model_step_streams_claims_usage_and_repeats_a_broken_answer(
        self, gate: GateStub, tmp_path: Path
    ) -> None:
        rules = "[[rule]]\nsteps = [{ model = '{body}', name = 'claude-x', into = 'said' }, { say = '<{said}>' }]"
        async with rig_of(gate, tmp_path, rules).started() as engine:
            result = await engine.turn(mail('STEPS: [{"cut": true}, {"text": "whole"}]'))
            assert result.outcome == "ok"
            assert result.usage == UsageClaim(1000, 70, 500, 200)
            assert [event.text for event in engine.of(Text)] == ["whole", "<whole>"]
            kinds = [type(e) for e in engine.events if isinstance(e, TextDelta | Retry | DropPartial)]
            assert kinds == [TextDelta, Retry, DropPartial, TextDelta]
        assert [request["model"] for request in gate.messages] == ["claude-x", "claude-x"]

    @pytest.mark.parametrize(
        ("status", "outcome"), [(429, "rate_limited"), (401, "login_expired"), (529, "upstream"), (400, "failed")]
    )
    async def test_a_refused_model_call_ends_the_turn_with_its_own_outcome(
        self, gate: GateStub, tmp_path: Path, status: int, outcome: str
    ) -> None:
        rules = "[[rule]]\nsteps = [{ model = '{body}', stream = false }]"
        async with rig_of(gate, tmp_path, rules).started() as engine:
            result = await engine.turn(mail(f'STEPS: [{{"status": {status}, "retry_after": 7}}]'))
            assert result.outcome == outcome
            assert [event.retry_after for event in engine.of(RateLimited)] == ([7.0] if status == 429 else [])

    async def test_a_hold_lasts_until_its_file_is_there(self, gate: GateStub, tmp_path: Path) -> None:
        rig = rig_of(gate, tmp_path, "[[rule]]\nsteps = [{ hold = 'go' }, { say = 'on' }]")
        async with rig.started() as engine:
            await engine.prompt(mail("go"))
            call = await engine.wait(ToolCall)
            assert engine.of(ToolResult) == []
            (rig.work / "go").touch()
            assert (await engine.wait(Result)).outcome == "ok"
            assert [event.id for event in engine.of(ToolResult)] == [call.id]

    async def test_told_outcomes_claims_and_raw_lines_come_through(self, gate: GateStub, tmp_path: Path) -> None:
        rules = """
        [[rule]]
        nth = 1
        steps = [
          { usage = { input_tokens = 5, session_cost_usd = 0.5 } },
          { usage = { input_tokens = 6, session_cost_usd = 0.7 } },
          { raw = '{"type": "from the future"}' },
          { think = "hm" },
          { wait = 0 },
        ]
        [[rule]]
        name = "limit"
        steps = [{ fail = "slow down", outcome = "rate_limited", retry_after = 9 }]
        """
        async with rig_of(gate, tmp_path, rules).started() as engine:
            first = await engine.turn(mail("go"))
            assert (first.usage.input_tokens, first.usage.session_cost_usd) == (11, 0.7)
            assert [event.raw for event in engine.of(Unknown)] == ['{"type": "from the future"}']
            assert [event.thinking for event in engine.of(Text)] == [True]
            second = await engine.turn(mail("go"))
            assert (second.outcome, second.usage.input_tokens) == ("rate_limited", None)
            assert engine.of(RateLimited) == [RateLimited(9.0, "slow down")]

    async def test_received_mail_can_be_played_by_the_rules(self, gate: GateStub, tmp_path: Path) -> None:
        rules = """
        [[rule]]
        from = "operator"
        steps = [{ receive = 1, into = "got", handle = true }, { say = "{got.messages.0.body}" }]
        [[rule]]
        name = "others"
        kind = "broadcast"
        steps = [{ send = "{id} {body}" }]
        """
        gate.mail = [{"id": "m7", "from": "ben", "body": "to all", "hint": "a broadcast"}]
        async with rig_of(gate, tmp_path, rules).started() as engine:
            assert (await engine.turn(mail("go"))).outcome == "ok"
            assert engine.of(Text)[0].text == "to all"
        assert [call.arguments for call in gate.calls] == [{"wait_seconds": 1}, {"to": "ben", "body": "7 to all"}]

    async def test_a_prompt_without_messages_is_one_message_of_the_system(self, gate: GateStub, tmp_path: Path) -> None:
        rules = "[[rule]]\nfrom = 'system'\nkind = 'prompt'\nsteps = [{ say = 'got {body}' }]"
        async with rig_of(gate, tmp_path, rules).started() as engine:
            await engine.turn(Prompt("go on"))
            assert engine.of(Text)[0].text == "got go on"

    async def test_a_damaged_memory_is_a_session_that_does_not_exist(self, gate: GateStub, tmp_path: Path) -> None:
        rig = rig_of(gate, tmp_path)
        async with rig.started() as engine:
            session = (await engine.turn(mail("say one"))).session
        (rig.home / ".playbook" / f"{session}.json").write_text('{"turns": 1')
        async with rig.started(session) as engine:
            assert (await engine.wait(Result)).outcome == "no_session"

    async def test_a_home_that_cannot_be_written_fails_the_turn_and_not_the_player(
        self, gate: GateStub, tmp_path: Path
    ) -> None:
        rig = rig_of(gate, tmp_path)
        (rig.home / ".playbook").write_text("in the way")
        async with rig.started() as engine:
            for _ in range(2):
                assert (await engine.turn(mail("say one"))).outcome == "failed"

    async def test_nonsense_on_its_input_does_not_end_the_player(self, gate: GateStub, tmp_path: Path) -> None:
        async with rig_of(gate, tmp_path).started() as engine:
            for nonsense in ("", "[]", "{", '{"type": 7}', '{"type": "unheard of", "request": "r"}'):
                await engine.write(nonsense)
            assert (await engine.turn(mail("say hello"))).outcome == "ok"

    async def test_an_interrupt_that_follows_its_prompt_at_once_is_not_lost(
        self, gate: GateStub, tmp_path: Path
    ) -> None:
        rig = rig_of(gate, tmp_path)
        async with rig.started() as engine:
            await engine.write(rig.driver.prompt_line(mail("stream 60")) + "\n" + str(rig.driver.interrupt_line("i")))
            assert (await engine.wait(Result)).outcome == "interrupted"

    async def test_termination_kills_what_a_shell_step_runs(self, gate: GateStub, tmp_path: Path) -> None:
        rig = rig_of(gate, tmp_path)
        async with rig.started() as engine:
            await engine.prompt(mail("shell echo $$ > pid; exec python3 -c 'import time; time.sleep(60)'"))
            await until(lambda: (rig.work / "pid").exists() and (rig.work / "pid").read_text().endswith("\n"))
            pid = int((rig.work / "pid").read_text())
            engine.process.terminate()
            assert await engine.process.wait() == 143
            await until(lambda: not Path(f"/proc/{pid}").exists())


def test_the_player_needs_nothing_but_an_old_python_and_light_modules() -> None:
    """PERFORMANCE 5b: the start of an agent's engine is a start of this file."""
    source = player_source().read_text()
    compile(source, "playbook.py", "exec", dont_inherit=True)
    for heavy in ("asyncio", "subprocess", "urllib", "http.client", "threading", "pathlib", "dataclasses"):
        assert f"import {heavy}" not in source
    import ast

    ast.parse(source, feature_version=(3, 8))


def test_the_launch_line_carries_the_checked_playbook_and_nothing_secret() -> None:
    driver = PlaybookEngineDriver()
    from melipona.engines.engine import EngineLaunch
    from melipona.ids import AgentName

    program = driver.program(EngineLaunch(AgentName("ana"), "worker", None, None, "be good", None))
    assert program.argv == ["/usr/bin/python3", "-I", "-S", "/opt/mel/playbook.py"]
    first = json.loads(program.first_lines[0])
    assert (first["agent"], first["gate"], len(first["playbook"]["rules"])) == ("ana", "127.0.0.1:4141", 2)
    assert "\n" not in program.first_lines[0]
