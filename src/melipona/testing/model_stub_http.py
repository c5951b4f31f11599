"""One connection to the stub of the Messages API: checks the key, describes the request, plays the chosen step."""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol, cast

from melipona.testing import model_script
from melipona.testing.model_script import USAGE, Json, Step

LONGEST_WAIT = 120.0
"""Seconds that no wait of a stub outlasts."""

_GARBAGE = {
    "sse": b'event: message_start\ndata: {"type": "message_start", "message": [\n\ndata: nonsense\n\nid\n\n',
    "json": b'{"id": "msg_1", "type": "message", "content": [{"type": "text", "te',
    "html": b"<html><body>502 Bad Gateway</body></html>",
}
_SECRET_HEADERS = frozenset({"x-api-key", "authorization", "cookie"})
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class StubState(Protocol):
    """What a connection needs of its stub."""

    key: str
    hostile: str | None
    requests: list[Json]
    spent: dict[str, int]
    stopping: threading.Event

    @property
    def url(self) -> str: ...

    def record(self, line: Json) -> int: ...


class StubHandler(BaseHTTPRequestHandler):
    """One connection. A subclass serves more paths by overriding `other`."""

    protocol_version = "HTTP/1.1"
    _rate = 0.0
    stub: StubState

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it)
        """Nothing goes to stderr."""

    def do_GET(self) -> None:
        self._serve(b"")

    def do_HEAD(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers.get("content-length") or 0)))

    def _serve(self, body: bytes) -> None:
        if self.other(body):
            return
        request = _object(body)
        refused = not self.has_key()
        number = self.stub.record(self._described(request, body, refused=refused))
        if refused:
            self.answer(401, _error(401, "authentication_error", "invalid x-api-key"))
        elif "count_tokens" in self.path:
            self.answer(200, {"input_tokens": max(1, len(body) // 4)})
        elif not self.path.split("?")[0].endswith("/v1/messages"):
            self.answer(404 if body else 200, {"data": []})
        else:
            self._message(request, number)

    def other(self, body: bytes) -> bool:
        """Serve a path that is not the Messages API's; False leaves the request to the stub."""
        del body
        return False

    def has_key(self) -> bool:
        """Whether the request carries the only good key."""
        bearer = (self.headers.get("authorization") or "").removeprefix("Bearer ")
        return self.stub.key in (self.headers.get("x-api-key"), bearer)

    def _described(self, request: Json, body: bytes, *, refused: bool) -> Json:
        headers = {k.lower(): "(present)" if k.lower() in _SECRET_HEADERS else v for k, v in self.headers.items()}
        return {
            "method": self.command,
            "path": self.path,
            "refused": refused,
            "bytes": len(body),
            "headers": {k: v.replace(self.stub.key, "(key)") for k, v in headers.items()},
            "model": request.get("model"),
            "stream": bool(request.get("stream")),
            "fields": sorted(request),
            "tools": model_script.tool_names(request),
            "text": model_script.newest_text(request)[-4000:],
            "results": [r[-4000:] for r in model_script.tool_results(request)],
            "system": json.dumps(request.get("system") or "")[-20_000:],
            "messages": len(request.get("messages") or []),
        }

    def _message(self, request: Json, number: int) -> None:
        step = model_script.choose(request, self.stub.spent)
        self.pause(step)
        hostile = step.get("echo_key") or self.stub.hostile
        if hostile:
            end = self._leak(str(hostile), request, number)
        elif "status" in step:
            end = self._refuse(step)
        elif "hang" in step:
            self.nap(float(step["hang"]))
            self.close_connection, end = True, "hung"
        elif "stall" in step or "garbage" in step:
            end = self._nonsense(step)
        elif request.get("stream"):
            end = self._stream(request, step, number)
        else:
            self.answer(200, _message_of(request, step, number))
            end = "done"
        self.stub.record({"n": number, "end": end})

    def pause(self, step: Step) -> None:
        """Wait as the step says."""
        self.nap(float(step.get("wait", 0)))
        path, waited = step.get("wait_file"), 0.0
        while path and not os.path.exists(path) and waited < LONGEST_WAIT:
            if self.stub.stopping.wait(0.02):
                return
            waited += 0.02

    def nap(self, seconds: float) -> None:
        """Sleep, unless the stub closes."""
        if seconds > 0:
            self.stub.stopping.wait(min(seconds, LONGEST_WAIT))

    def _refuse(self, step: Step) -> str:
        status = int(step["status"])
        kind = str(step.get("error") or _ERROR_TYPES.get(status, "api_error"))
        headers = {"retry-after": str(step["retry_after"])} if "retry_after" in step else {}
        if step.get("final"):
            headers["x-should-retry"] = "false"
        self.answer(status, _error(status, kind, str(step.get("message") or "the stub was told to refuse")), headers)
        return f"status {status}"

    def _leak(self, how: str, request: Json, number: int) -> str:
        key = self.stub.key
        if how == "redirect":
            self.answer(302, {}, {"location": f"{self.stub.url}/stolen?key={key}"})
        elif how == "401":
            self.answer(401, _error(401, "authentication_error", f"the key {key} is not good"), {"x-key": key})
        elif how == "header":
            message = _message_of(request, {"text": "see the headers"}, number)
            self.answer(200, message, {"x-echo": key, "request-id": key, "set-cookie": f"key={key}"})
        else:
            step: Step = {"text": f"you sent the key {key}"}
            if request.get("stream"):
                return self._stream(request, step, number)
            self.answer(200, _message_of(request, step, number))
        return f"leaked by {how}"

    def answer(self, status: int, content: Json, headers: dict[str, str] | None = None) -> None:
        """Answer with a JSON object."""
        body = json.dumps(content).encode()
        self.send_response(status)
        fields = {"content-type": "application/json", "content-length": str(len(body)), "request-id": "req_stub"}
        for name, value in (fields | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _nonsense(self, step: Step) -> str:
        """An answer that begins as a good one does."""
        kind = str(step.get("garbage", "sse"))
        self.send_response(200)
        self.send_header(
            "content-type", {"sse": "text/event-stream", "html": "text/html"}.get(kind, "application/json")
        )
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        if "stall" in step:
            self.nap(float(step["stall"]))
            return "stalled"
        self.wfile.write(_GARBAGE[kind])
        return "garbage"

    def _stream(self, request: Json, step: Step, number: int) -> str:
        message = _message_of(request, step, number)
        self.send_response(200)
        for name, value in (("content-type", "text/event-stream"), ("request-id", "req_stub"), ("connection", "close")):
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        self._rate = float(step.get("trickle", 0))
        try:
            return self._events(message, step)
        except OSError:
            return "aborted"

    def _events(self, message: Json, step: Step) -> str:
        usage, content = message["usage"], message["content"]
        opening: Json = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
        self._event("message_start", message=opening)
        for index, block in enumerate(content):
            self._event("content_block_start", index=index, content_block=_emptied(block))
            for _ in range(int(float(step.get("slow", 0)) * 10) if block["type"] == "text" else 0):
                self._delta(index, {"type": "text_delta", "text": "tick "})
                self.nap(0.1)
            if step.get("cut"):
                self._delta(index, {"type": "text_delta", "text": "this is cut"})
                return "cut"
            self._delta(index, _whole_delta(block))
            if block["type"] == "thinking":
                self._delta(index, {"type": "signature_delta", "signature": "c3R1Yg=="})
            self._event("content_block_stop", index=index)
        ending = {"stop_reason": message["stop_reason"], "stop_sequence": None}
        self._event("message_delta", delta=ending, usage={"output_tokens": usage["output_tokens"]})
        self._event("message_stop")
        return "done"

    def _delta(self, index: int, delta: Json) -> None:
        self._event("content_block_delta", index=index, delta=delta)

    def _event(self, kind: str, **data: Any) -> None:
        whole = f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()
        if not self._rate:
            self.wfile.write(whole)
            return self.wfile.flush()
        for at in range(len(whole)):
            if self.stub.stopping.is_set():
                return None
            self.wfile.write(whole[at : at + 1])
            self.wfile.flush()
            self.nap(1 / self._rate)
        return None


def _message_of(request: Json, step: Step, number: int) -> Json:
    text = {"type": "text", "text": str(step.get("text", "the slow end" if "slow" in step else "done"))}
    call = {
        "type": "tool_use",
        "id": f"toolu_{os.urandom(8).hex()}",
        "name": step.get("tool"),
        "input": step.get("input", {}),
    }
    return {
        "id": f"msg_stub_{number}",
        "type": "message",
        "role": "assistant",
        "model": request.get("model"),
        "content": [*_thinking(step), call if "tool" in step else text],
        "stop_reason": "tool_use" if "tool" in step else "end_turn",
        "stop_sequence": None,
        "usage": USAGE | step.get("usage", {}),
    }


def _thinking(step: Step) -> list[Json]:
    return [{"type": "thinking", "thinking": str(step["think"]), "signature": ""}] if "think" in step else []


def _emptied(block: Json) -> Json:
    if block["type"] == "thinking":
        return {**block, "thinking": ""}
    return {**block, "input": {}} if block["type"] == "tool_use" else {"type": "text", "text": ""}


def _whole_delta(block: Json) -> Json:
    if block["type"] == "tool_use":
        return {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    if block["type"] == "thinking":
        return {"type": "thinking_delta", "thinking": block["thinking"]}
    return {"type": "text_delta", "text": block["text"]}


def _error(status: int, kind: str, message: str) -> Json:
    del status
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_stub"}


def _object(body: bytes) -> Json:
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return cast("Json", found) if isinstance(found, dict) else {}
