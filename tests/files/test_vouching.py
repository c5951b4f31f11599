"""Which words of a text are linked: exactly those that can be read, at a bounded price (FR-7, FR-10, I-41, T23)."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melipona.boxes.folders import Folders, box_owner
from melipona.errors import MeliponaError
from melipona.files.references import READ_LIMIT, Files
from melipona.files.vouching import CHANGE_MOST, NO_FILES, TOKENS_MOST, Lookup, Vouched, candidates
from melipona.ids import AgentId, agent_name

ANA, BEN = agent_name("ana"), agent_name("ben")
PARTS = (
    "/agents/ana/state/notes.md",
    "/agents/ana/state/NOTES.md",
    "/agents/ana/state/sub/deep.txt",
    "/agents/ana/state/sub",
    "/agents/ana/state/link",
    "/agents/ana/state/way/secret",
    "/agents/ana/state/pipe",
    "/agents/ana/state/second",
    "/agents/ana/state/big",
    "/agents/ana/state/full",
    "/agents/ana/state/shut",
    "/agents/ana/state/größe.md",
    "/agents/ana/state/a:7",
    "/agents/ana/inbox/m1.md",
    "/agents/ana/home/secret",
    "/agents/ana/ws/secret",
    "/agents/ben/state/none",
    "/agents/nobody/state/x",
    "/agents/Ana/state/notes.md",
    "/agents/ana/state/../inbox/m1.md",
    "/shared/ana/picture.png",
    "/shared/ana//picture.png",
    "/shared",
    "/state/notes.md",
    "/etc/passwd",
    "/proc/self/environ",
    "/mel.db",
    ":12",
    ":3:4",
)
GLUE = (" ", "\n", "\t", "", ".", ",", ")", "(", "`", '"', "\0", "\u202e", "x", "/", "…", "。", "**", "~", "é", "\\")
texts = st.lists(st.sampled_from(PARTS) | st.sampled_from(GLUE) | st.text(max_size=5), max_size=40).map("".join)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A real tree, with everything in it that an agent can put there."""
    there = tmp_path_factory.mktemp("vouching")
    folders = Folders(there / "hive", box_owner())
    folders.make_data()
    for number, name in enumerate((ANA, BEN)):
        folders.make_agent(AgentId(f"a{number}"), name)
    (there / "secret").write_text("the host's")
    state = folders.state(ANA)
    (state / "notes.md").write_text("what I know\n")
    (state / "größe.md").write_text("groß")
    (state / "a:7").write_text("named like a line")
    (state / "sub").mkdir()
    (state / "sub" / "deep.txt").write_text("deep")
    (state / "link").symlink_to(there / "secret")
    (state / "way").symlink_to(there)
    os.mkfifo(state / "pipe")
    os.link(there / "secret", state / "second")
    (state / "full").write_bytes(b"x" * READ_LIMIT)
    (state / "big").write_bytes(b"x" * (READ_LIMIT + 1))
    (state / "shut").write_text("shut")
    (state / "shut").chmod(0)
    (folders.inbox(ANA) / "m1.md").write_text("a long message")
    (folders.home(AgentId("a0")) / "secret").write_text("no")
    (folders.shared / "ana").mkdir()
    (folders.shared / "ana" / "picture.png").write_bytes(b"\x89PNG\xff\0")
    return Files(folders)


def look(files: Files, text: str, most: int = CHANGE_MOST) -> Vouched:
    return Lookup(files, most).vouched(text)


def served(files: Files, path: str) -> bool:
    """What the read endpoint would do."""
    try:
        files.read(path)
    except MeliponaError:
        return False
    return True


@pytest.mark.threat("T23")
@given(texts)
def test_what_is_linked_is_served_and_what_is_not_linked_is_not(files: Files, text: str) -> None:
    """I-41: for every token of every text, over links, pipes, second names, folders, too large and unreadable files."""
    vouched = look(files, text)
    tokens, cut = candidates(text)
    assert all(served(files, path) and path in text for path in vouched.paths)
    for token in tokens:
        if token not in vouched.paths:
            assert not served(files, token)
    assert vouched.cut == cut
    assert vouched.paths == tuple(dict.fromkeys(vouched.paths))


@pytest.mark.threat("T23")
@pytest.mark.parametrize("path", PARTS)
def test_a_path_alone_is_linked_just_when_it_is_served(files: Files, path: str) -> None:
    """I-41, I-42."""
    assert (path in look(files, path).paths) == served(files, path)


def test_the_sentence_around_a_path_is_not_taken_for_it(files: Files) -> None:
    """FR-7, FR-8: each once, in the text's order, without what ends a sentence and without the line."""
    text = (
        "See /shared/ana/picture.png, and (/agents/ana/state/notes.md). Not /agents/ana/state/none, /etc/passwd, "
        "/state/notes.md nor x/shared/ana/picture.png; again /shared/ana/picture.png! And "
        "/agents/ana/state/sub/deep.txt:12:3; /agents/ana/state/a:7 is a name. 见/agents/ana/state/größe.md。"
    )
    assert look(files, text).paths == (
        "/shared/ana/picture.png",
        "/agents/ana/state/notes.md",
        "/agents/ana/state/sub/deep.txt",
        "/agents/ana/state/a:7",
    )
    assert look(files, "`/agents/ana/state/größe.md`。").paths == ("/agents/ana/state/größe.md",)


def test_the_hosts_form_is_linked_too(files: Files) -> None:
    """FR-2."""
    path = str(files.resolve("/agents/ana/inbox/m1.md").folder / "m1.md")
    assert look(files, f"it is {path}").paths == (path,)


class Counted(Files):
    """Counts how often the disk is looked at."""

    looks = 0

    def is_served(self, path: str) -> bool:
        self.looks += 1
        return super().is_served(path)


def counted(files: Files) -> Counted:
    return Counted(files._folders)  # pyright: ignore[reportPrivateUsage]


def test_ten_thousand_tokens_are_not_ten_thousand_looks(files: Files) -> None:
    """Bounded work per body, and it is said that there was more."""
    counting = counted(files)
    text = " ".join(f"/shared/ana/{number}" for number in range(10_000)) + " /shared/ana/picture.png"
    assert look(counting, text) == Vouched((), cut=True)
    assert counting.looks == TOKENS_MOST
    repeated = counted(files)
    assert look(repeated, "/shared/ana/picture.png " * 10_000) == Vouched(("/shared/ana/picture.png",))
    assert repeated.looks == 1


def test_texts_that_share_a_look_share_its_limit(files: Files) -> None:
    """A turn's lease and a page of a list: bounded however many bodies there are."""
    counting = counted(files)
    lookup = Lookup(counting, 40)
    first = lookup.vouched(" ".join(f"/shared/x/{number}" for number in range(32)))
    second = lookup.vouched(" ".join(f"/shared/y/{number}" for number in range(32)))
    known = lookup.vouched("/shared/x/3")
    assert [first.cut, second.cut, known.cut] == [False, True, False]
    assert counting.looks == 40


def test_a_text_without_such_a_path_costs_nothing(files: Files) -> None:
    counting = counted(files)
    assert look(counting, "no path, /etc/passwd, /state/notes.md, agents/ana " * 100) == NO_FILES
    assert counting.looks == 0
