"""The playbook format: TOML rules that script an agent, checked once by the daemon and handed to the player as JSON.

    [[rule]]
    from = "operator"
    match = 'build (\\w+)'
    steps = [
      { say = "on it" },
      { shell = "make {match.1}", into = "build" },
      { send = "done: {build}" },
    ]

`docs/reference/playbook.md` describes it; `boxes/inside/playbook.py` plays it. Everything wrong is one `Invalid` that
names the rule, its line and the step; an unknown key or placeholder is an error with a suggestion.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NoReturn, cast

from melipona.engines import playbook_values as values
from melipona.errors import Invalid

Json = dict[str, Any]
Check = Callable[[Any], str | None]
"""Says what a value should have been, or None when it is good."""

FORMAT = 1
LIMIT_BYTES = 256 << 10
DEEPEST = 8
PLACEHOLDER = re.compile(r"\{(\{?)([a-z_][a-z0-9_]*)((?:\.[A-Za-z0-9_-]+)*)\}(\}?)")

BUILT_IN = """
[[rule]]
name = "what the system says needs no answer"
from = "system"
steps = [{ say = "seen" }]

[[rule]]
name = "everything else is answered"
steps = [{ send = "heard: {body}" }]
"""
"""What an agent without a playbook does."""


def parse_playbook(text: str) -> Json:
    """The checked playbook as the player takes it: `{"version": 1, "rules": [{..., "steps": [{"do": ..., ...}]}]}`.

    Raises:
        Invalid: it is not a playbook; the message names the place.
    """
    if len(text.encode()) > LIMIT_BYTES:
        _bad("the playbook", f"it is larger than {LIMIT_BYTES >> 10} KiB")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        _bad("the playbook", f"it is not TOML: {error}")
    _known("the playbook", table, {"version", "rule"})
    if table.get("version", FORMAT) != FORMAT:
        _bad("the playbook", f"version {table['version']!r} is not known; this program reads version {FORMAT}")
    if not isinstance(table.get("rule"), list) or not table["rule"]:
        _bad("the playbook", "it has no [[rule]]")
    rules = cast("list[Any]", table["rule"])
    found = [_rule(place, rule) for place, rule in zip(_places(text, len(rules)), rules, strict=True)]
    _check_names(found)
    _check_placeholders(found)
    return {"version": FORMAT, "rules": [rule for _, rule in found]}


def _bad(place: str, what: str, remedy: str = "see docs/reference/playbook.md") -> NoReturn:
    raise Invalid(f"{place}: {what}", remedy=remedy, code="bad_playbook")


def _places(text: str, count: int) -> list[str]:
    """`rule 2 (line 14)` for each rule; without lines where the headers cannot be told from text in a string."""
    lines = [n for n, line in enumerate(text.splitlines(), 1) if re.match(r"\s*\[\[\s*rule\s*\]\]", line)]
    shown = [f" (line {n})" for n in lines] if len(lines) == count else [""] * count
    return [f"rule {n}{line}" for n, line in enumerate(shown, 1)]


def _known(place: str, table: Mapping[str, Any], keys: set[str]) -> None:
    for key in table:
        if key not in keys:
            near = get_close_matches(key, keys, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it can be {', '.join(sorted(keys))}"
            _bad(place, f"unknown key {key!r}", hint)


# ---- rules and steps ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StepKind:
    """One kind of step: the check of its own value, and its options with theirs."""

    value: Check
    options: Mapping[str, Check]


_RESULT: dict[str, Check] = {"into": values.variable, "may_fail": values.flag, "timeout": values.seconds}

STEPS: dict[str, StepKind] = {
    "send": StepKind(values.text, {"to": values.text, "with": values.table, "may_fail": values.flag}),
    "tool": StepKind(values.text, {"with": values.table, **_RESULT}),
    "receive": StepKind(values.seconds, {"into": values.variable, "handle": values.flag, "may_fail": values.flag}),
    "shell": StepKind(values.text, _RESULT),
    "git": StepKind(values.words, _RESULT),
    "model": StepKind(values.text, {"name": values.text, "stream": values.flag, "max_tokens": values.count, **_RESULT}),
    "wait": StepKind(values.seconds, {}),
    "hold": StepKind(values.text, {"timeout": values.seconds}),
    "say": StepKind(values.text, {"over": values.seconds}),
    "think": StepKind(values.text, {"over": values.seconds}),
    "set": StepKind(values.assignments, {}),
    "repeat": StepKind(values.count, {"steps": lambda _: None}),
    "usage": StepKind(values.claim, {}),
    "fail": StepKind(values.text, {"outcome": values.outcome, "retry_after": values.seconds}),
    "crash": StepKind(values.ending, {}),
    "raw": StepKind(values.text, {"times": values.count}),
}

_CONDITIONS: dict[str, Check] = {
    "from": values.names,
    "kind": values.names,
    "body": values.text,
    "match": values.pattern,
    "first_turn": values.flag,
    "maybe_seen": values.flag,
    "nth": values.counts,
}


def _rule(place: str, rule: Any) -> tuple[str, Json]:
    if not isinstance(rule, dict):
        _bad(place, "it is not a table")
    table = cast("Json", rule)
    _known(place, table, {"name", "steps", *_CONDITIONS})
    for key, check in {"name": values.text, **_CONDITIONS}.items():
        if key in table and (wanted := check(table[key])):
            _bad(place, f"{key!r} should be {wanted}")
    made = {**table, "name": table.get("name", place.split(" (")[0]), "steps": _steps(place, table.get("steps"), 1)}
    for key in ("from", "kind", "nth"):
        if key in made and not isinstance(made[key], list):
            made[key] = [made[key]]
    return place, made


def _steps(place: str, steps: Any, depth: int) -> list[Json]:
    if not isinstance(steps, list):
        _bad(place, "'steps' should be a list of steps")
    if depth > DEEPEST:
        _bad(place, f"steps are nested more than {DEEPEST} deep")
    return [_step(f"{place}, step {n}", step, depth) for n, step in enumerate(cast("list[Any]", steps), 1)]


def _step(place: str, step: Any, depth: int) -> Json:
    if not isinstance(step, dict):
        _bad(place, "it is not a table like { say = 'hello' }")
    table = cast("Json", step)
    kinds = [key for key in table if key in STEPS]
    if not kinds:
        options = {option for kind in STEPS.values() for option in kind.options}
        _known(place, {key: 0 for key in table if key not in options}, set(STEPS))
        _bad(place, "it says nothing to do", f"a step has one of {', '.join(STEPS)}")
    if len(kinds) > 1:
        _bad(place, f"it says {kinds[0]!r} and {kinds[1]!r}", "make them two steps")
    kind = STEPS[kinds[0]]
    _known(place, table, {kinds[0], *kind.options})
    for key, check in {kinds[0]: kind.value, **kind.options}.items():
        if key in table and (wanted := check(table[key])):
            _bad(place, f"{key!r} should be {wanted}")
    made: Json = {"do": kinds[0], **table}
    if kinds[0] == "repeat":
        made["steps"] = _steps(place, table.get("steps"), depth + 1)
    return made


# ---- placeholders ---------------------------------------------------------------------------------------------------


def _check_names(rules: list[tuple[str, Json]]) -> None:
    """A rule's count is kept under its name, so no two may share one."""
    seen: dict[str, str] = {}
    for place, rule in rules:
        if rule["name"] in seen:
            _bad(place, f"it is called {rule['name']!r} like {seen[rule['name']]}", "give it another name")
        seen[rule["name"]] = place


def _check_placeholders(rules: list[tuple[str, Json]]) -> None:
    known = set(values.MESSAGE_NAMES)
    for _, rule in rules:
        for step in _every_step(rule["steps"]):
            known |= {step["into"]} if "into" in step else set()
            known |= set(step["set"]) if step["do"] == "set" else set()
    for place, rule in rules:
        for name in (name for text in _texts(rule["steps"]) for name in _placeholders(text)):
            if name not in known:
                near = get_close_matches(name, known, 1)
                hint = f"did you mean {{{near[0]}}}? " if near else ""
                _bad(place, f"nothing is called {{{name}}}", f"{hint}write {{{{{name}}}}} for the text itself")


def _every_step(steps: list[Json]) -> Iterator[Json]:
    for step in steps:
        yield step
        if step["do"] == "repeat":
            yield from _every_step(step["steps"])


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        step = cast("Json", value)
        yield from (text for key, one in step.items() if key != "raw" for text in _texts(one))
    elif isinstance(value, list):
        yield from (text for one in cast("list[Any]", value) for text in _texts(one))


def _placeholders(text: str) -> list[str]:
    return [m[2] for m in PLACEHOLDER.finditer(text) if not (m[1] and m[4])]
