"""The stories that are crashed at every point they pass: what a hive is used for, each told to its end whatever dies.

A story is a function of a `Rig`. It asks as an operator would: again when no answer came, with the same key where there
is one, and it looks the outcome up. So the same script tells the story with a crash in it and without. What it leaves
must be the same: the mail answered once, no more than the flags allow, nothing under way.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import melipona.store.migrate as migrate
from melipona.store.schema import PARKED
from melipona.testing.crash_access import logins
from melipona.testing.crash_rig import CONFIG, DAY, Rig, StoryFailed
from melipona.testing.invariants import Expect, check

KEY = "canary-of-the-crash-stories"
ECHO = """
[[rule]]
kind = ["mail", "broadcast"]
steps = [{ send = "heard {body}" }]

[[rule]]
kind = "kick"
steps = [{ say = "I go on" }]
"""
BUSY = """
[[rule]]
kind = ["mail"]
steps = [
  { tool = "set_status", with = { text = "working" } },
  { shell = "echo {body} > /ws/report && cat /ws/report", into = "made" },
  { tool = "publish", with = { path = "/ws/report" } },
  { say = "done" },
  { send = "made {made}" },
]

[[rule]]
kind = "kick"
steps = [{ say = "I go on" }]
"""
MORE = """
from alembic import op

revision = "9999"
down_revision = "{head}"


def upgrade() -> None:
    op.execute("CREATE TABLE of_a_newer_schema (n INTEGER NOT NULL) STRICT")
    op.execute("INSERT INTO of_a_newer_schema VALUES (1)")
"""
SLOW = """
[[rule]]
kind = ["mail"]
steps = [
  { shell = "echo begun; while [ ! -e /ws/go ]; do sleep 0.01; done; echo once >> /ws/runs", timeout = 60 },
  { send = "went on with {body}" },
]

[[rule]]
kind = "kick"
steps = [{ say = "I go on" }]
"""


@dataclass(frozen=True, slots=True)
class Story:
    """One story. `boxes`: it starts real boxes. `config` is added to the rig's; `fresh`: it begins without a store."""

    name: str
    tell: Callable[[Rig], None]
    boxes: bool = True
    config: str = ""
    fresh: bool = False
    model: bool = False


# ---- turns and mail -------------------------------------------------------------------------------------------------


def turn(rig: Rig) -> None:
    """A message wakes an agent, which works, publishes and answers; the warm engine answers a second one."""
    rig.begin()
    rig.create("ana", playbook=BUSY)
    for text in ("one", "two"):
        rig.handled(rig.send("ana", text))
    rig.quiet()
    rig.expect_answers(["made one", "made two"])
    rig.expect("published", (rig.data / "shared" / "ana" / "report").read_text(), "two\n")


def peers(rig: Rig) -> None:
    """Two agents answer each other, one waits for mail in its turn; a broadcast; a long body; the operator reads."""
    rig.begin()
    rig.create(
        "ana",
        playbook="""
[[rule]]
from = "operator"
kind = "mail"
steps = [{ send = "over to you", to = "ben" }, { receive = 20, into = "came" }, { send = "they said something" }]
[[rule]]
steps = [{ say = "noted" }]
""",
    )
    rig.create("ben", playbook=ECHO)
    first = rig.send("ana", "ask ben " + "x" * 2000)
    rig.handled(first)
    rig.send("*", "to all of you")
    rig.quiet()
    rig.until("SELECT 1 FROM messages WHERE sender = 'ana' AND recipient = 'operator'")
    heard = [body for body in rig.answers() if body == "they said something"]
    rig.expect_answers(["they said something"], found=heard)
    long = rig.ask("GET", f"/messages/{first}/body")["body"]
    rig.expect("long body", long, "ask ben " + "x" * 2000)
    rig.ask("POST", "/inbox/read", {})
    rig.until("SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM messages WHERE recipient = 'operator' AND state = 0)")


