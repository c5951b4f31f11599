"""The playbook format: what is wrong is told with its place and what was meant."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melipona.engines.playbook import built_in_playbook, parse_playbook, player_source
from melipona.engines.playbook_format import STEPS
from melipona.errors import Invalid

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "playbook.md"


def rule(steps: str, head: str = "") -> str:
    return f"[[rule]]\n{head}\nsteps = [{steps}]\n"


def refusal(text: str) -> str:
    with pytest.raises(Invalid) as caught:
        parse_playbook(text)
    assert caught.value.code == "bad_playbook"
    return str(caught.value)


def test_a_playbook_becomes_plain_json_with_lists_and_names() -> None:
    parsed = parse_playbook(rule('{ say = "hi" }', 'from = "ben"\nnth = 2'))
    assert parsed == {
        "version": 1,
        "rules": [{"name": "rule 1", "from": ["ben"], "nth": [2], "steps": [{"do": "say", "say": "hi"}]}],
    }


def test_the_built_in_playbook_is_a_good_one() -> None:
    assert [one["steps"][0]["do"] for one in built_in_playbook()["rules"]] == ["say", "send"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "the playbook: it has no [[rule]]"),
        ("x = ", "it is not TOML"),
        ("rule = 7", "it has no [[rule]]"),
        ("rule = [7]", "rule 1: it is not a table"),
        ("version = 2\n" + rule(""), "version 2 is not known"),
        ("rules = 1\n" + rule(""), "unknown key 'rules'; did you mean 'rule'?"),
        (rule('{ say = "a" }', "form = 'ben'"), "rule 1 (line 1): unknown key 'form'; did you mean 'from'?"),
        (
            rule('{ say = "a" }') + rule('{ shel = "ls" }'),
            "rule 2 (line 4), step 1: unknown key 'shel'; did you mean 'shell'?",
        ),
        (rule('{ say = "a" }, { shell = "ls", timout = 3 }'), "step 2: unknown key 'timout'; did you mean 'timeout'?"),
        (rule("{ to = 'ben' }"), "step 1: it says nothing to do; a step has one of send, tool"),
        (rule("{ say = 'a', shell = 'b' }"), "it says 'say' and 'shell'; make them two steps"),
        (rule("7"), "step 1: it is not a table like"),
        ("[[rule]]\nsteps = 7", "'steps' should be a list of steps"),
        ("[[rule]]\nfrom = 'ben'", "'steps' should be a list of steps"),
        (rule("{ say = 7 }"), "'say' should be text in quotes"),
        (rule("{ wait = true }"), "'wait' should be seconds from 0 to 86400"),
        (rule("{ git = 'status' }"), "'git' should be a list of texts"),
        (rule("{ repeat = 0, steps = [] }"), "'repeat' should be a whole number from 1"),
        (rule("{ repeat = 2, steps = [{ sya = 'x' }] }"), "step 1, step 1: unknown key 'sya'; did you mean 'say'?"),
        (rule("{ crash = 'SIGNOTHING' }"), "'crash' should be an exit code, or a signal"),
        (rule("{ crash = 256 }"), "'crash' should be an exit code from 0 to 255"),
        (rule("{ fail = 'x', outcome = 'good' }"), "'outcome' should be one of failed, too_long"),
        (rule("{ usage = { tokens = 1 } }"), "'usage' should be a table of numbers"),
        (rule("{ shell = 'ls', into = 'body' }"), "'into' should be another name: 'body' is the message's own"),
        (rule("{ set = { turn = 'x' } }"), "'set' should be another name"),
        (rule("{ say = 'a' }", "match = '('"), "'match' should be a regular expression"),
        (rule("{ say = 'a' }", "nth = 0"), "'nth' should be a whole number from 1, or a list of them"),
        (rule("{ say = 'hi {sendr}' }"), "nothing is called {sendr}; did you mean {sender}?"),
        (rule("{ tool = 'x', with = { a = ['{nothing}'] } }"), "nothing is called {nothing}"),
        (rule("", "name = 'a'") + rule("", "name = 'a'"), "it is called 'a' like rule 1 (line 1)"),
        (f"# {'x' * 300_000}\n" + rule(""), "larger than 256 KiB"),
        (rule("{ repeat = 2, steps = [" * 9 + "]}" * 9), "nested more than 8 deep"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, wanted: str) -> None:
    assert wanted in refusal(text)


@pytest.mark.parametrize(
    "step",
    [
        "{ say = '${HOME} {{nothing}} {a,b} {print $1} { x }' }",
        "{ raw = '{\"anything\": {nothing}}' }",
        "{ crash = 'SIGKILL' }, { crash = 0 }",
        "{ shell = 'ls', into = 'files' }, { say = '{files.exit}' }",
        "{ set = { a = 'x' } }, { repeat = 2, steps = [{ say = '{a} {round} {match.1} {match.name}' }] }",
        "{ usage = { input_tokens = 1, session_cost_usd = 0.5 } }",
    ],
)
def test_what_is_right_is_taken(step: str) -> None:
    assert parse_playbook(rule(step))


def test_the_player_knows_every_step_of_the_format() -> None:
    played = set(re.findall(r"def do_(\w+)\(", player_source().read_text()))
    assert played == set(STEPS)


def test_the_reference_shows_every_step_and_only_good_playbooks() -> None:
    text = REFERENCE.read_text()
    examples = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(examples) >= 3
    for example in examples:
        parse_playbook(example)
    assert [name for name in STEPS if f"| `{name}` |" not in text] == []


@settings(max_examples=200, deadline=None, database=None)
@given(st.text())
def test_any_text_is_taken_or_refused(text: str) -> None:
    try:
        parse_playbook(text)
    except Invalid:
        pass


_VALUES = st.recursive(
    st.booleans() | st.integers(-5, 5) | st.text("ab{}$ .", max_size=6) | st.floats(0, 5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*STEPS, "to", "with", "into", "steps", "timeout"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None, database=None)
@given(st.dictionaries(st.sampled_from([*STEPS, "to", "with", "into", "steps", "timeout", "odd"]), _VALUES, max_size=3))
def test_any_step_is_taken_or_refused(step: dict[str, object]) -> None:
    text = rule(_toml(step))
    tomllib.loads(text)
    try:
        parse_playbook(text)
    except Invalid:
        pass


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(one)}" for name, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    return f"'{value}'" if isinstance(value, str) else format(value, "f") if isinstance(value, float) else str(value)
