"""boxd, the init of every box: starts programs, keeps their output, carries loopback to the gate (D-13, D-14, D-15).

    python3 -I -S boxd.py '{"box": id, "hive": id, "gate_port": 4141, "egress_port": 4142, "limits": {...}, ...}'

One file, one thread, one poll loop, the standard library alone (Python >= 3.8) and only modules that cost little: no
asyncio, no subprocess, no `socket` and `json` where their C halves can be had. It dials `ctl.sock` for ever and never
listens where the box can write. A frame is 4 bytes length of a JSON head, 4 bytes length of a blob, head, blob; head
and blob together are at most 1 MiB.

From the daemon, each with a number `n` when it wants an answer (`{"ev": "reply", "re": n, ...}`):

    welcome {protocol}              this daemon has accepted the box (else the orphan rule runs, D-3)
    ping {}
    start {id, argv, env, cwd, terminal, lossless}      an id that is known already changes nothing
    write {id, seq, at, more} blob  one line, in slices that begin `at` in it; a number seen before does nothing (D-44)
    end {id}                        the input ends after all that was written
    signal {id, number, key}        to the process group; a `key` seen before changes nothing
    resize {id, rows, columns}
    follow {id, fol, at, to}        send output from `at`, not beyond `to`, as follower `fol`
    credit {fol, to}                the follower may have more
    unfollow {fol}
    ack {id, at}                    everything before `at` is stored
    forget {id}                     kill what runs and drop what is kept

To the daemon: hello, reply, out {fol, at} blob, gap {fol, at}, exit {fol, at, code} blob (the last of stderr).

Senders only queue: nothing is written to the daemon but from the handler of its own socket. Each handler's failure is
caught where it is dispatched and costs that one connection or program at most, because the death of PID 1 is the death
of the box. What programs do with each other inside the box is not boxd's concern.
"""

from __future__ import annotations

import sys


def _libc(name: str, *arguments: int | bytes) -> int:
    """Call a function of the C library, through the C half of ctypes when that works (ctypes itself costs 5 ms)."""
    try:
        c = __import__("_ctypes")
        return int(c.call_function(c.dlsym(c.dlopen(None, 2), name), arguments))
    except (ImportError, AttributeError, TypeError):
        import ctypes

        return int(getattr(ctypes.CDLL(None), name)(*arguments))


def undumpable() -> None:
    """Keep every other process of this uid out of our memory and descriptors (PR_SET_DUMPABLE, PR_GET_DUMPABLE)."""
    if _libc("prctl", 4, 0, 0, 0, 0) != 0 or _libc("prctl", 3, 0, 0, 0, 0) != 0:
        sys.exit("boxd: cannot make itself undumpable")


if __name__ == "__main__":
    undumpable()

import errno  # noqa: E402
import fcntl  # noqa: E402
import os  # noqa: E402
import resource  # noqa: E402
import select  # noqa: E402
import time  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PROTOCOL = 1
VERSION = "1.0"

FRAME = 1 << 20  # head and blob of one frame
SLICE = 1 << 18  # output in one frame
QUEUED = 1 << 20  # bytes for the daemon beyond which no more output is put in the queue
DEAF = 8 << 20  # bytes for the daemon beyond which it is not heard until it reads
LOSSLESS = 128 << 20  # unacknowledged output at which a lossless program is no longer read
RING = 64 << 20  # kept output of other programs
SEGMENT = 4 << 20  # size of one memfd of a program's output
LINE = 64 << 20  # longest line written to a program
INPUT = 128 << 20  # bytes waiting for a program to read them
STDERR = 64 << 10
PROGRAMS = 256
POLL_MOST = 86_400_000  # ms of one poll: the kernel takes no more than 24 days, and boxes live longer
FOLLOWERS = 1024
EOF_GRACE = 0.5  # a program's background children may hold its output open this long after its end
REDIAL = 0.05
GATE_WAIT = 600.0  # a request waits this long for a daemon that is away
EGRESS_WAIT = 60.0
BUFFER = 1 << 18  # bytes in flight of one relayed connection and direction
KEPT = 8 << 20  # longest request that is kept to be sent again (D-23)
KEPT_ALL = 64 << 20
TRIES = 3
RELAYS = 512
LINGER = 10.0
LOG_LINES = 200

IN, OUT = select.POLLIN, select.POLLOUT
BAD = select.POLLHUP | select.POLLERR | select.POLLNVAL

_s: Any = __import__("_socket")
try:
    _accept: Callable[[Any], int] = lambda s: s._accept()[0]  # noqa: E731
    _s.socket._accept  # noqa: B018
except AttributeError:
    _s = __import__("socket")
    _accept = lambda s: s.accept()[0].detach()  # noqa: E731
try:
    _sig: Any = __import__("_signal")
    _signal_names = (_sig.pthread_sigmask, _sig.set_wakeup_fd, _sig.SIGCHLD, _sig.SIG_SETMASK)
except (ImportError, AttributeError):
    _sig = __import__("signal")


# ---- JSON -----------------------------------------------------------------------------------------------------------


def _fast_json() -> tuple[Callable[[bytes], Any], Callable[[Any], bytes]]:
    """(loads, dumps) on the C half of `json`, which costs 15 ms less than the package."""
    c: Any = __import__("_json")

    def refuse(value: object) -> None:
        raise TypeError(type(value).__name__)

    class Context:
        strict = True
        object_hook = object_pairs_hook = array_hook = None
        parse_float = parse_constant = float
        parse_int = int
        memo: dict[str, str] = {}  # noqa: RUF012

    scan = c.make_scanner(Context)
    encode = c.make_encoder(None, refuse, c.encode_basestring_ascii, None, ":", ",", False, False, False)

    def loads(data: bytes) -> Any:
        text = data.decode()
        try:
            value, end = scan(text, 0)
        except StopIteration:
            raise ValueError("no JSON") from None
        if end != len(text):
            raise ValueError("more than one JSON value")
        return value

    def dumps(value: Any) -> bytes:
        return "".join(encode(value, 0)).encode()

    sample = {"a": [1, None, True, 'é"\n'], "b": {"c": -2.5}}
    if loads(dumps(sample)) != sample:
        raise ValueError("_json does not behave")
    return loads, dumps