def parked(rig: Rig) -> None:
    """A message that fails again and again is parked, told once, retried by the operator, and then handled."""
    rig.begin()
    rig.create(
        "ana",
        playbook="""
[[rule]]
nth = [1, 2]
steps = [{ fail = "no luck" }]
[[rule]]
steps = [{ send = "at last" }]
""",
    )
    message = rig.send("ana", "try")
    (state,) = rig.until("SELECT state FROM messages WHERE id = ? AND state IN (2, 3)", message)
    if state == PARKED:
        rig.verb_message("retry", message)
        rig.handled(message)
    rig.quiet()
    rig.expect_answers(["at last"], failures=2)


def hung_up(rig: Rig) -> None:
    """A script in a box waits for mail and is killed; what came meanwhile is for the agent's next turn."""
    rig.begin()
    rig.create(
        "ana",
        playbook="""
[[rule]]
body = "wait"
steps = [
  { shell = "mel receive --wait_seconds 60 & until [ -e /ws/go ]; do sleep 0.01; done; kill -9 $!; wait", timeout = 9 },
  { send = "heard {body}" },
]
[[rule]]
steps = [{ send = "heard {body}" }]
""",
    )
    first = rig.send("ana", "wait")
    rig.until("SELECT 1 FROM turns WHERE state = 'waiting'")
    (rig.work("ana") / "go").touch()
    rig.until("SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM turns WHERE state = 'waiting')")
    rig.handled(first)
    rig.handled(rig.send("ana", "more"))
    rig.quiet()
    rig.expect_answers(["heard wait", "heard more"])


def breaker(rig: Rig) -> None:
    """An agent that broadcasts too often is stopped by the breaker, which is told once."""
    rig.begin()
    rig.create(
        "ana",
        playbook="""
[[rule]]
steps = [{ repeat = 3, steps = [{ send = "round {round}", to = "*", may_fail = true }] }]
""",
    )
    rig.create("ben", playbook='[[rule]]\nsteps = [{ say = "noted" }]\n')
    rig.handled(rig.send("ana", "go"))
    rig.quiet()
    rig.expect("sent", rig.rows("SELECT count(*) FROM messages WHERE recipient = 'ben' AND sender = 'ana'"), [(2,)])
    told = rig.rows("SELECT count(*) FROM events WHERE kind = 'thread.tripped'")
    rig.expect("told", told, [(1,)])


# ---- the verbs ------------------------------------------------------------------------------------------------------


def made(rig: Rig) -> None:
    """An agent is made and its settings are changed."""
    rig.begin()
    rig.create("ana", playbook=ECHO, budget_usd=1)
    rig.ask("PATCH", "/agents/ana", {"budget_usd": 2, "send_allow": ["operator"]})
    rig.create("ben", playbook=ECHO)
    rig.expect("budget", rig.rows("SELECT budget_micro_usd FROM agents WHERE name = 'ana'"), [(2_000_000,)])


def pause_resume(rig: Rig) -> None:
    """A paused agent gets no turn; its mail waits and is handled after it was resumed."""
    rig.begin()
    rig.create("ana", playbook=ECHO)
    rig.handled(rig.send("ana", "first"))
    rig.verb("pause", "ana")
    waits = rig.send("ana", "second")
    rig.expect("waits", rig.rows("SELECT state FROM messages WHERE id = ?", waits), [(0,)])
    rig.verb("resume", "ana")
    rig.handled(waits)
    rig.quiet()
    rig.expect_answers(["heard first", "heard second"])


def stop_start(rig: Rig) -> None:
    """Stopping ends a turn that runs and its box; starting again handles the mail that was given back."""
    rig.begin()
    rig.create("ana", playbook=SLOW)
    message = rig.send("ana", "work")
    rig.until("SELECT 1 FROM turns WHERE state = 'running' AND prompt_seq IS NOT NULL")
    rig.verb("stop", "ana")
    rig.until("SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM boxes WHERE state <> 'gone')")
    rig.quiet()
    (rig.work("ana") / "go").touch()
    rig.verb("start", "ana")
    rig.handled(message)
    rig.quiet()
    rig.expect_answers(["went on with work"])


