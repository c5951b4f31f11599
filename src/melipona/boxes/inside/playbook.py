"""The playbook player: the engine program that plays a scripted agent in its box (D-27).

    python3 -I -S /opt/mel/playbook.py

One file on the standard library alone, Python >= 3.8. Lines of JSON come in (first the launch, then prompts and control
requests) and go out (session, delta, text, tool, tool_result, usage, context, result); `engines/playbook.py` is the
other end. Tools and model calls go through the gate on loopback. One thread and one poll: whatever a step waits for,
an interrupt is heard at once.

Its memory is `~/.playbook/SESSION.json`: how often each rule ran, the variables, the number of turns. It is written
before a rule's first step, so that a turn that died counts and its repeat is `nth` = 2.
"""

# Plain paths, because pathlib would add a fifth to the start.
# ruff: noqa: PTH103, PTH105, PTH110, PTH118, PTH120
# pyright: basic
from __future__ import annotations

import collections
import json
import os
import re
import select
import signal
import socket
import time

TYPE_CHECKING = False  # `typing` would be a slow import
if TYPE_CHECKING:
    from typing import Any

FORMAT = 1
OUTPUT_LIMIT = 1 << 20
SHOWN_LIMIT = 64 << 10
LINE_LIMIT = 64 << 20
WINDOW = 200_000
DEFAULT_MODEL = "claude-haiku-4-5"
STEP_TIMEOUT = 600.0
TOOL_TRIES = 5
USAGE_FIELDS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_input_tokens",
    "cache_creation_tokens": "cache_creation_input_tokens",
}
MODEL_TRIES = 3
POLL_MOST = 86_400_000  # ms of one poll: the kernel takes no more than 24 days
KEPT = ("turns", "context", "counts", "variables", "model")
PLACEHOLDER = re.compile(r"\{(\{?)([a-z_][a-z0-9_]*)((?:\.[A-Za-z0-9_-]+)*)\}(\}?)")
PLAIN_WORD = re.compile(r"[A-Za-z0-9_@%+=:,./-]+\Z")
SESSION = re.compile(r"[0-9a-f]{32}\Z")
UPSTREAM_OUTCOMES = {401: "login_expired", 429: "rate_limited", 500: "upstream", 502: "upstream", 503: "upstream",
                     504: "upstream", 529: "upstream"}  # fmt: skip


class Interrupted(Exception):
    """A person stopped the turn."""


class StepFailed(Exception):
    """A step that ends its turn."""

    def __init__(self, detail, outcome="failed"):
        super().__init__(detail)
        self.detail, self.outcome = detail, outcome


class Broken(Exception):
    """A connection to the gate broke, or never came about."""


def write(**line):
    """Write one line of output."""
    data = memoryview(json.dumps(line).encode() + b"\n")
    while data:
        data = data[os.write(1, data) :]


# ---- placeholders ---------------------------------------------------------------------------------------------------


def shown(value):
    """A value as text: the text of a result that has one, otherwise JSON."""
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        return value["text"]
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def quoted(text):
    """One word for a shell."""
    return text if PLAIN_WORD.match(text) else "'" + text.replace("'", "'\"'\"'") + "'"


def look_up(scope, name, path) -> Any:
    """The value of `{name.path}`; None where there is none."""
    value = scope.get(name)
    for part in path.split(".")[1:]:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def fill(value, scope, word: Any = str) -> Any:
    """`value` with its placeholders replaced, in tables and lists too; one that is all of a text keeps its type."""
    if isinstance(value, dict):
        return {key: fill(one, scope) for key, one in value.items()}
    if isinstance(value, list):
        return [fill(one, scope) for one in value]
    if not isinstance(value, str):
        return value
    whole = PLACEHOLDER.fullmatch(value)
    if whole and not whole[1] and not whole[4] and word is str:
        return look_up(scope, whole[2], whole[3])

    def replace(found):
        if found[1] and found[4]:
            return found[0][1:-1]
        return found[1] + word(shown(look_up(scope, found[2], found[3]))) + found[4]

    return PLACEHOLDER.sub(replace, value)