def _slow_json() -> tuple[Callable[[bytes], Any], Callable[[Any], bytes]]:
    import json

    return json.loads, lambda value: json.dumps(value, separators=(",", ":")).encode()


try:
    loads, dumps = _fast_json()
except Exception:
    loads, dumps = _slow_json()


# ---- the loop -------------------------------------------------------------------------------------------------------


class Loop:
    """One poll loop with timers. A handler that fails is unwatched and its owner's `broken()` is called."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._watched: dict[
            int, tuple[int, int, Any, Callable[[int], None]]
        ] = {}  # fd -> (since, mask, owner, handler)
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._round = self._timer_count = self._lines = 0

    def want(self, fd: int, mask: int, owner: Any, handler: Callable[[int], None]) -> None:
        """Call `handler` when `fd` is ready for `mask`; 0 unwatches it, hang-ups included."""
        known = self._watched.get(fd)
        if not mask:
            self.unwatch(fd)
        elif known is None:
            self._poll.register(fd, mask)
            self._watched[fd] = (self._round, mask, owner, handler)
        elif known[1] != mask:
            self._poll.modify(fd, mask)
            self._watched[fd] = (known[0], mask, owner, handler)

    def unwatch(self, fd: int) -> None:
        if self._watched.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def close(self, fd: int) -> None:
        self.unwatch(fd)
        os.close(fd)

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        self._timer_count += 1
        self._timers.append((time.monotonic() + seconds, self._timer_count, call))
        self._timers.sort(reverse=True)

    def log(self, text: str) -> None:
        """A line on stderr; only the first lines, as an agent can cause failures at will."""
        self._lines += 1
        if self._lines <= LOG_LINES:
            try:
                os.write(2, f"boxd: {text[:500]}\n".encode("utf-8", "backslashreplace"))
            except OSError:
                pass

    def run_once(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[-1][0] <= now:
            call = self._timers.pop()[2]
            try:
                call()
            except Exception as error:
                self._failed(getattr(call, "__self__", None), error)
        wait = max(0.0, self._timers[-1][0] - time.monotonic()) * 1000 + 1 if self._timers else None
        self._round += 1
        for fd, events in self._poll.poll(None if wait is None else min(wait, POLL_MOST)):
            entry = self._watched.get(fd)
            if entry is None or entry[0] == self._round:  # closed, or another file with this number, since the poll
                continue
            try:
                entry[3](events)
            except Exception as error:
                if self._watched.get(fd) is entry:
                    self.unwatch(fd)
                self._failed(entry[2], error)

    def _failed(self, owner: Any, error: Exception) -> None:
        self.log(f"{type(owner).__name__}: {error!r}")
        try:
            owner.broken()
        except Exception as second:
            self.log(f"{type(owner).__name__} again: {second!r}")


# ---- programs -------------------------------------------------------------------------------------------------------


class Failure(Exception):
    """An operation cannot be done; `code` is for the daemon."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Spool:
    """Output by absolute offset, in memfds of 4 MiB that are dropped as soon as they may be.

    `start` is where what is kept begins, `end` where it ends.
    """

    def __init__(self, lossless: bool) -> None:
        self.lossless = lossless
        self.end = self.acked = 0
        self._parts: list[tuple[int, int]] = []  # (first offset, memfd)

    @property
    def start(self) -> int:
        return self._parts[0][0] if self._parts else self.end

    def room(self) -> int:
        """Bytes that may be read from the program now."""
        return LOSSLESS - (self.end - self.acked) if self.lossless else RING

    def append(self, data: bytes) -> None:
        done = 0
        while done < len(data):
            if not self._parts or self.end - self._parts[-1][0] >= SEGMENT:
                self._parts.append((self.end, _memfd()))
            first, fd = self._parts[-1]
            wrote = os.pwrite(fd, data[done : done + SEGMENT - (self.end - first)], self.end - first)
            done += wrote
            self.end += wrote
        while not self.lossless and self.end - self.start > RING:
            os.close(self._parts.pop(0)[1])

    def read(self, at: int, most: int) -> bytes:
        """Up to `most` bytes from `at`, which lies in start..end."""
        for first, fd in reversed(self._parts):
            if first <= at:
                return os.pread(fd, min(most, SEGMENT - (at - first), self.end - at), at - first)
        return b""

    def acknowledge(self, at: int) -> None:
        self.acked = max(self.acked, min(at, self.end))
        while self._parts:
            last = self._parts[1][0] if len(self._parts) > 1 else self.end
            if last > self.acked or (last == self.end and last - self._parts[0][0] < SEGMENT >> 2):
                return
            os.close(self._parts.pop(0)[1])

    def close(self) -> None:
        while self._parts:
            os.close(self._parts.pop()[1])


def _memfd() -> int:
    """A new memfd, never executable (some kernels allow no other), with the flag left away where it is unknown."""
    try:
        return os.memfd_create("output", os.MFD_CLOEXEC | 0x8)  # MFD_NOEXEC_SEAL, Linux 6.3
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.memfd_create("output", os.MFD_CLOEXEC)


class Start:
    """A checked request to start a program, in the form that execve takes."""

    def __init__(self, head: dict[str, Any]) -> None:
        argv, env, terminal = head["argv"], head["env"], head.get("terminal")
        texts = [*argv, *env, *env.values(), head["cwd"]]
        if not argv or not all(isinstance(text, str) and "\0" not in text for text in texts):
            raise Failure("bad_request", "argv, env and cwd are text without NUL, argv is not empty")
        if any("=" in name or not name for name in env):
            raise Failure("bad_request", "a name in env is empty or has '='")
        self.argv = [_bytes(text) for text in argv]
        self.env = {_bytes(name): _bytes(value) for name, value in env.items()}
        self.cwd = _bytes(head["cwd"])
        self.terminal: tuple[int, int] | None = (_side(terminal[0]), _side(terminal[1])) if terminal else None
        self.lossless = bool(head.get("lossless", True))

    def candidates(self) -> list[bytes]:
        """Where the program may lie."""
        if b"/" in self.argv[0]:
            return [self.argv[0]]
        return [
            (folder or b".") + b"/" + self.argv[0] for folder in self.env.get(b"PATH", b"/usr/bin:/bin").split(b":")
        ]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _side(value: Any) -> int:
    if not isinstance(value, int) or not 0 < value < 1 << 16:
        raise Failure("bad_request", "a terminal's sides are 1 to 65535")
    return value


