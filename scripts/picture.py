"""Takes the pictures of the dashboard that the README shows: a real hive at work, light and dark.

    .venv/bin/python scripts/picture.py [FOLDER]

Eight agents play a small team by playbooks, in real boxes, with a loopback stub in the model's place; Chromium looks at
their swarm. Nothing in a picture is painted: run it again after the page has changed and commit what it made.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from melipona.testing.hive import HiveProcess
from melipona.testing.model_stub import ModelStub

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "pictures"
SIZE = {"width": 1440, "height": 640}
LARGEST = 200_000
CONFIG = """
[mail]
attempts = 1
[turns]
cap = 6
"""
ASK = "{ model = 'go on', may_fail = true }"


def _works(status: str, command: str) -> str:
    """A playbook that says what it is about, asks the model and runs a command until the hive ends."""
    script = f"printf 'while :; do sleep 1; done' > {command.split()[0]}; chmod +x {command.split()[0]}"
    return f"""
[[rule]]
steps = [
  {{ tool = "set_status", with = {{ text = "{status}" }} }}, {ASK}, {ASK},
  {{ shell = "{script}" }},
  {{ shell = "./{command}" }},
]
"""


def _answers(body: str) -> str:
    return f'[[rule]]\nsteps = [{ASK}, {{ send = "{body}" }}]\n'


WAITS = f"""
[[rule]]
steps = [{ASK}, {{ tool = "set_status", with = {{ text = "Two parts of three are done" }} }}, {{ receive = 180 }}]
"""
TEAM = {
    "api": _works("Paging the list of agents", "check tests/api"),
    "web": _works("The chart of costs, in both themes", "build --watch"),
    "review": _works("Reading what api wrote", "diff-against main"),
    "lead": WAITS,
    "docs": _answers("The page about backups is ready to read: /shared/docs/backup.md. Shall I announce it?"),
    "perf": _answers("A cold load takes half of what it took."),
    "nightly": '[[rule]]\nsteps = [{ fail = "the mirror did not answer" }]',
    "release": _answers("Nothing is due before Friday."),
}
RUNNING = ("api", "web", "review", "lead")


def team_at_work(hive: HiveProcess) -> None:
    """Bring the team to where the picture is taken."""
    for name, playbook in TEAM.items():
        hive.agent(name, playbook=playbook, role="manager" if name == "lead" else "worker")
    page = Path(hive.data) / "shared" / "docs"
    page.mkdir(parents=True, exist_ok=True)
    (page / "backup.md").write_text("# Backups\n")
    for name in TEAM:
        hive.send(name, "Please go on with your part.")
    for name in ("docs", "perf", "nightly", "release"):
        hive.wait_for("turn.ended", lambda event, name=name: event["agent"] == name)
    for name in RUNNING:
        hive.wait_for("agent.status_set", lambda event, name=name: event["agent"] == name)
    hive.client.post("/agents/perf/pause")
    hive.client.post("/agents/release/stop")
    hive.wait_for("agent.stopped", lambda event: event["agent"] == "release")
    perf = next(item for item in hive.client.get("/inbox")["items"] if item["sender"] == "perf")
    hive.client.post("/inbox/read", {"ids": [perf["id"]]})


def take(browser: Browser, hive: HiveProcess, theme: str, target: Path) -> None:
    """One picture of the swarm."""
    url = str(hive.client.post("/login-links")["url"])
    context = browser.new_context(viewport=SIZE, color_scheme=theme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(url)
    page.locator("header [role=status]", has_text="live").wait_for()
    for name in TEAM:
        page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True)).wait_for()
    page.evaluate("document.fonts.ready")
    page.screenshot(path=str(target))
    context.close()
    if target.stat().st_size > LARGEST:
        raise SystemExit(f"{target} has {target.stat().st_size} bytes; the limit is {LARGEST}")


def main(folder: Path) -> None:
    """Both pictures."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("there is no Chromium: apt-get install chromium")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mel-picture") as there:
        stub = ModelStub(key="the-stub-takes-this")
        model = {"ANTHROPIC_BASE_URL": stub.url, "ANTHROPIC_API_KEY": stub.key or ""}
        hive = HiveProcess(Path(there) / "melipona", config=CONFIG, env=model)
        hive.start()
        try:
            team_at_work(hive)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
                for theme in ("light", "dark"):
                    take(browser, hive, theme, folder / f"dashboard-{theme}.png")
                browser.close()
        finally:
            hive.close()
            stub.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