def fill_text(value, scope, word: Any = str) -> str:
    """`fill`, always as text."""
    return shown(fill(value, scope, word))


# ---- memory ---------------------------------------------------------------------------------------------------------


class Memory:
    """What a session remembers, in one file that is always whole."""

    def __init__(self, session):
        self.session = session
        self.turns, self.context = 0, 0
        self.counts: dict = {}
        self.variables: dict = {}
        self.model: str | None = None

    @classmethod
    def of(cls, session):
        """The memory of a session, a fresh one without a name; None if there is no such session, or it is no use."""
        if not session:
            return cls(os.urandom(16).hex())
        memory = cls(session)
        try:
            with open(memory.path(), encoding="utf-8") as file:
                kept = json.load(file)
            memory.__dict__.update({key: kept[key] for key in KEPT})
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return memory

    def path(self):
        """Its file. A session's name is ours; anything else is no file of ours."""
        if not SESSION.match(self.session):
            raise ValueError("not a session's name")
        return os.path.join(os.environ.get("HOME") or "/home/agent", ".playbook", self.session + ".json")

    def save(self):
        """Replace the file."""
        path = self.path()
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump({key: self.__dict__[key] for key in KEPT}, file)
        os.replace(path + ".new", path)


# ---- input ----------------------------------------------------------------------------------------------------------


class Input:
    """The program's input and everything else that is waited for."""

    def __init__(self, control):
        self.control = control
        self.prompts = collections.deque()
        self.ended = False
        self.stopping = False
        self.interrupted = False
        self.running = False
        self._part = bytearray()
        self._wake, writer = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._signalled)

    def _signalled(self, number, frame):
        if number == signal.SIGTERM:
            self.stopping = True
        elif number == signal.SIGINT:
            self.interrupt()

    def interrupt(self):
        """Stop the running turn, or the one whose prompt waits; with neither it changes nothing."""
        self.interrupted = self.running or bool(self.prompts)

    def wait(self, reading=(), writing=(), seconds=None):
        """Wait until a descriptor is ready, a child ended or the time is up; the ready descriptors.

        Raises Interrupted in a turn that is to stop, SystemExit when the program is to end.
        """
        self.check()
        poll = select.poll()
        for fd in (self._wake, *reading, *(() if self.ended else (0,))):
            poll.register(fd, select.POLLIN)
        for fd in writing:
            poll.register(fd, select.POLLOUT)
        ready = {fd for fd, _ in poll.poll(None if seconds is None else min(max(0, seconds) * 1000, POLL_MOST))}
        if self._wake in ready:
            os.read(self._wake, 4096)
        if 0 in ready:
            self._read()
        self.check()
        return ready - {0, self._wake}

    def check(self):
        """Raise what a signal or a control request asks for."""
        if self.stopping:
            raise SystemExit(143)
        if self.interrupted and self.running:
            raise Interrupted

    def sleep(self, seconds):
        """Wait, hearing everything."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.wait(seconds=until - time.monotonic())

    def _read(self):
        data = os.read(0, 1 << 16)
        self.ended = not data
        self._part += data
        if len(self._part) > LINE_LIMIT:
            raise SystemExit("a line of input is too long")
        if b"\n" in data:
            *lines, rest = bytes(self._part).split(b"\n")
            self._part = bytearray(rest)
            for line in lines:
                self._take(line)

    def _take(self, line):
        try:
            message = json.loads(line)
            kind = message["type"]
        except (ValueError, TypeError, KeyError):
            write(type="refused", detail="a line of input is not an object with a type")
            return
        if kind in ("launch", "prompt", "compact"):
            self.prompts.append(message)
        else:
            self.control(message)

    def next(self):
        """The next prompt; None when the input has ended."""
        while not self.prompts:
            if self.ended:
                return None
            self.wait()
        return self.prompts.popleft()


# ---- programs -------------------------------------------------------------------------------------------------------


def run(source, argv, timeout):
    """Run a program in a process group of its own; its output and exit code. The group dies if the turn stops."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
               (os.POSIX_SPAWN_DUP2, writer, 1), (os.POSIX_SPAWN_DUP2, writer, 2)]  # fmt: skip
    defaults = [signal.SIGPIPE, signal.SIGINT, signal.SIGTERM]
    try:
        pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions, setpgroup=0, setsigdef=defaults)
    except OSError as error:
        os.close(reader)
        return 127, f"{argv[0]}: {error.strerror}"
    finally:
        os.close(writer)
    kept, status, open_, until = bytearray(), None, True, time.monotonic() + timeout
    try:
        while status is None:
            left = until - time.monotonic()
            if left <= 0:
                raise StepFailed(f"{argv[0]} did not end within {timeout:g} s")
            source.wait([reader] if open_ else [], seconds=left)
            open_ = open_ and drain(reader, kept)
            done, found = os.waitpid(pid, os.WNOHANG)
            status = found if done else None
        drain(reader, kept)
    finally:
        if status is None:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(reader)
    assert status is not None
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
    return code, kept.decode("utf-8", "replace")


