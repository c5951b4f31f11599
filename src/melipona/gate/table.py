"""The table of what agents may ask of the model API, and the check of one request against it (T12, D-28).

Pure: bytes and settings in, a checked request or a refusal out. Nothing of the request reaches the upstream but its
body, its allowed betas and the fact that it is one of the table's routes.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources
from typing import Any, cast

from melipona.errors import Invalid, Refused
from melipona.json_marks import too_intricate
from melipona.settings import ModelSettings

DEEPEST = 16
"""Content inside content, at most: a tool result may hold blocks, and those may hold documents."""

MARKS_MOST = 500_000
"""Brackets, braces and commas of a request outside of its texts (T34)."""

MODEL_MOST = 200
"""Characters of a model's name: it is kept in a row of each call (T35)."""

_NAME_SHOWN = 80


class FieldRefused(Refused):
    """A request asks for something that is not on the table. `field` is what, `setting` what would allow it."""

    code = "field_refused"

    def __init__(self, field: str, setting: str) -> None:
        field = field if len(field) <= _NAME_SHOWN else field[:_NAME_SHOWN] + "..."
        remedy = f"the operator can allow it by {setting} in mel.toml" if setting else "nothing can allow it"
        super().__init__(f"{field!r} is not allowed in model requests of this hive", remedy=remedy)
        self.field, self.setting = field, setting


@dataclass(frozen=True, slots=True)
class Route:
    """One call that agents may make."""

    name: str
    method: str
    path: str
    fields: frozenset[str]


@dataclass(frozen=True, slots=True)
class Table:
    """The data file, widened by the settings."""

    version: str
    routes: Mapping[tuple[str, str], Route]
    models: Sequence[str]
    betas: frozenset[str]
    tool_types: frozenset[str]
    blocks: frozenset[str]
    sources: frozenset[str]
    response_headers: Sequence[str]

    def route(self, method: str, path: str) -> Route | None:
        """The route of exactly that method and path."""
        return self.routes.get((method, path))

    def allowed_betas(self, values: Iterable[str]) -> tuple[list[str], list[str]]:
        """The values of `anthropic-beta` headers, in two lists: those that may pass and those that are dropped."""
        names = [name.strip() for value in values for name in value.split(",") if name.strip()]
        return [n for n in names if n in self.betas], [n for n in names if n not in self.betas]

    def may_return(self, header: str) -> bool:
        """Whether a box may see that response header (lower case)."""
        return any(header == name or (name.endswith("-") and header.startswith(name)) for name in self.response_headers)


