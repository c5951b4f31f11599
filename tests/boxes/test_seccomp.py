"""The shipped system call filters: the bytes are what the generator makes, and they mean what they should."""

from __future__ import annotations

import errno
import struct
from pathlib import Path

import pytest

from melipona.boxes.seccomp import filter_path
from melipona.boxes.seccomp.generate import ABSENT_NUMBERS, ARCHITECTURES, build
from melipona.errors import BoxStartFailed

ALLOW, KILL_THREAD, ERRNO = 0x7FFF0000, 0, 0x00050000
EPERM, ENOSYS = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS
NO_FAMILY, NO_PROTOCOL = ERRNO | errno.EAFNOSUPPORT, ERRNO | errno.EPROTONOSUPPORT

# name -> number on x86_64, aarch64
NUMBERS = {
    "read": (0, 63),
    "socket": (41, 198),
    "clone": (56, 220),
    "ioctl": (16, 29),
    "mknodat": (259, 33),
    "personality": (135, 92),
    "keyctl": (250, 219),
    "ptrace": (101, 117),
    "unshare": (272, 97),
    "mount": (165, 40),
    "bpf": (321, 280),
    "clone3": (435, 435),
    "io_uring_setup": (425, 425),
    "fsopen": (430, 430),
    "execve": (59, 221),
}


def judge(program: bytes, arch: int, number: int, *arguments: int) -> int:
    """Run a classic BPF program over one system call, as the kernel would."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *(*arguments, *([0] * (6 - len(arguments)))))
    code = list(struct.iter_unpack("<HBBI", program))
    at, a = 0, 0
    while True:
        op, yes, no, k = code[at]
        at += 1
        if op == 0x20:
            a = struct.unpack_from("<I", data, k)[0]
        elif op == 0x54:
            a &= k
        elif op == 0x06:
            return k
        elif op == 0x05:
            at += k
        else:
            taken = {0x15: a == k, 0x25: a > k, 0x35: a >= k, 0x45: bool(a & k)}[op]
            at += yes if taken else no


@pytest.fixture(params=list(ARCHITECTURES))
def architecture(request: pytest.FixtureRequest) -> str:
    return request.param


def test_the_generator_makes_the_shipped_bytes(architecture: str, tmp_path: Path) -> None:
    """SECURITY.md section 7 line 3: what ships is generated, never edited."""
    made = tmp_path / "filter"
    assert build(architecture, made) == []
    assert made.read_bytes() == filter_path(architecture).read_bytes()


def test_an_unknown_machine_gets_no_box() -> None:
    """No fallback to a box without filter."""
    with pytest.raises(BoxStartFailed, match="riscv64"):
        filter_path("riscv64")


@pytest.mark.threat("T3")
def test_the_filter_refuses_and_allows(architecture: str) -> None:
    """T3: sockets, namespaces, terminals, devices, keys, tracing, new mount calls; ordinary work goes on."""
    program = filter_path(architecture).read_bytes()
    column = list(ARCHITECTURES).index(architecture)
    arch = ARCHITECTURES[architecture][1]

    def ask(name: str, *arguments: int) -> int:
        return judge(program, arch, NUMBERS[name][column], *arguments)

    for name in ("keyctl", "ptrace", "unshare", "mount", "bpf"):
        assert ask(name) == EPERM, name
    for name in ("clone3", "io_uring_setup", "fsopen"):
        assert ask(name) == ENOSYS, name
    for number in ABSENT_NUMBERS.values():
        assert judge(program, arch, number) == ENOSYS
    for name in ("read", "execve"):
        assert ask(name) == ALLOW
    for family in (1, 2, 10):
        assert ask("socket", family, 1, 0) == ALLOW
    assert ask("socket", 16, 3, 0) == ALLOW
    assert ask("socket", 16, 3, 9) == NO_PROTOCOL
    for family in (17, 38, 40, 44, 99):
        assert ask("socket", family, 1, 0) == NO_FAMILY
    assert ask("clone", 0x1200011) == ALLOW
    assert ask("clone", 0x10000011) == EPERM
    for request in (0x5412, 0x541C, 0x100005412):
        assert ask("ioctl", 0, request) == EPERM
    assert ask("ioctl", 0, 0x5413) == ALLOW
    assert ask("mknodat", 0, 0, 0o060644) == EPERM
    assert ask("mknodat", 0, 0, 0o010644) == ALLOW
    assert ask("personality", 0) == ALLOW
    assert ask("personality", 0x0040000) == EPERM


@pytest.mark.parametrize("foreign", [0x40000003, 0x40000028, 0xC00000F3])
def test_calls_of_another_architecture_are_killed(architecture: str, foreign: int) -> None:
    """T3: a 32-bit call does not slip past a 64-bit filter."""
    program = filter_path(architecture).read_bytes()
    assert judge(program, foreign, 20) == KILL_THREAD
    other = next(number for name, (_, number) in ARCHITECTURES.items() if name != architecture)
    assert judge(program, other, 0) == KILL_THREAD