def drain(fd, kept):
    """Read what is there; beyond the limit it is dropped. Whether there may be more."""
    while True:
        try:
            data = os.read(fd, 1 << 16)
        except BlockingIOError:
            return True
        if not data:
            return False
        kept += data[: max(0, OUTPUT_LIMIT - len(kept))]


# ---- HTTP -----------------------------------------------------------------------------------------------------------


class Exchange:
    """One request to the gate and its answer."""

    def __init__(self, source, gate, timeout, late="failed"):
        """`late` is how a turn ends whose step waited for longer than `timeout`."""
        self.source, self.until, self.late = source, time.monotonic() + timeout, late
        self.host, _, port = gate.rpartition(":")
        self.status, self.headers = 0, {}
        self._got = bytearray()
        self.socket = socket.socket()
        try:
            self.socket.connect((self.host, int(port)))
        except OSError as error:
            self.socket.close()
            raise Broken(f"the gate cannot be reached: {error.strerror}") from None
        self.socket.setblocking(False)

    def send(self, path, headers, content):
        """Send a POST request."""
        body = json.dumps(content).encode()
        head = {
            "host": self.host,
            "content-type": "application/json",
            "content-length": len(body),
            "connection": "close",
        }
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in {**head, **headers}.items())]
        data = memoryview("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        while data:
            self._wait(writing=[self.socket.fileno()])
            data = data[self._try(self.socket.send, data) :]
        self._head()

    def body(self):
        """Pieces of the answer's body, as they come. Raises Broken if it ends early."""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while True:
                size = int(self._until(b"\r\n").split(b";")[0], 16)
                piece = self._exactly(size + 2)[:size]
                if not size:
                    return
                yield piece
        elif "content-length" in self.headers:
            yield self._exactly(int(self.headers["content-length"]))
        else:
            while self._got or self._more(last=True):
                piece, self._got = bytes(self._got), bytearray()
                yield piece

    def close(self):
        self.socket.close()

    def _head(self):
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}

    def _until(self, mark):
        while mark not in self._got:
            self._more()
        found, _, rest = bytes(self._got).partition(mark)
        self._got = bytearray(rest)
        return found

    def _exactly(self, size):
        while len(self._got) < size:
            self._more()
        found, self._got = bytes(self._got[:size]), self._got[size:]
        return found

    def _more(self, last=False):
        self._wait(reading=[self.socket.fileno()])
        data = self._try(self.socket.recv, 1 << 16)
        if data == b"" and not last:
            raise Broken("the gate closed the connection")
        self._got += data or b""
        return data != b""

    def _wait(self, **fds):
        left = self.until - time.monotonic()
        if left <= 0:
            raise StepFailed("the gate did not answer in time", self.late)
        self.source.wait(seconds=left, **fds)

    @staticmethod
    def _try(act, argument):
        try:
            return act(argument)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise Broken(f"the connection to the gate broke: {error.strerror}") from None