def restart(rig: Rig) -> None:
    """A restart ends the box and wakes the agent once."""
    rig.begin()
    rig.create("ana", playbook=ECHO)
    rig.handled(rig.send("ana", "first"))
    rig.verb("restart", "ana")
    rig.quiet()
    rig.handled(rig.send("ana", "second"))
    rig.quiet()
    restarts = rig.rows("SELECT count(*) FROM events WHERE kind = 'agent.restarted'")[0][0]
    kicks = rig.rows("SELECT count(*) FROM messages WHERE kind = 'kick'")[0][0]
    rig.expect("one kick for each restart", kicks, restarts)
    rig.expect("it was restarted", restarts in (1, 2), True)  # twice when the first request's answer was lost


def destroyed(rig: Rig) -> None:
    """A destroyed agent is a tombstone with its files; making it anew brings it back."""
    rig.begin()
    rig.create("ana", playbook=BUSY)
    rig.handled(rig.send("ana", "keep"))
    rig.quiet()
    work = rig.work("ana")
    rig.verb("destroy", "ana")
    rig.quiet()
    rig.expect("files are kept", (work / "report").read_text(), "keep\n")
    rig.create("ana", playbook=BUSY)
    rig.handled(rig.send("ana", "again"))
    rig.quiet()
    rig.expect_answers(["made keep", "made again"])


def purged(rig: Rig) -> None:
    """A purged agent is gone with its files, its waiting mail is parked; its name is free."""
    rig.begin()
    rig.create("ana", playbook=BUSY)
    rig.handled(rig.send("ana", "gone"))
    rig.verb("pause", "ana")
    waits = rig.send("ana", "too late")
    rig.quiet()
    [(identifier,)] = rig.rows("SELECT id FROM agents WHERE name = 'ana' AND wish <> 'purged'")
    rig.verb("purge", "ana")
    rig.quiet()
    rig.expect("its mail", rig.rows("SELECT state FROM messages WHERE id = ?", waits), [(PARKED,)])
    rig.expect("its folders", (rig.data / "homes" / identifier).exists(), False)
    rig.create("ana", playbook=ECHO)
    rig.handled(rig.send("ana", "new"))
    rig.quiet()


def interrupted(rig: Rig) -> None:
    """An interrupt ends the turn and holds its mail until the operator resumes."""
    rig.begin()
    rig.create("ana", playbook=SLOW)
    message = rig.send("ana", "long")
    rig.until("SELECT 1 FROM turns WHERE state = 'running' AND prompt_seq IS NOT NULL")
    while not rig.rows("SELECT 1 FROM turns WHERE interrupt_by IS NOT NULL"):
        rig.verb("interrupt", "ana")
    rig.until("SELECT 1 FROM turns WHERE result IS NOT NULL")
    rig.quiet()
    (rig.work("ana") / "go").touch()
    rig.verb("resume", "ana")
    rig.handled(message)
    rig.quiet()
    rig.expect_answers(["went on with long"])


def conversation(rig: Rig) -> None:
    """A new session that waits is taken back, a compaction waits for the turn that runs; a new session begins another
    conversation."""
    rig.begin()
    rig.create("ana", playbook=SLOW)
    message = rig.send("ana", "long")
    rig.until("SELECT 1 FROM turns WHERE state = 'running' AND prompt_seq IS NOT NULL")
    while not rig.rows("SELECT 1 FROM operations WHERE kind = 'renewing'"):
        rig.verb("new-session", "ana")
    while rig.rows("SELECT 1 FROM operations WHERE kind = 'renewing' AND state = 'running'"):
        rig.verb("take-back", "ana")
    while not rig.rows("SELECT 1 FROM operations WHERE kind = 'compacting'"):
        rig.verb("compact", "ana")
    (rig.work("ana") / "go").touch()
    rig.handled(message)
    rig.quiet()
    while not rig.rows("SELECT 1 FROM operations WHERE kind = 'renewing' AND state IN ('running', 'done')"):
        rig.verb("new-session", "ana")
    rig.quiet()
    rig.handled(rig.send("ana", "more"))
    rig.quiet()
    rig.expect_answers(["went on with long", "went on with more"])
    asked = rig.rows("SELECT DISTINCT kind FROM operations WHERE kind IN ('compacting', 'renewing') AND state = 'done'")
    rig.expect("what was asked for is done", sorted(asked), [("compacting",), ("renewing",)])


