"""A box's command line, for every combination of options (SECURITY.md section 7, line 1)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melipona.boxes.argv import Descriptors, HostFacts, Sources, base_environment, box_argv, host_facts
from melipona.boxes.argv_rules import check_rule_1, read_options
from melipona.boxes.driver import BoxLimits
from melipona.errors import Bug

paths = st.lists(st.from_regex(r"[a-z0-9.][a-zA-Z0-9_. -]{0,12}", fullmatch=True), min_size=1, max_size=5).map(
    lambda parts: "/" + "/".join(parts)
)
targets = st.from_regex(r"/opt/[a-ln-z][a-z0-9]{0,8}(/[a-z]{1,5})?", fullmatch=True)
facts = st.builds(
    HostFacts,
    links=st.dictionaries(st.sampled_from(["bin", "sbin", "lib"]), st.sampled_from(["usr/bin", "usr/lib"])),
    folders=st.lists(st.sampled_from(["lib32", "lib64", "libx32"]), unique=True),
    masked=st.lists(st.sampled_from(["keys", "kcore", "kmsg"]), unique=True),
    hidden=st.lists(st.sampled_from(["acpi", "scsi", "fs"]), unique=True),
)
sources = st.builds(
    Sources,
    home=paths,
    work=paths,
    state=paths,
    inbox=paths,
    shared=paths,
    sockets=paths,
    etc=paths,
    opt=paths,
    agents=st.none() | paths,
    python=st.none() | paths,
    extra=st.lists(st.tuples(paths, targets), max_size=4, unique_by=lambda pair: pair[1].split("/")[2]),
)
sizes = st.integers(0, 1 << 40)
limits = st.builds(BoxLimits, tmp_bytes=sizes, shm_bytes=sizes)
descriptors = st.builds(
    Descriptors,
    seccomp=st.none() | st.integers(3, 99),
    status=st.none() | st.integers(3, 99),
    block=st.none() | st.integers(3, 99),
)
agents = st.from_regex(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True)
words = st.text(st.characters(blacklist_characters="\0"), min_size=0, max_size=12)


@given(sources, facts, limits, descriptors, agents, st.dictionaries(st.just("A") | st.just("B"), words), st.data())
@pytest.mark.threat("T1")
def test_no_combination_of_options_makes_anything_at_or_below_a_writable_bind(
    places: Sources,
    found: HostFacts,
    bounds: BoxLimits,
    fds: Descriptors,
    agent: str,
    env: dict[str, str],
    data: st.DataObject,
) -> None:
    """Rule 1, T1: and writable binds come last, `/` and `/dev` end read-only, every tmpfs has a size, `--` stands."""
    program = data.draw(st.lists(words, min_size=1, max_size=4))
    argv = box_argv(
        "/usr/bin/bwrap", places, found, agent=agent, limits=bounds, env=env, program=program, descriptors=fds
    )
    check_rule_1(argv)
    assert argv[-len(program) - 1 :] == ["--", *program]
    assert not any(word.endswith("-try") for word, _ in read_options(argv))
    binds = [values for name, values in read_options(argv) if name == "--bind"]
    assert [source for source, _ in binds] == [places.home, places.work, places.state]


def _argv() -> list[str]:
    places = Sources("/h", "/w", "/s", "/i", "/sh", "/r", "/e", "/o")
    facts_now = HostFacts({"bin": "usr/bin"}, [], ["keys"], ["fs"])
    return box_argv("bwrap", places, facts_now, agent="ana", limits=BoxLimits(), env={}, program=["true"])


def _with(before: str, words_to_add: Sequence[str]) -> list[str]:
    """The usual command line with more options before the first `before`."""
    argv = _argv()
    at = argv.index(before)
    return [*argv[:at], *words_to_add, *argv[at:]]


def _without(option: str, count: int) -> list[str]:
    argv = _argv()
    at = argv.index(option)
    return argv[:at] + argv[at + count :]


@pytest.mark.parametrize(
    "argv",
    [
        _with("--chdir", ["--ro-bind", "/x", "/ws/.claude/settings.json"]),
        _with("--chdir", ["--symlink", "a", "/home/agent/link"]),
        _with("--chdir", ["--size", "1", "--tmpfs", "/agents/ana/state/tmp"]),
        _with("--chdir", ["--ro-bind", "/x", "/opt/late"]),
        _with("--chdir", ["--bind", "/x", "/ws"]),
        _with("--chdir", ["--bind", "/x", "/ws/inner"]),
        _with("--chdir", ["--bind", "/x", "/etc/inner"]),
        _with("--chdir", ["--bind", "/x", "/usr"]),
        _with("--chdir", ["--bind", "/x", "/a/../ws/y"]),
        _with("--bind", ["--ro-bind", "/x", "/opt/mel/inner"]),
        _with("--bind", ["--ro-bind", "/x", "/shared/inner"]),
        _with("--bind", ["--symlink", "x", "/run/mel/inner"]),
        _with("--bind", ["--tmpfs", "/mnt"]),
        _with("--bind", ["--ro-bind-try", "/x", "/opt/x"]),
        _with("--bind", ["--dev-bind", "/dev", "/opt/dev"]),
        _with("--bind", ["--dir", "/opt/x"]),
        _with("--bind", ["--file", "9", "/opt/x"]),
        _without("--disable-userns", 1),
        _without("--unshare-net", 1),
        _without("--", 1),
        _argv()[:-1],
    ],
)
def test_the_checker_refuses_what_rule_1_forbids(argv: list[str]) -> None:
    """Rule 1: the checker is no rubber stamp."""
    with pytest.raises(Bug):
        check_rule_1(argv)


def test_the_root_stays_read_only_to_the_end() -> None:
    """A command line without its last `--remount-ro /` is refused."""
    argv = _argv()
    at = max(i for i, word in enumerate(argv) if word == "--remount-ro")
    with pytest.raises(Bug, match="stays writable"):
        check_rule_1(argv[:at] + argv[at + 2 :])


def test_the_profile_is_the_one_that_was_tried() -> None:
    """SECURITY.md section 3.1: namespaces, no capabilities, no terminal, no environment, no --die-with-parent (D-3)."""
    argv = box_argv(
        "bwrap",
        Sources("/h", "/w", "/s", "/i", "/sh", "/r", "/e", "/o"),
        host_facts(),
        agent="ana",
        limits=BoxLimits(),
        env={"EXTRA": "x"},
        program=["init"],
    )
    given_options = list(read_options(argv))
    for name, values in [
        ("--cap-drop", ("ALL",)),
        ("--uid", ("1000",)),
        ("--new-session", ()),
        ("--as-pid-1", ()),
        ("--clearenv", ()),
        ("--ro-bind", ("/proc/sys", "/proc/sys")),
        ("--ro-bind", ("/r", "/run/mel")),
        ("--ro-bind", ("/dev/null", "/proc/keys")),
        ("--setenv", ("EXTRA", "x")),
        ("--chdir", ("/ws",)),
    ]:
        assert (name, values) in given_options
    assert "--die-with-parent" not in argv
    assert [values[1] for name, values in given_options if name == "--bind"] == [
        "/home/agent",
        "/ws",
        "/agents/ana/state",
    ]


@pytest.mark.threat("T5")
def test_the_environment_of_boxes_is_a_fixed_list() -> None:
    """T5, D-13: nothing of the daemon's own; the tool comes first on PATH, the proxy is the box's egress port."""
    env = base_environment()
    assert env["PATH"].split(":")[0] == "/opt/mel/bin"
    assert env["HTTPS_PROXY"] == "http://127.0.0.1:4142"
    assert not [name for name in env if "KEY" in name or "TOKEN" in name]