# ---- steps ----------------------------------------------------------------------------------------------------------


class Player:
    """Plays the rules of one playbook in one session."""

    def __init__(self, launch, source, memory):
        self.launch, self.source, self.memory = launch, source, memory
        self.rules = launch["playbook"]["rules"]
        self.memory.model = launch.get("model") or self.memory.model
        self.run_id = os.urandom(4).hex()
        self.calls = 0
        self.claimed: dict = {}

    # -- control requests

    def control(self, message):
        """Answer a control request; it never ends the program."""
        kind, request = message["type"], message.get("request")
        if kind == "interrupt":
            self.source.interrupt()
        elif kind == "set_model":
            self.memory.model = str(message.get("model"))
            self.memory.save()
        elif kind == "context":
            write(type="context", tokens=self.memory.context, window=WINDOW)
        else:
            write(type="answered", request=request, ok=False, data={"error": f"{kind} is not known"})
            return
        write(type="answered", request=request, ok=True, data={})

    # -- turns

    def play(self, prompt):
        """Play one turn and say how it ended."""
        self.source.running = True
        self.memory.turns += 1
        self.claimed = {}
        write(type="session", session=self.memory.session, model=self.memory.model, version=str(FORMAT))
        try:
            self.memory.save()
            self.source.check()
            self.grow(prompt.get("text") or "")
            whole = {
                "id": 0,
                "sender": "system",
                "kind": "prompt",
                "body": prompt.get("text") or "",
                "maybe_seen": False,
            }
            for message in prompt.get("messages") or [whole]:
                self.answer(message, 1)
            end = {"outcome": "ok"}
        except Interrupted:
            end = {"outcome": "interrupted", "detail": "interrupted"}
        except StepFailed as failure:
            end = {"outcome": failure.outcome, "detail": failure.detail}
        except Broken as failure:
            end = {"outcome": "upstream", "detail": str(failure)}
        except Exception as failure:  # a wrong rule ends its turn and not the program
            end = {"outcome": "failed", "detail": f"{type(failure).__name__}: {failure}"}
        self.source.running = self.source.interrupted = False
        write(type="result", session=self.memory.session, usage=self.claimed, **self.remembered(end))

    def remembered(self, end):
        """Save; the end as it was, or a bad one where a good turn cannot be remembered (a full disk, say)."""
        try:
            self.memory.save()
        except OSError as failure:
            if end["outcome"] == "ok":
                return {"outcome": "failed", "detail": f"the session cannot be kept: {failure.strerror}"}
        return end

    def compact(self):
        """Halve the measured context: there is no real one."""
        before = self.memory.context
        self.memory.context = before // 2
        self.memory.save()
        write(type="compaction", before=before, after=self.memory.context)
        write(type="result", session=self.memory.session, outcome="ok")

    def grow(self, text):
        """Count text to the context, four characters a token."""
        self.memory.context += len(text) // 4 + 1

    def answer(self, message, depth):
        """Play the first rule that fits a message."""
        for rule in self.rules:
            scope = self.fits(rule, message)
            if scope is not None:
                self.steps(rule["steps"], scope, depth)
                return
        self.say(f"no rule for the message of {message['sender']}", {})

    def fits(self, rule, message):
        """The placeholders of a rule that fits a message; None if it does not. Counts the rule."""
        match = re.search(rule["match"], message["body"], re.DOTALL) if "match" in rule else None
        if not (
            any(glob(pattern, message["sender"]) for pattern in rule.get("from", ["*"]))
            and message["kind"] in rule.get("kind", [message["kind"]])
            and rule.get("body", "") in message["body"]
            and ("match" not in rule or match)
            and rule.get("first_turn", self.memory.turns == 1) == (self.memory.turns == 1)
            and rule.get("maybe_seen", message["maybe_seen"]) == message["maybe_seen"]
        ):
            return None
        count = self.memory.counts[rule["name"]] = self.memory.counts.get(rule["name"], 0) + 1
        self.memory.save()
        if count not in rule.get("nth", [count]):
            return None
        groups = {str(n): text or "" for n, text in enumerate([match[0], *match.groups()])} if match else {}
        groups.update({name: text or "" for name, text in match.groupdict().items()} if match else {})
        own = {"agent": self.launch["agent"], "role": self.launch["role"], "session": self.memory.session}
        return {**self.memory.variables, **message, **own, "turn": self.memory.turns, "nth": count, "match": groups}

    def steps(self, steps, scope, depth):
        """Play steps in order."""
        for step in steps:
            self.source.wait(seconds=0)
            scope.update(self.memory.variables)
            getattr(self, "do_" + step["do"])(step, scope, depth)

    def keep(self, step, value):
        """Keep a step's result as the variable that it names."""
        if "into" in step:
            self.memory.variables[step["into"]] = value
            self.memory.save()

    # -- steps that only speak

    def do_say(self, step, scope, depth):
        self.say(fill_text(step.get("say", ""), scope), step)

    def do_think(self, step, scope, depth):
        self.say(fill_text(step["think"], scope), step, thinking=True)

    def say(self, text, step, thinking=False):
        """Say a text, word by word if it is to take time."""
        if step.get("over"):
            words = re.findall(r"\S+\s*", text) or [text]
            for word in words:
                write(type="delta", text=word, thinking=thinking)
                self.source.sleep(step["over"] / len(words))
        write(type="text", text=text, thinking=thinking)
        self.grow(text)

    def do_usage(self, step, scope, depth):
        self.claim(step["usage"])

    def claim(self, usage):
        """Claim usage: tokens add up over the turn, the cost is the session's so far."""
        for name, number in usage.items():
            self.claimed[name] = number if name == "session_cost_usd" else self.claimed.get(name, 0) + (number or 0)
        write(type="usage", **self.claimed)

    def do_raw(self, step, scope, depth):
        data = memoryview((step["raw"] * step.get("times", 1)).encode() + b"\n")
        while data:
            data = data[os.write(1, data[: 1 << 20]) :]

    def do_fail(self, step, scope, depth):
        outcome, detail = step.get("outcome", "failed"), fill_text(step["fail"], scope)
        if outcome == "rate_limited":
            write(type="rate_limited", retry_after=step.get("retry_after"), detail=detail)
        raise StepFailed(detail, outcome)

    def do_crash(self, step, scope, depth):
        if isinstance(step["crash"], int):
            os._exit(step["crash"])
        number = getattr(signal, step["crash"])
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def do_set(self, step, scope, depth):
        for name, value in step["set"].items():
            self.memory.variables[name] = fill(value, scope)
        self.memory.save()

    def do_wait(self, step, scope, depth):
        self.source.sleep(step["wait"])

    def do_repeat(self, step, scope, depth):
        for number in range(1, step["repeat"] + 1):
            scope["round"] = number
            self.steps(step["steps"], scope, depth)

    # -- steps that act

    def do_send(self, step, scope, depth):
        arguments = {"to": fill_text(step.get("to", "{sender}"), scope), "body": fill_text(step["send"], scope)}
        self.tool("send", {**arguments, **fill(step.get("with", {}), scope)}, step)

    def do_tool(self, step, scope, depth):
        self.tool(fill_text(step["tool"], scope), fill(step.get("with", {}), scope), step)

    def do_receive(self, step, scope, depth):
        got = self.tool("receive", {"wait_seconds": step["receive"]}, step)
        if step.get("handle") and depth < 20:
            for message in got.get("messages") or []:
                self.answer(received(message), depth + 1)

    def do_shell(self, step, scope, depth):
        command = fill_text(step["shell"], scope, quoted)
        self.program("shell", {"command": command}, ["/bin/sh", "-c", command], step)

    def do_git(self, step, scope, depth):
        arguments = [fill_text(word, scope) for word in step["git"]]
        self.program("git", {"arguments": arguments}, ["git", *arguments], step)

    def do_hold(self, step, scope, depth):
        path, call = fill_text(step["hold"], scope), self.begin("hold", {"until": step["hold"]})
        until = time.monotonic() + step.get("timeout", 1e9)
        with self.call(call):
            while not os.path.exists(path):
                if time.monotonic() > until:
                    raise StepFailed(f"{path} did not appear within {step['timeout']:g} s")
                self.source.sleep(0.02)
        self.end(call, True, "it is there")

    def program(self, name, shown_input, argv, step):
        """Run a program as a tool call."""
        call = self.begin(name, shown_input)
        with self.call(call):
            code, text = run(self.source, argv, step.get("timeout", STEP_TIMEOUT))
        self.end(call, code == 0, text)
        self.keep(step, {"exit": code, "ok": code == 0, "text": text.rstrip("\n")})
        if code and not step.get("may_fail"):
            raise StepFailed(f"{name} ended with {code}: {text[-500:].strip()}")

    def tool(self, name, arguments, step) -> dict:
        """Call a tool through the gate; its result. One that is told no raises StepFailed, unless it may fail."""
        call = self.begin(name, arguments)
        with self.call(call):
            status, answer = self.post_tool(name, arguments, call, step.get("timeout", STEP_TIMEOUT))
        ok = 200 <= status < 300
        result = answer.get("result") if ok else {**answer, "ok": False, "status": status}
        result = result if isinstance(result, dict) else {"text": shown(result)}
        detail = answer.get("detail") or answer.get("title") or f"status {status}"
        self.end(call, ok, json.dumps(result) if ok else detail)
        self.keep(step, result if ok else {**result, "text": detail})
        if not ok and not step.get("may_fail"):
            raise StepFailed(f"tool {name}: {detail}", "upstream" if status >= 500 else "failed")
        return result

    def post_tool(self, name, arguments, call, timeout):
        """Status and answer of a tool. The key makes a repeat after a broken connection harmless (D-23)."""
        for attempt in range(1, TOOL_TRIES + 1):
            try:
                exchange = Exchange(self.source, self.launch["gate"], timeout)
                try:
                    exchange.send("/api/tools/" + name, {"idempotency-key": call}, arguments)
                    return exchange.status, json_object(b"".join(exchange.body()))
                finally:
                    exchange.close()
            except Broken:
                if attempt == TOOL_TRIES:
                    raise
                self.source.sleep(0.05 * 3**attempt)
        raise AssertionError

    def begin(self, name, shown_input):
        """Say that a tool call begins; its id, which no other call of this agent has."""
        self.calls += 1
        call = f"{self.memory.session}-{self.memory.turns}-{self.run_id}-{self.calls}"
        write(type="tool", id=call, name=name, input=shown_input)
        return call

    def end(self, call, ok, text):
        """Say how a tool call ended."""
        self.grow(text)
        write(type="tool_result", id=call, ok=ok, text=text[:SHOWN_LIMIT])

    def call(self, call):
        """While in here, leaving by an exception ends the tool call."""
        return OpenCall(self, call)

    # -- the model

    def do_model(self, step, scope, depth):
        name = fill_text(step.get("name") or self.memory.model or DEFAULT_MODEL, scope)
        content = {"model": name, "max_tokens": step.get("max_tokens", 256), "stream": step.get("stream", True),
                   "messages": [{"role": "user", "content": fill_text(step["model"], scope)}]}  # fmt: skip
        for attempt in range(1, MODEL_TRIES + 1):
            try:
                text = self.ask_model(content, step)
                break
            except Broken as failure:
                if attempt == MODEL_TRIES:
                    raise
                write(type="retry", attempt=attempt, error=str(failure))
                self.source.sleep(0.1 * 3**attempt)
        self.keep(step, {"text": text or "", "ok": text is not None})

    def ask_model(self, content, step):
        """One model request; its text, said as it comes. None if it was refused and may fail."""
        exchange = Exchange(self.source, self.launch["gate"], step.get("timeout", STEP_TIMEOUT), late="upstream")
        try:
            headers = {"x-api-key": "placeholder-the-gate-adds-the-key", "anthropic-version": "2023-06-01"}
            exchange.send("/model/anthropic/v1/messages", headers, content)
            if exchange.status != 200:
                return self.model_refused(exchange, step)
            if content["stream"]:
                text, usage = self.streamed(exchange)
            else:
                answer = json_object(b"".join(exchange.body()))
                if not answer:
                    raise Broken("the model's answer is no JSON")
                text = "".join(block.get("text", "") for block in answer.get("content") or [])
                usage = answer.get("usage") or {}
        finally:
            exchange.close()
        self.say(text, {})
        self.claim({name: usage.get(field) for name, field in USAGE_FIELDS.items()})
        return text

    def streamed(self, exchange):
        """Text and usage of a streamed answer."""
        text, usage, buffer, whole = "", {}, b"", False
        for piece in exchange.body():
            *lines, buffer = (buffer + piece).split(b"\n")
            for line in lines:
                event = json_object(line[5:]) if line.startswith(b"data:") else {}
                usage.update(event.get("usage") or (event.get("message") or {}).get("usage") or {})
                delta = (event.get("delta") or {}).get("text")
                if delta:
                    text += delta
                    write(type="delta", text=delta, thinking=False)
                whole = whole or event.get("type") == "message_stop"
        if not whole:
            raise Broken("the model's answer broke off")
        return text, usage

    def model_refused(self, exchange, step):
        """Tell a refusal of the model API; the turn ends unless the step may fail."""
        error = json_object(b"".join(exchange.body())).get("error")
        detail = f"model: {error.get('message') if isinstance(error, dict) else exchange.status}"
        if exchange.status == 429:
            wait = exchange.headers.get("retry-after", "")
            write(type="rate_limited", retry_after=float(wait) if wait.isdigit() else None, detail=detail)
        if not step.get("may_fail"):
            raise StepFailed(detail, UPSTREAM_OUTCOMES.get(exchange.status, "failed"))
        return


