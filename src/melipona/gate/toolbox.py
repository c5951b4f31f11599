"""The tools that the gate offers: checks arguments, makes a call the only one with its id, runs the handler.

`/mcp` and `/api` are two doors to it; both get the same answers and the same errors.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import structlog

from melipona.errors import AskedWrongly, Bug, Invalid, LimitReached, MeliponaError, NotFound
from melipona.faults import fault
from melipona.gate.calls import CallId, Parking, ToolCall
from melipona.json_marks import too_intricate
from melipona.principals import AgentPrincipal
from melipona.store.engine import Store
from melipona.text import visible
from melipona.tool import Json, Tool

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

log = structlog.get_logger("gate")

MARKS_MOST = 20_000
"""Brackets, braces and commas of a call outside of its texts: the arguments of all tools are flat (T34)."""
SHOWN = 300
"""Most of an argument's mistake that is shown: the value may be long."""


class Toolbox:
    """All tools of all agents: what an agent may do with one is the tool's own matter."""

    def __init__(self, store: Store, tools: Sequence[Tool], parking: Parking, *, epoch: int) -> None:
        self._store, self._parking, self._epoch = store, parking, epoch
        self._running: dict[str, asyncio.Future[Json]] = {}
        self._recent: defaultdict[tuple[str, str], deque[float]] = defaultdict(deque)
        self.tools: Mapping[str, Tool] = {tool.name: tool for tool in tools}
        if len(self.tools) != len(tools):
            raise Bug("two tools have the same name")

    @cached_property
    def _validators(self) -> Mapping[str, Draft202012Validator]:
        from jsonschema import Draft202012Validator  # not needed until the first call

        return {name: Draft202012Validator(schema_of(tool)) for name, tool in self.tools.items()}

    async def call(self, caller: AgentPrincipal, name: str, arguments: object, own_id: str | None) -> Json:
        """The tool's answer to `caller`. A call with the id of one under way waits for that one's answer.

        Raises:
            MeliponaError: whatever the tool raises; NotFound: no such tool; Invalid: the arguments do not fit;
                LimitReached: it was called too often within a minute.
        """
        tool = self.tools.get(name)
        if tool is None:
            raise NotFound(
                f"there is no tool {_short(name)}", remedy=f"there are: {', '.join(self.tools)}", code="no_such_tool"
            )
        checked = self._checked(tool, arguments)
        self._check_pace(tool, caller)
        call = CallId.of(caller.id, name, checked, own_id)
        if not call.own:
            return await self._run(tool, caller, checked, call)
        return await self._alone(call.key(None), tool, caller, checked, call)

    async def _alone(
        self, key: str, tool: Tool, caller: AgentPrincipal, arguments: Mapping[str, Any], call: CallId
    ) -> Json:
        while (first := self._running.get(key)) is not None:
            await asyncio.wait([first])
            if not first.cancelled():
                return first.result()
        mine = self._running[key] = asyncio.get_running_loop().create_future()
        mine.add_done_callback(_seen)
        try:
            answer = await self._run(tool, caller, arguments, call)
        except Exception as error:
            mine.set_exception(error)
            raise
        except BaseException:
            mine.cancel()
            raise
        else:
            mine.set_result(answer)
            return answer
        finally:
            del self._running[key]

    async def _run(self, tool: Tool, caller: AgentPrincipal, arguments: Mapping[str, Any], call: CallId) -> Json:
        try:
            await fault("gate.tool.before_call")
            made = ToolCall(self._store, self._parking, caller, arguments, call, self._epoch)
            answer = await tool.handler(made)
            await fault("gate.tool.after_call")
        except MeliponaError as error:
            if not isinstance(error, AskedWrongly):
                log.warning("a tool failed", tool=tool.name, agent=caller.name, code=error.code, error=error.message)
            raise
        except Exception as error:
            log.exception("a tool failed", tool=tool.name, agent=caller.name)
            raise Bug(f"the tool {tool.name} failed") from error
        return answer

    def _check_pace(self, tool: Tool, caller: AgentPrincipal) -> None:
        if not tool.per_minute:
            return
        recent, at = self._recent[caller.id, tool.name], self._store.clock.monotonic()
        while recent and recent[0] <= at - 60:
            recent.popleft()
        if len(recent) >= tool.per_minute:
            raise LimitReached(
                f"you called {tool.name} {tool.per_minute} times within a minute, which is its limit",
                remedy="wait a minute",
                code="tool_rate",
            )
        recent.append(at)

    def _checked(self, tool: Tool, arguments: object) -> Mapping[str, Any]:
        if arguments is None:
            arguments = {}
        if not isinstance(arguments, dict):
            raise Invalid(f"the arguments of {tool.name} are not a JSON object", remedy=_usage(tool))
        given = cast("dict[str, Any]", arguments)
        if not _storable(given):
            raise Invalid("the arguments are nested too deeply or hold half a character", remedy="send plain text")
        validator: Any = self._validators[tool.name]  # its types are only half there
        mistakes: list[ValidationError] = sorted(validator.iter_errors(given), key=_place)
        if mistakes:
            texts = "; ".join(_mistake(mistake) for mistake in mistakes[:3])
            raise Invalid(f"{tool.name}: {texts}", remedy=_usage(tool), code="bad_arguments")
        return given


def check_body(body: bytes) -> None:
    """Refuse a call that would take long to read, before it is read.

    Raises:
        Invalid: it has too many parts.
    """
    if too_intricate(body, MARKS_MOST):
        raise Invalid("the body has too many parts", remedy="send the arguments as a flat JSON object")


def schema_of(tool: Tool) -> Json:
    """The schema of a tool's arguments as agents see it: names that are not in it are mistakes."""
    return {"type": "object", "additionalProperties": False, **tool.parameters}


def _storable(arguments: Mapping[str, Any]) -> bool:
    """Whether rows and files can hold all texts: JSON can say half a character, UTF-8 cannot."""
    try:
        json.dumps(arguments, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        return False
    return True


def _usage(tool: Tool) -> str:
    required = set(tool.parameters.get("required", ()))
    names = [name if name in required else f"[{name}]" for name in tool.parameters.get("properties", {})]
    return f"{tool.name} takes: {', '.join(names)}" if names else f"{tool.name} takes no arguments"


def _mistake(error: ValidationError) -> str:
    where = ".".join(str(part) for part in error.absolute_path)
    text = error.message if len(error.message) <= SHOWN else f"{error.message[:SHOWN]}..."
    return visible(f"{where}: {text}" if where else text, lines=False)


def _place(error: ValidationError) -> str:
    return "/".join(str(part) for part in error.absolute_path)


def _short(name: str) -> str:
    return repr(visible(name[:64], lines=False))


def _seen(future: asyncio.Future[Json]) -> None:
    if not future.cancelled():
        future.exception()