def too_long(rig: Rig) -> None:
    """A turn that passes its limit of time is interrupted, its mail fails; what is parked is retried."""
    rig.begin()
    rig.create("ana", playbook=SLOW)
    message = rig.send("ana", "slow")
    rig.until("SELECT 1 FROM turns WHERE reason = 'time_total'")
    (rig.work("ana") / "go").touch()
    for _ in range(10):  # on a busy machine the start of a box alone may take longer than a turn may
        (state,) = rig.until("SELECT state FROM messages WHERE id = ? AND state IN (2, 3)", message)
        if state != PARKED:
            break
        rig.verb_message("retry", message)
    rig.handled(message)
    rig.quiet()


# ---- daemons that come and go ---------------------------------------------------------------------------------------


def adopted(rig: Rig) -> None:
    """A daemon dies in a turn; the next one takes the box over, and the turn goes on to its end."""
    rig.armed = False
    rig.begin()
    rig.create("ana", playbook=SLOW)
    message = rig.send("ana", "build")
    turn_id = rig.until("SELECT id FROM turns WHERE state = 'running' AND prompt_seq IS NOT NULL")[0]
    rig.until_begun(turn_id)
    rig.kill()
    rig.armed = True
    rig.begin()
    rig.until("SELECT 1 FROM events WHERE kind IN ('turn.adopted', 'turn.ended')")
    (rig.work("ana") / "go").touch()
    rig.handled(message)
    rig.quiet()
    rig.expect_answers(["went on with build"])
    turns, failed = rig.rows("SELECT count(*) FROM turns")[0][0], rig.failed_turns()
    rig.expect("one turn that ended well", turns - failed, 1)
    rig.expect("none that did not", failed <= int(rig.may_fail_turns), True)
    rig.expect("ran once in each", (rig.work("ana") / "runs").read_text() in ("once\n", "once\n" * turns), True)


def box_gone(rig: Rig) -> None:
    """The box of a turn dies with its daemon, and once more under a living one; the mail comes back flagged."""
    rig.armed = False
    rig.begin()
    rig.create("ana", playbook=SLOW)
    message = rig.send("ana", "build")
    turn_id = rig.until("SELECT id FROM turns WHERE state = 'running' AND prompt_seq IS NOT NULL")[0]
    rig.until_begun(turn_id)
    rig.kill()
    kill_boxes(rig)
    rig.armed = True
    rig.begin()
    rig.until("SELECT 1 FROM turns WHERE result = 'lost'")
    (second,) = rig.until("SELECT id FROM turns WHERE state = 'running' AND prompt_seq IS NOT NULL AND id > ?", turn_id)
    kill_boxes(rig)
    rig.until("SELECT 1 FROM turns WHERE id = ? AND state = 'ended'", second)
    (rig.work("ana") / "go").touch()
    rig.until("SELECT 1 FROM messages WHERE id = ? AND state >= 2", message)
    rig.quiet()
    rig.expect("flag", rig.rows("SELECT maybe_seen FROM messages WHERE id = ?", message), [(1,)])


def kill_boxes(rig: Rig) -> None:
    """Kill the init of each box that the rows call up, if it still runs."""
    for (handle,) in rig.rows("SELECT handle FROM boxes WHERE state <> 'gone' AND handle IS NOT NULL"):
        try:
            os.kill(int(json.loads(handle)["pid"]), signal.SIGKILL)
        except ProcessLookupError:
            continue