def load_table(settings: ModelSettings) -> Table:
    """The table of this release with what the operator added."""
    data = tomllib.loads(resources.files("melipona.gate").joinpath("anthropic.toml").read_text(encoding="utf-8"))
    routes = [
        Route(name, row["method"], row["path"], frozenset(row["fields"]) | frozenset(settings.fields))
        for name, row in data["routes"].items()
    ]
    return Table(
        version=data["version"],
        routes={(route.method, route.path): route for route in routes},
        models=settings.allowed,
        betas=frozenset(data["betas"]) | frozenset(settings.betas),
        tool_types=frozenset(data["tool_types"]) | frozenset(settings.server_tools),
        blocks=frozenset(data["blocks"]),
        sources=frozenset(data["sources"]),
        response_headers=tuple(data["response_headers"]),
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """A checked request: the few facts of it that the gate needs."""

    model: str
    max_tokens: int
    stream: bool


def check(table: Table, route: Route, body: bytes) -> Asked:
    """`body` as a request of `route`.

    Raises:
        Invalid: it is not a JSON object with a model, or says a name twice.
        FieldRefused: it asks for something that is not on the table.
    """
    request = _parsed(body)
    for name in request:
        if name not in route.fields:
            raise FieldRefused(name, _setting_of(name))
    model = request.get("model")
    if not isinstance(model, str) or len(model) > MODEL_MOST or not any(fnmatchcase(model, p) for p in table.models):
        raise FieldRefused(f"model {_named(model)}", "models.anthropic.allowed")
    _check_tools(table, request.get("tools"))
    _check_content(table, request.get("system"), 0)
    for message in _objects("messages", request.get("messages")):
        _check_content(table, message.get("content"), 0)
    return Asked(model, _max_tokens(request) if "max_tokens" in route.fields else 0, request.get("stream") is True)


def _parsed(body: bytes) -> dict[str, Any]:
    if too_intricate(body, MARKS_MOST):
        raise Invalid("the body has too many parts", remedy="send fewer or shorter messages")
    try:
        # As text of UTF-8, which is what goes upstream: `json.loads` of bytes would guess other encodings too.
        request = json.loads(body.decode(), object_pairs_hook=_no_pair_twice, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"the body is not JSON: {type(error).__name__}", remedy="send a JSON object") from error
    if not isinstance(request, dict):
        raise Invalid("the body is not a JSON object", remedy="send a JSON object")
    return cast("dict[str, Any]", request)


def _no_pair_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _max_tokens(request: Mapping[str, Any]) -> int:
    most = request.get("max_tokens")
    if not isinstance(most, int) or isinstance(most, bool) or not 0 <= most <= 10_000_000:
        raise Invalid("max_tokens is not a sensible number", remedy="send a whole number of tokens")
    return most


def _setting_of(field: str) -> str:
    return "" if field in NEVER else "models.anthropic.fields"


NEVER = frozenset({"api_base", "base_url", "api_key", "api_version", "custom_llm_provider"})
"""Fields that no model API has and only gateways obey (CVE-2024-6587): pointless to allow."""


def _listed(kind: object, names: frozenset[str]) -> bool:
    return isinstance(kind, str) and kind in names


def _named(kind: object) -> str:
    """A kind as it is told to people; what is no text may be of any size and depth."""
    return str(kind) if kind is None or isinstance(kind, str) else type(kind).__name__


def _check_tools(table: Table, tools: object) -> None:
    if tools is None:
        return
    if not isinstance(tools, list):
        raise Invalid("tools is not a list", remedy="send a list of tools")
    for tool in cast("list[Any]", tools):
        kind = cast("dict[str, Any]", tool).get("type") if isinstance(tool, dict) else "?"
        if kind is not None and not _listed(kind, table.tool_types):
            raise FieldRefused(f"tools[].type {_named(kind)}", "models.anthropic.server_tools")
        if isinstance(tool, dict):
            _hold_nothing("a tool", cast("dict[str, Any]", tool), ("content", "source", "tool", "tools"))


def _objects(what: str, value: object) -> list[dict[str, Any]]:
    """`value`, which must be a list of objects: what has another shape is refused, not passed on unread."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in cast("list[Any]", value)):
        raise Invalid(f"{what} is not a list of objects", remedy="send what the Messages API takes")
    return cast("list[dict[str, Any]]", value)


def _check_content(table: Table, content: object, depth: int) -> None:
    if isinstance(content, str):
        return
    if depth > DEEPEST:
        raise Invalid("the content is nested too deeply", remedy="send less nested content")
    for block in _objects("content", content):
        _check_block(table, block, depth)


def _check_block(table: Table, block: dict[str, Any], depth: int) -> None:
    kind = block.get("type")
    if not _listed(kind, table.blocks):
        raise FieldRefused(f"content[].type {_named(kind)}", "")
    source = block.get("source")
    if isinstance(source, dict):
        _check_source(table, cast("dict[str, Any]", source), depth)
    elif source is not None and not isinstance(source, str):  # of a search result it is a text
        raise Invalid("source is not an object", remedy="send what the Messages API takes")
    _check_added(table, block)
    _check_content(table, block.get("content"), depth + 1)


def _check_source(table: Table, source: dict[str, Any], depth: int) -> None:
    kind = source.get("type")
    if not _listed(kind, table.sources):
        raise FieldRefused(f"source.type {_named(kind)}", "")
    _hold_nothing("a source", source, ("source", "tool", "tools"))
    _check_content(table, source.get("content"), depth + 1)


def _hold_nothing(what: str, thing: dict[str, Any], names: tuple[str, ...]) -> None:
    """Refuse parts that `what` never has in the Messages API: they would be passed on unread."""
    for name in names:
        if thing.get(name) is not None:
            raise Invalid(f"{what} has no {name}", remedy="send what the Messages API takes")


def _check_added(table: Table, block: dict[str, Any]) -> None:
    _check_tools(table, block.get("tools"))
    tool = block.get("tool")
    if tool is None or isinstance(tool, str):
        return
    if isinstance(tool, dict) and cast("dict[str, Any]", tool).get("type") == "tool_reference":
        _hold_nothing("a tool", cast("dict[str, Any]", tool), ("content", "source", "tool", "tools"))
    else:
        _check_tools(table, [cast("object", tool)])