def _window(fd: int, rows: int, columns: int) -> None:
    import termios

    size = b"".join(n.to_bytes(2, sys.byteorder) for n in (rows, columns, 0, 0))
    fcntl.ioctl(fd, termios.TIOCSWINSZ, size)


def _limit(limits: dict[str, int]) -> None:
    """Set rlimits of the calling process; 0 means none of ours, and nothing is raised above the hard limit."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, kind in (("nofile", "RLIMIT_NOFILE"), ("nproc", "RLIMIT_NPROC"), ("fsize", "RLIMIT_FSIZE")):
        value, what = limits.get(name, 0), getattr(resource, kind)
        if value:
            hard = resource.getrlimit(what)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(what, (value, value))


def _become(start: Start, fds: tuple[int, int, int], limits: dict[str, int]) -> None:
    """In the child: turn into the program. Returns never."""
    try:
        _sig.set_wakeup_fd(-1)
        for number in range(1, 32):
            if number not in (9, 19):
                _sig.signal(number, _sig.SIG_DFL)
        _sig.pthread_sigmask(_sig.SIG_SETMASK, [])
        os.setsid()
        if start.terminal:
            import termios

            fcntl.ioctl(fds[0], termios.TIOCSCTTY, 0)
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
        what = start.cwd
        os.chdir(start.cwd)
        os.umask(0o022)
        _limit(limits)
        what, problem = start.argv[0], errno.ENOENT
        for path in start.candidates():
            try:
                os.execve(path, start.argv, start.env)  # noqa: S606
            except OSError as error:
                if problem == errno.ENOENT or error.errno not in (errno.ENOENT, errno.ENOTDIR):
                    problem = error.errno or problem
        raise OSError(problem, os.strerror(problem), what)  # noqa: TRY301
    except BaseException as error:
        text = f"boxd: cannot start the program: {error}\n"
        try:
            os.write(2, text.encode("utf-8", "backslashreplace"))
        finally:
            os._exit(127)


class Program:
    """One program: its input queue by sequence numbers, its output by offsets, its end."""

    def __init__(self, box: Box, name: str, start: Start) -> None:
        self.id, self.box, self.loop = name, box, box.loop
        self.spool = Spool(start.lossless)
        self.terminal = start.terminal is not None
        self.next_seq = 1
        self.code: int | None = None
        self.group_gone = False
        self.stderr = b""
        self._queue = bytearray()
        self._partial: tuple[int, bytearray] = (0, bytearray())
        self._ending = False
        self._left: int | None = None  # bytes still to be read of a program that has ended
        self._in = self._out = self._err = -1
        self.pid = self._fork(start)
        for fd in (self._in, self._out, self._err):
            if fd >= 0:
                os.set_blocking(fd, False)
        self._hear()
        if self._err >= 0:
            self.loop.want(self._err, IN, self, self._on_err)

    def _fork(self, start: Start) -> int:
        theirs: list[int] = []
        try:
            if start.terminal:
                self._out, slave = os.openpty()
                theirs = [slave]
                _window(self._out, *start.terminal)
                self._in = fcntl.fcntl(self._out, fcntl.F_DUPFD_CLOEXEC, 3)
                fds = (slave, slave, slave)
            else:
                fds = self._pipes(theirs)
            before = _sig.pthread_sigmask(_sig.SIG_SETMASK, range(1, 32))  # no handler of ours runs in the child
            try:
                pid = os.fork()
                if pid == 0:
                    _become(start, fds, self.box.limits)
            finally:
                _sig.pthread_sigmask(_sig.SIG_SETMASK, before)
        except BaseException:
            for fd in (self._in, self._out, self._err):
                if fd >= 0:
                    os.close(fd)
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        return pid

    def _pipes(self, theirs: list[int]) -> tuple[int, int, int]:
        read, self._in = os.pipe2(os.O_CLOEXEC)
        theirs.append(read)
        self._out, out = os.pipe2(os.O_CLOEXEC)
        theirs.append(out)
        self._err, err = os.pipe2(os.O_CLOEXEC)
        theirs.append(err)
        try:
            fcntl.fcntl(out, 1031, 1 << 20)  # F_SETPIPE_SZ; refused when this user has many pipes
        except OSError:
            pass
        return read, out, err

    def info(self) -> dict[str, Any]:
        return {"id": self.id, "pid": self.pid, "offset": self.spool.end, "next_seq": self.next_seq, "exit": self.code}

    @property
    def finished(self) -> bool:
        """It has ended and nothing more will be read of it."""
        return self.code is not None and self._out < 0 and self._err < 0

    # output

    def _hear(self) -> None:
        if self._out >= 0:
            self.loop.want(self._out, IN if self.spool.room() > 0 else 0, self, self._on_out)

    def _on_out(self, _events: int) -> None:
        most = min(SLICE, self.spool.room())
        if self._left is not None:
            most = min(most, self._left)
        try:
            data = os.read(self._out, most) if most > 0 else b"" if self._left == 0 else None
        except BlockingIOError:
            data = None if self._left is None else b""
        except OSError:  # a terminal's end is EIO
            data = b""
        if data:
            self.spool.append(data)
            if self._left is not None:
                self._left -= len(data)
                if self._left == 0:
                    data = b""
        if data == b"":
            self.loop.close(self._out)
            self._out = -1
        self._hear()
        self.box.control.wake()

    def _on_err(self, _events: int) -> None:
        try:
            data = os.read(self._err, STDERR)
        except BlockingIOError:
            return
        self.stderr = (self.stderr + data)[-STDERR:]
        if not data:
            self._close_err()
        self.box.control.wake()

    def _close_err(self) -> None:
        if self._err >= 0:
            self.loop.close(self._err)
            self._err = -1

    def broken(self) -> None:
        """A handler failed (no descriptor or memory, say): try again soon, nothing is lost."""
        self.loop.after(0.1, self._resume)

    def _resume(self) -> None:
        if self.id in self.box.programs:
            self._hear()
            self._flush()
            if self._err >= 0:
                self.loop.want(self._err, IN, self, self._on_err)

    def acknowledge(self, at: int) -> None:
        self.spool.acknowledge(at)
        self._hear()
        if self._left is not None:
            self._drain()

    # input

    def write(self, seq: int, at: int, more: bool, data: bytes) -> None:
        if seq < self.next_seq:
            return
        if seq > self.next_seq:
            raise Failure("sequence", f"line {seq} was written but {self.next_seq} is next")
        if at == 0:
            self._partial = (seq, bytearray())
        if self._partial[0] != seq or len(self._partial[1]) != at:
            raise Failure("sequence", f"the slices of line {seq} do not follow each other")
        if at + len(data) > LINE or len(self._queue) + at + len(data) > INPUT:
            raise Failure("input_full", "the program does not read its input")
        self._partial[1].extend(data)
        if not more:
            if self._in >= 0 and not self._ending:
                self._queue += self._partial[1]
            self._partial = (0, bytearray())
            self.next_seq = seq + 1
            self._flush()

    def end_input(self) -> None:
        if not self._ending:
            self._ending = True
            if self.terminal:
                self._queue += b"\x04"
            self._flush()

    def _flush(self, _events: int = 0) -> None:
        if self._in < 0:
            return
        try:
            while self._queue:
                del self._queue[: os.write(self._in, bytes(self._queue[: 1 << 16]))]
        except BlockingIOError:
            self.loop.want(self._in, OUT, self, self._flush)
            return
        except OSError:
            self._close_in()
            return
        self.loop.unwatch(self._in)
        if self._ending and not self.terminal:
            self._close_in()

    def _close_in(self) -> None:
        self._queue.clear()
        if self._in >= 0:
            self.loop.close(self._in)
            self._in = -1

    # life

    def signal(self, number: int) -> None:
        if self.group_gone:
            return
        try:
            os.kill(-self.pid, number)
        except ProcessLookupError:
            if self.code is None:  # it has not made its group yet
                os.kill(self.pid, number)

    def resize(self, rows: int, columns: int) -> None:
        if not self.terminal:
            raise Failure("no_terminal", "the program has no terminal")
        if self._out >= 0:
            _window(self._out, _side(rows), _side(columns))

    def ended(self, code: int) -> None:
        """It was reaped. Its group may live on and hold the output open, for a moment that we wait."""
        self.code = code
        self._close_in()
        try:
            os.kill(-self.pid, 0)
        except OSError:
            self.group_gone = True
        if self.terminal:
            _end_session(self.pid)
        if code < 0:
            self.box.killed()
        self.loop.after(EOF_GRACE, self._cut)
        self.box.control.wake()

    def _cut(self) -> None:
        """Take what lies in the pipes now as the last of the output."""
        if self._err >= 0:
            self._on_err(IN)
            self._close_err()
        if self._out >= 0 and self._left is None:
            import termios

            waiting = fcntl.ioctl(self._out, termios.FIONREAD, b"\0\0\0\0")
            self._left = 1 << 16 if self.terminal else int.from_bytes(waiting, sys.byteorder)
            self._drain()
        self.box.control.wake()

    def _drain(self) -> None:
        """Read what is left, as far as there is room; `acknowledge` makes more."""
        if self._out >= 0 and self.spool.room() > 0:
            self._on_out(IN)
            self.loop.after(0, self._drain)

    def close(self) -> None:
        """Kill the group, of a terminal the session, and let everything go."""
        self.signal(9)
        if self.terminal and self.code is None:
            _end_session(self.pid)
        self._close_in()
        self._close_err()
        if self._out >= 0:
            self.loop.close(self._out)
            self._out = -1
        self.spool.close()


class Follower:
    """A reader of one program's output at the daemon's end, with the offset up to which it wants it now."""

    def __init__(self, number: int, program: Program, at: int, to: int) -> None:
        self.number, self.program, self.at, self.to = number, program, at, to
        self.over = False

    def next_frame(self) -> tuple[dict[str, Any], bytes] | None:
        """The next frame for it, if there is anything to say."""
        spool = self.program.spool
        if self.over:
            return None
        if self.at < spool.start:
            self.at = spool.start
            return {"ev": "gap", "fol": self.number, "at": self.at}, b""
        if self.at < min(spool.end, self.to):
            data = spool.read(self.at, min(SLICE, self.to - self.at))
            self.at += len(data)
            return {"ev": "out", "fol": self.number, "at": self.at - len(data)}, data
        if self.at == spool.end and self.program.finished:
            self.over = True
            end = {"ev": "exit", "fol": self.number, "at": self.at, "code": self.program.code}
            return end, self.program.stderr
        return None


# ---- the daemon -----------------------------------------------------------------------------------------------------


class Control:
    """The connection to the daemon: dialled for ever, frames parsed, answers and output queued."""

    def __init__(self, box: Box) -> None:
        self.box, self.loop = box, box.loop
        self.welcomed = False
        self.last_seen = time.monotonic()
        self._socket: Any = None
        self._in = bytearray()
        self._out = bytearray()
        self._followers: dict[int, Follower] = {}
        self._more = False
        self._away_since = time.monotonic()
        self._keys: list[str] = []

    def dial(self) -> None:
        if self._socket is not None:
            return
        s = _s.socket(_s.AF_UNIX, _s.SOCK_STREAM)
        try:
            s.setblocking(False)
            s.connect("ctl.sock")
        except OSError:
            s.close()
            away = time.monotonic() - self._away_since
            self.loop.after(REDIAL if away < 5 else 0.25 if away < 60 else 1.0, self.dial)
            return
        self._socket, self._in, self._out = s, bytearray(), bytearray()
        self.send(self.box.hello())
        self._listen()

    def broken(self) -> None:
        """Hang up and dial again. Programs and their output stay."""
        if self.welcomed:
            self.last_seen = self._away_since = time.monotonic()
        if self._socket is not None:
            self.loop.unwatch(self._socket.fileno())
            self._socket.close()
        self._socket, self.welcomed, self._more = None, False, False
        self._followers.clear()
        self.loop.after(REDIAL, self.dial)

    def send(self, head: dict[str, Any], blob: bytes = b"") -> None:
        """Queue a frame; it leaves from this connection's own handler."""
        text = dumps(head)
        self._out += len(text).to_bytes(4, "big") + len(blob).to_bytes(4, "big") + text + blob

    def wake(self) -> None:
        """There may be output to send."""
        if self._socket is not None and self._followers and not self._more:
            self._more = True
            self._listen()

    @property
    def idle(self) -> bool:
        """Nothing waits to be sent."""
        return self._socket is None or not (self._out or self._more)

    def _listen(self) -> None:
        mask = (IN if len(self._out) < DEAF else 0) | (OUT if self._out or self._more else 0)
        self.loop.want(self._socket.fileno(), mask, self, self._on)

    def _on(self, events: int) -> None:
        try:
            if events & (IN | BAD):
                data = self._socket.recv(1 << 18)
                if not data:
                    self.broken()
                    return
                self._in += data
                if not self._frames():
                    self.broken()
                    return
        except BlockingIOError:
            pass
        except OSError:
            self.broken()
            return
        self._fill()
        try:
            if self._out:
                del self._out[: self._socket.send(bytes(self._out[: 1 << 18]))]
        except BlockingIOError:
            pass
        except OSError:
            self.broken()
            return
        self._listen()

    def _fill(self) -> None:
        """Put output of each follower in turn in the queue, as far as the queue goes."""
        sent = True
        while sent and len(self._out) < QUEUED:
            sent = False
            for follower in list(self._followers.values()):
                frame = follower.next_frame()
                if frame is not None:
                    self.send(*frame)
                    sent = True
        self._more = sent

    def _frames(self) -> bool:
        """Do what the whole frames in the buffer ask; False when this is no longer our protocol."""
        while len(self._in) >= 8:
            a, b = int.from_bytes(self._in[:4], "big"), int.from_bytes(self._in[4:8], "big")
            if a + b > FRAME:
                self.loop.log(f"a frame of {a + b} bytes")
                return False
            if len(self._in) < 8 + a + b:
                return True
            text, blob = bytes(self._in[8 : 8 + a]), bytes(self._in[8 + a : 8 + a + b])
            del self._in[: 8 + a + b]
            self._answer(text, blob)
            if self._socket is None:
                return True
        return True

    def _answer(self, text: bytes, blob: bytes) -> None:
        number = None
        try:
            head = loads(text)
            number = head.get("n")
            operation = getattr(self, "do_" + head["op"], None)
            if operation is None:
                raise Failure(  # noqa: TRY301
                    "unknown_operation", f"boxd {VERSION} does not know {head['op']!r:.40}"
                )
            reply: dict[str, Any] = operation(head, blob) or {}
        except Failure as failure:
            reply = {"code": failure.code, "error": str(failure)}
        except Exception as error:
            reply = {"code": "failed", "error": repr(error)[:500]}
        if isinstance(number, int):
            self.send(dict(reply, ev="reply", re=number))

    def _program(self, head: dict[str, Any]) -> Program:
        program = self.box.programs.get(head["id"])
        if program is None:
            raise Failure("no_program", f"no program {head['id']!r:.80}")
        return program

    # operations, named as in the frames

    def do_welcome(self, _head: dict[str, Any], _blob: bytes) -> None:
        self.welcomed = True
        self._away_since = time.monotonic()

    def do_ping(self, _head: dict[str, Any], _blob: bytes) -> None:
        pass

    def do_start(self, head: dict[str, Any], _blob: bytes) -> dict[str, Any]:
        return {"program": self.box.start(head).info()}

    def do_write(self, head: dict[str, Any], blob: bytes) -> dict[str, Any]:
        program = self._program(head)
        program.write(int(head["seq"]), int(head.get("at", 0)), bool(head.get("more")), blob)
        return {"next_seq": program.next_seq}

    def do_end(self, head: dict[str, Any], _blob: bytes) -> None:
        self._program(head).end_input()

    def do_signal(self, head: dict[str, Any], _blob: bytes) -> None:
        key = head.get("key")
        if key is None or key not in self._keys:
            self._program(head).signal(int(head["number"]))
            self._keys = [*self._keys[-63:], str(key)]

    def do_resize(self, head: dict[str, Any], _blob: bytes) -> None:
        self._program(head).resize(head["rows"], head["columns"])

    def do_follow(self, head: dict[str, Any], _blob: bytes) -> dict[str, Any]:
        program, at = self._program(head), int(head["at"])
        if not 0 <= at <= program.spool.end:
            raise Failure("no_offset", f"the output ends at {program.spool.end}, before {at}")
        if len(self._followers) >= FOLLOWERS:
            raise Failure("too_many", "too many followers")
        self._followers[int(head["fol"])] = Follower(int(head["fol"]), program, at, int(head["to"]))
        self._more = True
        return {"program": program.info()}

    def do_credit(self, head: dict[str, Any], _blob: bytes) -> None:
        follower = self._followers.get(head["fol"])
        if follower is not None:
            follower.to = max(follower.to, int(head["to"]))
            self._more = True

    def do_unfollow(self, head: dict[str, Any], _blob: bytes) -> None:
        self._followers.pop(head["fol"], None)

    def do_ack(self, head: dict[str, Any], _blob: bytes) -> None:
        self._program(head).acknowledge(int(head["at"]))

    def do_forget(self, head: dict[str, Any], _blob: bytes) -> None:
        program = self.box.programs.pop(head["id"], None)
        if program is not None:
            for number in [k for k, f in self._followers.items() if f.program is program]:
                del self._followers[number]
            program.close()