def idle(rig: Rig) -> None:
    """An engine and then a box that idle too long are ended; the next mail starts both anew."""
    rig.begin()
    rig.create("ana", playbook=ECHO)
    for text in ("one", "two"):
        rig.handled(rig.send("ana", text))
        rig.until("SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM programs WHERE state <> 'ended')")
        rig.until("SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM boxes WHERE state <> 'gone')")
    rig.expect_answers(["heard one", "heard two"])


def daemon_stops(rig: Rig) -> None:
    """SIGTERM leaves the box, the next daemon finds it; `mel down` ends a turn that runs, with its box."""
    rig.begin()
    rig.create("ana", playbook=SLOW)
    message = rig.send("ana", "rest")
    turn_id = rig.until("SELECT id FROM turns WHERE state = 'running' AND prompt_seq IS NOT NULL")[0]
    rig.until_begun(turn_id)
    rig.stop()
    rig.down()
    rig.expect("no turn is open", rig.rows("SELECT id FROM turns WHERE state <> 'ended'"), [])
    (rig.work("ana") / "go").touch()
    rig.begin()
    rig.handled(message)
    rig.quiet()


# ---- money ----------------------------------------------------------------------------------------------------------


def budget(rig: Rig) -> None:
    """Model calls through the gate, whole and streamed, are reserved and settled; a spent budget ends them."""
    rig.begin()
    rig.create(
        "ana",
        budget_usd=0.003,
        playbook="""
[[rule]]
kind = "mail"
steps = [
  { model = "say hello", name = "a-model-that-is-not-allowed", max_tokens = 64, into = "no", may_fail = true },
  { model = 'STEPS: [{"status": 400, "times": 9}]', name = "claude-haiku-4-5", into = "no", may_fail = true },
  { model = "say hello", name = "claude-haiku-4-5", max_tokens = 64, stream = false, into = "whole", may_fail = true },
  { repeat = 3, steps = [
    { model = "say hello", name = "claude-haiku-4-5", max_tokens = 64, into = "stream", may_fail = true },
  ] },
  { send = "the model said something" },
]
[[rule]]
steps = [{ say = "noted" }]
""",
    )
    for _ in range(2):
        rig.send("ana", "ask")
    rig.until(
        "SELECT 1 FROM agents WHERE name = 'ana' AND (trouble = 'budget_spent' OR NOT EXISTS"
        " (SELECT 1 FROM messages WHERE recipient = 'ana' AND state < 2))"
    )
    rig.ask("PATCH", "/agents/ana", {"budget_usd": 1})
    rig.until("SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM messages WHERE recipient = 'ana' AND state < 2)")
    rig.quiet()
    rig.expect("open calls", rig.rows("SELECT id FROM spend WHERE state = 'reserved'"), [])


# ---- the store itself -----------------------------------------------------------------------------------------------


def first_start(rig: Rig) -> None:
    """A hive is made: schema, id, folders, trees, port; then it answers."""
    rig.begin()
    rig.create("ana", playbook=ECHO)
    rig.send("ana", "hello")


def migration(rig: Rig) -> None:
    """An older store is copied and brought to the newest schema, with what it holds."""
    rig.armed = False
    rig.begin()
    rig.create("ana", playbook=ECHO)
    rig.verb("pause", "ana")
    message = rig.send("ana", "from before")
    rig.stop()
    rig.armed, rig.patch = True, partial(be_newer, newer_schema(rig.folder / "newer"))
    rig.begin()
    rig.expect("revision", rig.rows("SELECT version_num FROM alembic_version"), [("9999",)])
    rig.expect("the new table", rig.rows("SELECT count(*) FROM of_a_newer_schema"), [(1,)])
    rig.expect("what it held", rig.rows("SELECT body FROM messages WHERE id = ?", message), [("from before",)])
    [copy] = rig.data.glob("mel.before-*.db")
    rig.expect("the copy before", [str(f) for f in check(copy, expect=Expect())], [])