class OpenCall:
    """A tool call that is under way: an exception ends it, so that no view shows it running for ever."""

    def __init__(self, player, call):
        self.player, self.call = player, call

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind in (Interrupted, StepFailed, Broken):
            self.player.end(self.call, False, str(error) or "interrupted")


def json_object(data):
    """The JSON object in `data`; an empty one if there is none."""
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def received(message):
    """A message as the tool `receive` tells it, in the form of a prompt's."""
    number = str(message.get("id", "")).lstrip("m")
    return {
        "id": int(number) if number.isdigit() else 0,
        "sender": message.get("from") or "system",
        "body": message.get("body") or "",
        "kind": "broadcast" if "hint" in message else "mail",
        "maybe_seen": message.get("maybe_seen") is True,
    }


def glob(pattern, name):
    """Whether a name is the pattern, or begins with what stands before its final star."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def main():
    """Play until the input ends."""
    early = []
    source = Input(early.append)
    launch = source.next()
    if launch is None:
        return
    memory = Memory.of(launch.get("session"))
    if memory is None:
        write(type="result", session=launch["session"], outcome="no_session", detail="there is no such session")
        raise SystemExit(1)
    player = Player(launch, source, memory)
    source.control = player.control
    for message in early:
        player.control(message)
    while True:
        prompt = source.next()
        if prompt is None:
            return
        if prompt["type"] == "compact":
            player.compact()
        else:
            player.play(prompt)


if __name__ == "__main__":
    main()