# ---- the relay ------------------------------------------------------------------------------------------------------


class Messages:
    """Finds where the messages of one direction of an HTTP/1 connection end, as far as their lengths are plain.

    Where they are not (a tunnel, an upgrade, a length in doubt), everything from there on is one unfinished message.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._body = 0
        self._chunked = self._trailer = self._opaque = False

    @property
    def between(self) -> bool:
        """The last message has ended and no next one has begun."""
        return not (self._opaque or self._held or self._body or self._chunked)

    def feed(self, data: bytes) -> None:
        while data and not self._opaque:
            if self._body:
                n = min(self._body, len(data))
                self._body -= n
                data = data[n:]
            elif self._chunked:
                line, data = self._until(b"\r\n", data)
                if line is not None:
                    self._chunk(line)
            else:
                head, data = self._until(b"\r\n\r\n", data)
                if head is not None:
                    self._open(head.lower().split(b"\r\n"))

    def _until(self, mark: bytes, data: bytes) -> tuple[bytes | None, bytes]:
        """What comes before `mark`, once it is whole, and what comes after."""
        seen = max(0, len(self._held) + 1 - len(mark))
        self._held += data
        cut = self._held.find(mark, seen)
        if cut < 0:
            self._opaque = len(self._held) > 1 << 16
            return None, b""
        found, rest = bytes(self._held[:cut]), bytes(self._held[cut + len(mark) :])
        self._held.clear()
        return found, rest

    def _chunk(self, line: bytes) -> None:
        if self._trailer:
            self._trailer = self._chunked = bool(line)
            return
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            size = -1
        self._opaque = size < 0
        self._trailer = size == 0
        self._body = size + 2 if size > 0 else 0

    def _open(self, lines: list[bytes]) -> None:
        """The head of a message is whole."""
        raise NotImplementedError

    def _measure(self, lines: list[bytes]) -> bool:
        """Take the length of a body from its head; False when it tells none."""
        lengths = [value.strip() for name, _, value in (line.partition(b":") for line in lines) if name in _LENGTHS]
        if len(lengths) == 1 and lengths[0].isdigit() and len(lengths[0]) < 19:
            self._body = int(lengths[0])
        elif lengths == [b"chunked"]:
            self._chunked = True
        elif lengths:
            self._opaque = True
        return bool(lengths)


_LENGTHS = (b"content-length", b"transfer-encoding", b"upgrade")


class Requests(Messages):
    """What the program sends."""

    bodiless = False  # the last one was a HEAD: its answer has no body

    def _open(self, lines: list[bytes]) -> None:
        self.bodiless = lines[0].startswith(b"head ")
        self._opaque = lines[0].startswith(b"connect ")
        self._measure(lines[1:])


class Answers(Messages):
    """What the daemon sends."""

    bodiless = False  # the next one has no body, whatever its head says
    _interim = _last = False

    @property
    def between(self) -> bool:
        return super().between and not self._interim and not self._last

    def _open(self, lines: list[bytes]) -> None:
        status = lines[0].split(b" ")[1:2]
        if not lines[0].startswith(b"http/1.1 ") or not status or status == [b"101"]:
            self._opaque = True
        elif status[0].startswith(b"1"):
            self._interim = True
        else:
            self._interim = False
            self._last = any(line.replace(b" ", b"") == b"connection:close" for line in lines)
            if not self.bodiless and status[0] not in (b"204", b"304"):
                self._opaque = not self._measure(lines[1:]) or self._opaque


class Relay:
    """One connection from the box to a socket of the daemon, which may be away for a while (D-23).

    The bytes of a request are kept until the first byte of its answer. If the daemon goes before that, they are sent
    again to the next one, unless the program has hung up: what nobody waits for must not be done later, in another
    turn. Between an answer and the next request the program need not know that the daemon's end went: a new
    one is dialled with its next request. Either side's end of sending is passed on by itself.
    """

    def __init__(self, port: Port, near: Any) -> None:
        self.port, self.loop = port, port.loop
        self._near: Any = near  # None: closed
        self._far: Any = None
        self._to_far, self._to_near = bytearray(), bytearray()
        self._requests, self._answers = Requests(), Answers()
        self._kept = bytearray()
        self._replayable = True
        self._answered = False  # the answer to the present request has begun
        self._near_ended = self._far_ended = self._far_told = False
        self._lingering = self._waiting = False
        self._tries = 0
        self.waits_since = 0.0
        self._listen()

    @property
    def closed(self) -> bool:
        return self._near is None

    def _listen(self) -> None:
        if self._near is not None and self._far_ended and not self._to_near and not self._lingering:
            self._linger()
        if self._near is None:
            return
        hear = not self._near_ended and (len(self._to_far) < BUFFER or self._far_ended)
        self.loop.want(self._near.fileno(), (IN if hear else 0) | (OUT if self._to_near else 0), self, self._on_near)
        if self._far is not None:
            hear = len(self._to_near) < BUFFER
            say = self._to_far or (self._near_ended and not self._far_told)
            self.loop.want(self._far.fileno(), (IN if hear else 0) | (OUT if say else 0), self, self._on_far)

    def _on_near(self, events: int) -> None:
        try:
            if self._to_near and events & (OUT | BAD):
                del self._to_near[: self._near.send(bytes(self._to_near[: 1 << 17]))]
            if events & (IN | BAD):
                self._take(self._near.recv(1 << 16))
        except BlockingIOError:
            pass
        except OSError:
            self.broken()
            return
        self._listen()

    def _take(self, data: bytes) -> None:
        """Bytes of the program; none means that it sends no more."""
        if not data:
            self._near_ended = True
            if self._far_ended or self._far is None:
                self.broken()
            return
        if self._far_ended:
            return  # nobody wants them any more
        if self._answered and self._requests.between:
            self._answered, self._replayable, self._tries = False, self._answers.between, 0
        self._requests.feed(data)
        self._to_far += data
        if self._answered:
            self._replayable = False
        elif self._replayable:
            self._kept += data
            self.port.kept += len(data)
            if len(self._kept) > KEPT or self.port.kept > KEPT_ALL:
                self._forget_kept()
                self._replayable = False
        self._dial()

    def _forget_kept(self) -> None:
        self.port.kept -= len(self._kept)
        self._kept = bytearray()

    def _dial(self) -> None:
        if self._far is None and not self._waiting and not self._far_ended and self._near is not None:
            self._waiting = True
            self.waits_since = time.monotonic()
            self.port.connect(self)

    def connected(self, far: Any) -> None:
        """The daemon's end is there."""
        self._waiting = False
        self._far, self._far_told = far, False
        self._listen()

    def _on_far(self, events: int) -> None:
        try:
            if events & (IN | BAD):  # first: a daemon that answers early and hangs up takes no more
                data = self._far.recv(1 << 17)
                if not data:
                    self._lost()
                    return
                self._forget_kept()
                self._answered = True
                self._answers.bodiless = self._requests.bodiless
                self._answers.feed(data)
                self._to_near += data
            else:
                self._tell()
        except BlockingIOError:
            pass
        except OSError:
            self._lost()
            return
        self._listen()

    def _tell(self) -> None:
        if self._to_far:
            del self._to_far[: self._far.send(bytes(self._to_far[: 1 << 17]))]
        if self._near_ended and not self._to_far and not self._far_told:
            self._far_told = True
            self._far.shutdown(_s.SHUT_WR)

    def _lost(self) -> None:
        """The daemon's end is gone: send the request again if no answer has begun, else pass the end on."""
        self._close_far()
        if self._kept and not self._answered and not self._near_ended and self._tries < TRIES:
            self._tries += 1
            self._to_far = bytearray(self._kept)
            self.loop.after(REDIAL, self._dial)
        elif self._near_ended or not (self._answered and self._requests.between and self._answers.between):
            self._end()
        self._listen()

    def _end(self) -> None:
        self._far_ended = True
        self._to_far.clear()
        self._forget_kept()

    def refuse(self, status: str, text: str) -> None:
        """Answer in the daemon's place, and end."""
        self._waiting = False
        head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(text) + 1}\r\nConnection: close"
        self._to_near += f"{head}\r\n\r\n{text}\n".encode()
        self._end()
        self._listen()

    def _linger(self) -> None:
        """Everything was delivered: say so, and wait a little until the program has closed too."""
        self._lingering = True
        if self._near_ended:
            self.broken()
            return
        try:
            self._near.shutdown(_s.SHUT_WR)
        except OSError:
            self.broken()
            return
        self.loop.after(LINGER, self.broken)

    def _close_far(self) -> None:
        if self._far is not None:
            self.loop.unwatch(self._far.fileno())
            self._far.close()
            self._far = None

    def broken(self) -> None:
        """Close both ends at once."""
        if self._near is not None:
            self._forget_kept()
            self._close_far()
            self.loop.unwatch(self._near.fileno())
            self._near.close()
            self._near = None
            self._to_far.clear()
            self._to_near.clear()
            self.port.ended(self)