def newer_schema(folder: Path) -> Path:
    """The migrations of a newer Melipona, in a folder of their own."""
    shutil.copytree(Path(str(migrate.__file__)).parent / "migrations", folder / "migrations")
    (folder / "migrations" / "versions" / "9999_more.py").write_text(MORE.format(head=migrate.HEAD))
    return folder


def be_newer(folder: Path) -> None:
    """Make this process one of that newer Melipona."""
    migrate.__file__ = str(folder / "migrate.py")
    migrate.KNOWN, migrate.HEAD = (*migrate.KNOWN, "9999"), "9999"


def backup(rig: Rig) -> None:
    """A backup through the running daemon, and one beside a hive that does not run; both restore."""
    rig.begin()
    rig.create("ana", playbook=ECHO)
    rig.verb("pause", "ana")
    rig.send("ana", "kept " + "y" * 3000)
    running = rig.folder / "running.tar.gz"
    while not running.exists():
        try:
            rig.ask("POST", "/backup", {"path": str(running), "homes": False})
        except Exception as problem:
            if not running.exists():
                raise StoryFailed(f"no backup: {problem}") from problem
    rig.down()
    resting = rig.folder / "resting.tar.gz"
    while not rig.back_up(resting) and not resting.exists():
        pass
    for archive in (running, resting):
        restored_well(rig, archive, rig.folder / f"from-{archive.stem}")


def restored(rig: Rig) -> None:
    """A restore into an empty folder, begun again when it was cut off; the hive then runs there."""
    rig.armed = False
    rig.begin()
    rig.create("ana", playbook=ECHO)
    rig.verb("pause", "ana")
    message = rig.send("ana", "kept " + "z" * 3000)
    rig.down()
    archive = rig.folder / "hive.tar.gz"
    assert rig.back_up(archive)
    rig.armed = True
    shutil.rmtree(rig.data)
    restored_well(rig, archive, rig.data)
    rig.begin()
    rig.verb("resume", "ana")
    rig.handled(message)
    rig.quiet()
    rig.expect_answers(["heard kept"], found=[answer[:10] for answer in rig.answers()])


def restored_well(rig: Rig, archive: Path, target: Path) -> None:
    """The archive is a whole backup: it restores to a store without findings (I-18), if need be when asked again."""
    deaths, refusals = rig.deaths, 0
    while not rig.restore(archive, target):
        refusals += rig.deaths == deaths
        if refusals > 1:
            raise StoryFailed(f"{archive.name} does not restore:\n{rig.log[-2000:]}")
        deaths = rig.deaths
    rig.findings += check(target, rig.promises)


def retention(rig: Rig) -> None:
    """A year later what is old is removed: mail with its long bodies, turn logs, sealed events, recorded answers."""
    rig.armed = False
    rig.begin()
    rig.create("ana", playbook=BUSY)
    message = rig.send("ana", "old " + "w" * 3000)
    rig.handled(message)
    rig.quiet()
    rig.ask("POST", "/inbox/read", {})
    rig.down()
    rig.shift = 500 * DAY
    rig.begin()  # it sees the new time and believes no clock that jumps; the next one knows that time has passed
    rig.down()
    rig.armed = True
    rig.begin()
    rig.until("SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM messages WHERE id = ?)", message)
    rig.until("SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM turns WHERE log_path IS NOT NULL)")
    rig.until("SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM calls)")
    rig.until("SELECT 1 FROM event_seals WHERE pruned = 1")
    rig.promises.clear()  # they were kept for as long as they were to be
    if not rig.gone(rig.data / "agents" / "ana" / "inbox" / f"{message}.md"):
        rig.expect("its long body", "there", "gone")


def seals(rig: Rig) -> None:
    """Events are sealed as they come and at the end; logins are opened, used and revoked; the checkpoint runs."""
    rig.begin()
    link = rig.ask("POST", "/login-links")
    session = rig.log_in(str(link["url"]))
    rig.stop()
    rig.shift = 3600 * 1_000_000
    rig.visit(str(link["url"]), session)
    for session in rig.ask("GET", "/sessions")["items"]:
        rig.end_session(str(session["id"]))
    rig.create("ana", playbook=ECHO)
    rig.until("SELECT 1 FROM event_seals")
    rig.stop()
    rig.expect(
        "unsealed", rig.rows("SELECT count(*) FROM events WHERE id > (SELECT max(last) FROM event_seals)"), [(0,)]
    )


