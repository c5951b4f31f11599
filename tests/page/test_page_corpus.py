"""T25: two hundred hostile payloads in every text that an agent or a file can fill, in one story of a real browser.

`sit` fails a test whose browser reports a breach of the policy, shows a dialog or asks another host.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from corpus import CORPUS, LONG, PAYLOADS, batches, marker
from page_seat import Seat, Sit
from playwright.sync_api import Browser, Page, expect

from melipona.testing.filled_store import fill
from melipona.testing.hive import QUICK, HiveProcess

pytestmark = [pytest.mark.boxes, pytest.mark.timeout(300)]
AGENTS = 24
PATIENCE = 20
SHORT = [text for text in CORPUS if len(text) <= 400]
ENDINGS = ("txt", "md", "html", "svg", "css", "js", "json", "py", "diff", "sh", "xml", "bin")
NAMED = "see " + " ".join(f"/shared/mallory/corpus.{ending}" for ending in ENDINGS)
WATCHED = """
addEventListener("securitypolicyviolation", (it) => console.error(`policy: ${it.violatedDirective} ${it.blockedURI}`));
window.namesBefore = new Set([...Object.getOwnPropertyNames(window), "namesBefore"]);
"""
NEW_NAMES = """() => [
    ...Object.getOwnPropertyNames(window).filter((name) => !window.namesBefore.has(name)),
    ...("owned" in window || "owned" in document || "owned" in Object.prototype ? ["owned"] : []),
]"""
OURS = {"__TSR_ROUTER__", "__TSR_PREFIX__", "$_TSR"}
LINKS = """() => [...document.querySelectorAll("main a[href]")].map((it) => [
    it.href, it.target, it.rel, location.origin
])"""
UNFOLD = "(folded) => document.querySelectorAll(folded).forEach((one) => one.click())"
FORBIDDEN = "main :is(script, iframe, img, picture, video, audio, style, link, meta, base, object, embed, form[action])"


def test_the_corpus_has_two_hundred_payloads() -> None:
    """T25 names the number; each is there once, and the short ones are most of it."""
    assert len(set(PAYLOADS)) == len(PAYLOADS) >= 200
    assert len(SHORT) > 200 > len(LONG)


@pytest.fixture(scope="module")
def hive(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Generator[HiveProcess]:
    """A hive whose agents have written nothing else for a long time."""
    folder: Path = tmp_path_factory.mktemp("corpus")
    hive = HiveProcess(folder / "hive", config=f"{QUICK}[mail]\nbody_bytes = 65536\n")
    (folder / "hive").mkdir(mode=0o700)
    fill(folder / "hive" / "mel.db", agents=AGENTS, messages=5 * len(CORPUS))
    with closing(sqlite3.connect(folder / "hive" / "mel.db")) as c, c:
        _write_everywhere(c)
    hive.start()
    try:
        _files(hive.data / "shared" / "mallory")
        for name, told in (("mallory", _words()), ("trudy", _calls())):
            hive.agent(name, playbook=_playbook(told))
            hive.send(name, "go")
            hive.wait_for("turn.ended", lambda event, name=name: event["agent"] == name)
            hive.client.post(f"/agents/{name}/pause")
        yield hive
    finally:
        hive.close()


def _write_everywhere(c: sqlite3.Connection) -> None:
    """Statuses, troubles, mail, errors, notes of turns, events."""
    c.execute("UPDATE messages SET wake = 0")
    c.execute("UPDATE agents SET status_at = entered_at, trouble = 'gave_up'")
    agents = [row[0] for row in c.execute("SELECT name FROM agents ORDER BY name")]
    for name, text in zip(agents, batches(-(-len(CORPUS) // AGENTS), " "), strict=False):
        c.execute("UPDATE agents SET status_text = ?, trouble_detail = ? WHERE name = ?", (text, text, name))
    newest = [row[0] for row in c.execute("SELECT id FROM messages ORDER BY id DESC LIMIT ?", (len(CORPUS),))]
    for identifier, text in zip(newest, CORPUS, strict=True):
        c.execute(
            "UPDATE messages SET body = ?, body_bytes = length(CAST(? AS BLOB)), state = 3, failures = 5, turn = NULL, "
            "last_error = ? WHERE id = ?",
            (text, text, text, identifier),
        )
    turns = [row[0] for row in c.execute("SELECT id FROM turns ORDER BY id")]
    for identifier, text in zip(turns, CORPUS, strict=True):
        tools = json.dumps({text: 3})
        c.execute(
            "UPDATE turns SET note = ?, tools = ?, result = 'failed', reason = 'tool_failed' WHERE id = ?",
            (text, tools, identifier),
        )
    for text in batches(6):
        data = json.dumps({"id": 1, "text": text, "detail": text, "reason": text, text: text})
        c.execute(
            "INSERT INTO events (at, kind, agent, subject, principal, data) "
            "SELECT max(at), 'agent.status_set', 'agent-00001', ?, 'agent-00001', ? FROM events",
            (text, data),
        )


def _files(folder: Path) -> None:
    """A file of each kind with the whole corpus, and a file named by each payload."""
    folder.mkdir(parents=True)
    for ending in ENDINGS:
        (folder / f"corpus.{ending}").write_text("\n\n".join(CORPUS))
    (folder / "names").mkdir()
    for text in SHORT:
        (folder / "names" / _file_name(text)).write_text(text)


def _file_name(text: str) -> str:
    return text.replace("/", "\u2215").encode()[:250].decode(errors="ignore") + ".md"


def _words() -> list[dict[str, object]]:
    """Lines of a hostile engine: text, thinking, and inputs of the tools that the page knows."""
    told: list[dict[str, object]] = []
    for text in batches(20):
        told += [{"type": "text", "text": text, "thinking": thinking} for thinking in (True, False)]
    whole = "\n".join(SHORT)
    for name, arguments, output in (
        ("Bash", {"command": whole}, whole),
        ("Edit", {"file_path": SHORT[0], "old_string": whole, "new_string": "\n".join(reversed(SHORT))}, SHORT[1]),
        ("Write", {"file_path": SHORT[0], "content": whole}, SHORT[2]),
        ("send", {"to": SHORT[0], "body": whole}, SHORT[3]),
    ):
        told.append({"type": "tool", "id": name, "name": name, "input": arguments})
        told.append({"type": "tool_result", "id": name, "ok": True, "text": output})
    return [*told, {"type": "retry", "attempt": 1, "error": SHORT[0]}]


def _calls() -> list[dict[str, object]]:
    """Names, inputs and results of tools that nobody knows."""
    told: list[dict[str, object]] = []
    for number, text in enumerate(SHORT):
        told.append({"type": "tool", "id": f"c{number}", "name": text, "input": {"file_path": text, text: text}})
        told.append({"type": "tool_result", "id": f"c{number}", "ok": number % 2 == 0, "text": text})
    return told


def _playbook(told: list[dict[str, object]]) -> str:
    """One turn that tells these lines, names its files and fails."""
    raw = [f"  {{ raw = {json.dumps(json.dumps(one))} }}," for one in told]
    sent = [f"  {{ send = {json.dumps(NAMED)} }}, {{ fail = {json.dumps(SHORT[0])} }}"]
    return "\n".join(["[[rule]]", "steps = [", *raw, *sent, "]"])


def test_no_payload_runs_asks_anybody_or_leaves_a_name(sit: Sit, hive: HiveProcess) -> None:
    """T25, section 7 line 22: and each of them was really shown where it was written."""
    seat = sit()
    seat.page.add_init_script(WATCHED)
    everything = {marker(number) for number in range(len(CORPUS))}
    short = {re.match(r"\w+", text).group() for text in SHORT}  # type: ignore[union-attr]

    def look(path: str, expected: set[str]) -> None:
        page = seat.go(path)
        seen = _open_everything(page, expected)
        assert expected <= seen, (path, sorted(expected - seen))
        _nothing_happened(page, path)

    look("/", everything)
    look("/?group=state", everything)
    look("/agents/trudy", short)
    look("/agents/mallory", everything)
    _previews(seat.page)
    look("/agents/agent-00001", set())
    look("/agents/agent-00001?tab=mail", set())
    look("/agents/agent-00001?tab=turns", set())
    look("/agents/agent-00001?why=agent-00001", set())
    look("/messages", set())
    look("/messages?as=sequence", set())
    look("/audit", everything)
    look("/health", set())
    look("/costs", set())
    look("/agents/mallory?tab=files&file=" + quote("/shared/mallory/names/"), short)
    for ending in ENDINGS:
        look(f"/agents/mallory?tab=files&file=/shared/mallory/corpus.{ending}", everything)
    for at in range(0, len(SHORT), 40):
        text = " ".join(SHORT[at : at + 40])
        for path in ("/?q={}", "/?why={}", "/messages?q={}", "/audit?agent={}", "/settings?q={}"):
            _asked(seat, path.replace("{}", quote(text, safe="")))
        _asked(seat, "/agents/" + quote(text.replace("/", "\u2215").replace(".", " "), safe=""))


def _previews(page: Page) -> None:
    """The files that its message names are open below it."""
    letter = page.get_by_role("article", name="mallory wrote").first
    for ending in ENDINGS:
        expect(letter.get_by_role("region", name=f"File corpus.{ending}", exact=True)).to_contain_text(marker(40))
    _nothing_happened(page, "previews")


def _asked(seat: Seat, path: str) -> None:
    """An address that somebody made for others to follow: the page lives, and what it names stays text."""
    seat.page.goto(seat.home + path)
    seat.page.locator("main").wait_for(state="attached")  # also below a dialog
    _nothing_happened(seat.page, path)


def _nothing_happened(page: Page, where: str) -> None:
    assert set(page.evaluate(NEW_NAMES)) - OURS == set(), where
    assert page.locator(FORBIDDEN).count() == 0, where
    assert page.evaluate("document.title").isprintable(), where
    links = page.evaluate(LINKS)
    for address, target, rel, own in links:
        foreign = not address.startswith((own + "/", own.replace("127.0.0.1", "localhost") + "/"))
        assert not foreign or (address.startswith(("https://", "http://")) and "noopener" in rel), (where, address)
        assert foreign == (target == "_blank"), (where, address)


def _open_everything(page: Page, expected: set[str]) -> set[str]:
    """Unfold what is folded, with what is inside; the markers that were seen."""
    folded = "main button[aria-expanded=false]:not([aria-haspopup])"
    seen: set[str] = set()
    end, rounds = time.monotonic() + PATIENCE, 0
    while rounds < 3 or (not expected <= seen and time.monotonic() < end):
        page.evaluate(UNFOLD, folded)
        page.evaluate("() => new Promise((done) => requestIdleCallback(done, { timeout: 1500 }))")
        seen |= set(re.findall(r"q\d{3}q", page.evaluate("document.body.textContent")))
        rounds += 1
    return seen


def test_a_browser_that_was_got_at_would_be_noticed(sit: Sit, hive: HiveProcess) -> None:
    """What the story relies on: a request, a dialog, a name and a breach of the policy each leave their word."""
    seat = sit()
    seat.page.add_init_script(WATCHED)
    page = seat.go("/health")
    page.evaluate("() => { owned = 1; new Image().src = 'https://evil.example/x'; alert(1) }")
    assert page.evaluate(NEW_NAMES).count("owned") == 2
    page.wait_for_function("() => true")
    told = "\n".join(seat.wrong)
    assert "policy: img-src" in told
    assert "dialog: 1" in told
    seat.wrong.clear()