class Port:
    """A loopback port of the box whose connections go to one socket of the daemon."""

    def __init__(self, box: Box, number: int, target: str, wait: float, refusal: str) -> None:
        self.loop, self.number, self._target, self._wait, self._refusal = box.loop, number, target, wait, refusal
        self.kept = 0
        self._relays: set[Relay] = set()
        self._waiting: list[Relay] = []
        self._asking = False
        self._most = max(16, min(RELAYS, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 256) // 4))
        self._listener = _s.socket(_s.AF_INET, _s.SOCK_STREAM)
        self._listener.setblocking(False)
        self._listener.setsockopt(_s.SOL_SOCKET, _s.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", number))
        self._listener.listen(128)
        self.number = self._listener.getsockname()[1]
        self._listen()

    def _listen(self) -> None:
        """Hear new connections while there is room; others wait in the kernel's queue."""
        mask = IN if len(self._relays) < self._most else 0
        self.loop.want(self._listener.fileno(), mask, self, self._on)

    def _on(self, _events: int) -> None:
        try:
            fd = _accept(self._listener)
        except (BlockingIOError, ConnectionError):
            return
        near = _s.socket(_s.AF_INET, _s.SOCK_STREAM, 0, fd)
        os.set_inheritable(fd, False)
        near.setblocking(False)
        near.setsockopt(_s.IPPROTO_TCP, _s.TCP_NODELAY, 1)
        self._relays.add(Relay(self, near))
        self._listen()

    def broken(self) -> None:
        """No descriptors, say: go on soon."""
        self.loop.after(0.2, self._listen)
        self.loop.after(0.2, self._ask)

    def ended(self, relay: Relay) -> None:
        self._relays.discard(relay)
        self._listen()

    def connect(self, relay: Relay) -> None:
        """Give `relay` a connection to the daemon, now or as soon as there is one."""
        self._waiting.append(relay)
        if not self._asking:
            self._ask()

    def _ask(self) -> None:
        """Connect those who wait, oldest first, until the daemon does not answer."""
        self._asking = False
        while self._waiting:
            relay = self._waiting[0]
            if not relay.closed:
                problem = self._try(relay)
                if problem == errno.ENOENT and self._refusal:
                    relay.refuse("403 Forbidden", self._refusal)
                elif problem and time.monotonic() - relay.waits_since > self._wait:
                    relay.refuse("503 Service Unavailable", "the daemon of this hive is away")
                elif problem:
                    self._asking = True
                    self.loop.after(REDIAL, self._ask)
                    return
            self._waiting.pop(0)

    def _try(self, relay: Relay) -> int:
        """0, or the number of the error."""
        far = None
        try:
            far = _s.socket(_s.AF_UNIX, _s.SOCK_STREAM)
            far.setblocking(False)
            far.connect(self._target)
        except OSError as error:
            if far is not None:
                far.close()
            return error.errno or errno.EIO
        relay.connected(far)
        return 0


# ---- the box --------------------------------------------------------------------------------------------------------


class Box:
    """Everything of one box: its programs, its daemon, its ports, its end."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.limits: dict[str, int] = settings.get("limits") or {}
        self.loop = Loop()
        self.programs: dict[str, Program] = {}
        self._stop_by: float | None = None
        self._folder = os.open(settings.get("run", "/run/mel"), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fchdir(self._folder)  # sockets are dialled by their bare names: no path is too long (D-10)
        self._children, self._orders = _child_signals(), _end_signals()
        self.broken()
        self.control = Control(self)
        self.ports = [
            Port(self, settings.get("gate_port", 4141), "gate.sock", GATE_WAIT, ""),
            Port(self, settings.get("egress_port", 4142), "egress.sock", EGRESS_WAIT, "no way out of this box yet"),
        ]
        busy, idle = settings.get("orphan_busy_s", 86400), settings.get("orphan_idle_s", 900)
        self._orphan_after = (busy, idle)
        self._look_every = max(0.05, min(5.0, busy / 4, idle / 4))

    def hello(self) -> dict[str, Any]:
        return {
            "ev": "hello",
            "protocol": PROTOCOL,
            "boxd": VERSION,
            "box": self.settings.get("box", ""),
            "hive": self.settings.get("hive", ""),
            "programs": [program.info() for program in self.programs.values()],
            "ports": [port.number for port in self.ports],
        }

    def start(self, head: dict[str, Any]) -> Program:
        name = head["id"]
        known = self.programs.get(name)
        if known is not None:
            return known
        if not isinstance(name, str) or not 0 < len(name) <= 64:
            raise Failure("bad_request", "a program's id has 1 to 64 characters")
        if self._stop_by is not None:
            raise Failure("stopping", "the box is being stopped")
        if len(self.programs) >= PROGRAMS:
            raise Failure("too_many", f"{PROGRAMS} programs are kept already")
        program = self.programs[name] = Program(self, name, Start(head))
        return program

    def run(self) -> None:
        """Work until the box ends."""
        self.control.dial()
        self._look()
        while True:
            self.loop.run_once()

    def killed(self) -> None:
        """A program was killed and could not end what it had begun, in groups of its own: when no other program runs,
        nothing else in the box may. A box that is being stopped asks everything by itself."""
        alone = all(program.code is not None for program in self.programs.values())
        if os.getpid() == 1 and alone and self._stop_by is None:
            try:
                os.kill(-1, 9)
            except ProcessLookupError:
                pass

    def broken(self) -> None:
        """One of our own handlers failed: hear signals again."""
        self.loop.want(self._children, IN, self, self._on_child)
        self.loop.want(self._orders, IN, self, self._on_order)

    # its end

    def _look(self) -> None:
        """End the box when nobody can want it any more (D-3)."""
        self.loop.after(self._look_every, self._look)
        now = time.monotonic()
        if self._stop_by is not None and now > self._stop_by and not self._has_children():
            self.end("stopped")
        if os.fstat(self._folder).st_nlink == 0:
            self.end("its socket folder is gone")
        if self.control.welcomed:
            self.control.last_seen = now
        busy = any(program.code is None for program in self.programs.values())
        if now - self.control.last_seen > self._orphan_after[0 if busy else 1]:
            self.end("no daemon has accepted it for too long")

    def end(self, why: str) -> None:
        """End at once; as PID 1 this takes every process of the box along."""
        self.loop.log("ending: " + why)
        try:
            for program in self.programs.values():
                program.signal(9)
            if os.getpid() != 1:
                _kill_children()
        finally:
            os._exit(0)

    def _stop(self) -> None:
        """Asked to stop (SIGTERM): ask everything in the box, and end once all of it has."""
        if self._stop_by is None:
            self._stop_by = time.monotonic() + 2
            self._look_every = 0.05
            self._look()
        if os.getpid() == 1:
            try:
                os.kill(-1, 15)
            except OSError:
                pass
        for program in self.programs.values():
            program.signal(15)
            program.signal(18)

    def _on_order(self, _events: int) -> None:
        """SIGTERM, SIGINT: stop. SIGQUIT: end at once. Heard only from outside the box: an agent may `pkill python`."""
        try:
            order = os.read(self._orders, 128)
        except BlockingIOError:
            return
        number, sender = (int.from_bytes(order[at : at + 4], sys.byteorder) for at in (0, 12))
        if os.getpid() == 1 and sender != 0:
            return
        if number == _sig.SIGQUIT:
            self.end("asked to end at once")
        self._stop()
        self._on_child(IN)

    def _on_child(self, _events: int) -> None:
        try:
            os.read(self._children, 4096)
        except BlockingIOError:
            pass
        self._reap()
        if self._stop_by is not None and self.control.idle and not self._has_children():
            self.end("stopped")

    def _reap(self) -> None:
        by_pid = {program.pid: program for program in self.programs.values() if program.code is None}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid in by_pid:
                by_pid[pid].ended(-os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))

    def _has_children(self) -> bool:
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True


def _child_signals() -> int:
    """A descriptor that becomes readable when a child has ended."""
    read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    for number in (_sig.SIGPIPE, _sig.SIGHUP):
        _sig.signal(number, _sig.SIG_IGN)
    _sig.set_wakeup_fd(write, warn_on_full_buffer=False)
    _sig.signal(_sig.SIGCHLD, _nothing)
    return read


def _end_signals() -> int:
    """A signalfd for the signals that end a box: only it tells who sent them."""
    numbers = (_sig.SIGTERM, _sig.SIGINT, _sig.SIGQUIT)
    _sig.pthread_sigmask(_sig.SIG_BLOCK, numbers)
    mask = sum(1 << (number - 1) for number in numbers).to_bytes(128, sys.byteorder)
    fd = _libc("signalfd", -1, mask, os.O_CLOEXEC | os.O_NONBLOCK)
    if fd < 0:
        sys.exit("boxd: no signalfd")
    return fd


def _nothing(*_: object) -> None:
    """The handler of SIGCHLD: the byte in the pipe is all we need."""


def _end_session(leader: int) -> None:
    """Kill what a terminal's shell began: jobs have groups of their own, but are of its session."""
    for _ in range(3):  # what was forked meanwhile
        found = False
        for name in os.listdir("/proc"):  # noqa: PTH208
            if not name.isdigit():
                continue
            try:
                with open("/proc/" + name + "/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
                if int(fields[3]) == leader and fields[0] != b"Z":
                    os.kill(int(name), 9)
                    found = True
            except (OSError, ValueError, IndexError):
                continue
        if not found:
            return


def _kill_children() -> None:
    """Outside a box, where no kernel does it for us: kill what is left of our children, reparented ones too."""
    end = time.monotonic() + 2
    while time.monotonic() < end:
        with open(f"/proc/self/task/{os.getpid()}/children") as lines:
            left = [int(pid) for pid in lines.read().split()]
        if not left:
            return
        for pid in left:
            os.kill(pid, 9)
            os.waitpid(pid, 0)


def main() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if os.getpid() != 1:
        _libc(
            "prctl", 36, 1, 0, 0, 0
        )  # PR_SET_CHILD_SUBREAPER: tried outside a box, orphans come to us as they do to PID 1
    Box(loads(sys.argv[1].encode("utf-8", "surrogateescape"))).run()


if __name__ == "__main__":
    main()