def people(rig: Rig) -> None:
    """Somebody is let in with an account and a token, given another role, shut out and let in again."""
    rig.begin()
    rig.repeated("POST", "/people", {"name": "mara", "role": "viewer"})
    rig.repeated("POST", "/people/mara/identities", {"subject": "248289761001"})
    for change in ({"role": "operator"}, {"disabled": True}, {"disabled": False}):
        rig.repeated("PATCH", "/people/mara", change)
    rig.expect(
        "who there is", rig.rows("SELECT role, disabled_at FROM people WHERE name = 'mara'"), [("operator", None)]
    )
    for account in rig.ask("GET", "/people/mara/identities")["items"]:
        rig.repeated("DELETE", f"/people/mara/identities/{account['id']}")
    rig.expect("accounts", rig.rows("SELECT count(*) FROM identities"), [(0,)])
    rig.repeated("POST", "/recovery-codes", {})
    rig.repeated("POST", "/login-links/switch", {"on": True})
    token = rig.repeated("POST", "/tokens", {"name": "script", "scopes": ["read"]})["token"]
    while not rig.rows("SELECT 1 FROM api_tokens WHERE last_used_at IS NOT NULL"):
        rig.use_token(str(token))
    for made in rig.ask("GET", "/tokens")["items"]:
        rig.repeated("DELETE", f"/tokens/{made['id']}")
    rig.expect("tokens that are good", rig.ask("GET", "/tokens")["items"], [])
    rig.quiet()


QUICKLY = "[turns]\nengine_idle = 0.1\n[boxes]\nidle = 0.2\n"
PROVIDER = '[access.oidc]\nissuer = "https://provider.invalid"\nclient_id = "melipona"\n'
STORIES = {
    story.name: story
    for story in (
        Story("turn", turn),
        Story("peers", peers),
        Story("parked", parked),
        Story("hung_up", hung_up),
        Story("breaker", breaker),
        Story("made", made, boxes=False),
        Story("pause_resume", pause_resume),
        Story("stop_start", stop_start),
        Story("restart", restart),
        Story("destroyed", destroyed),
        Story("purged", purged),
        Story("interrupted", interrupted),
        Story("conversation", conversation),
        Story("too_long", too_long, config="[turns]\ntotal = 1.5\n"),
        Story("adopted", adopted),
        Story("box_gone", box_gone),
        Story("idle", idle, config=QUICKLY),
        Story("daemon_stops", daemon_stops),
        Story("budget", budget, model=True),
        Story("first_start", first_start, fresh=True, boxes=False),
        Story("migration", migration, boxes=False),
        Story("backup", backup, boxes=False),
        Story("restored", restored),
        Story("retention", retention, config="[events]\nkeep_days = 1\n"),
        Story("seals", seals, boxes=False),
        Story("people", people, boxes=False, config=PROVIDER),
        Story("logins", logins, boxes=False, config=PROVIDER),
    )
}


def merged(config: str) -> str:
    """The rig's configuration with a story's own sections worked in."""
    text, section = CONFIG, ""
    for line in config.splitlines():
        if line.startswith("["):
            section = line
            if section not in text:
                text += f"\n{section}\n"
        elif line:
            text = text.replace(f"{section}\n", f"{section}\n{line}\n", 1)
    return text


@contextmanager
def model_api(folder: Path) -> Generator[dict[str, str]]:
    """The stub of the model's API in a process of its own; the environment that leads a daemon to it."""
    argv = [sys.executable, "-m", "melipona.testing.model_stub", "--port", "0", "--key", KEY]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder) as stub:
        try:
            assert stub.stdout is not None
            url = stub.stdout.readline().split()[-1]
            yield {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": KEY}
        finally:
            stub.terminate()
