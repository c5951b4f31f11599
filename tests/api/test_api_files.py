"""Files over HTTP (FR-2, FR-3, FR-11, T23, T25): shown as JSON, kept as an attachment, for operators alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from api_browser import Browser

from melipona.testing.served import ServedHive

FILES = "/api/v1/files?path="
PAGE = b"<script>alert(1)</script>"


def shared(hive: ServedHive, name: str, data: bytes) -> str:
    folder = Path(hive.data) / "shared"
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    return f"/shared/{name}"


def test_a_text_is_shown_and_bytes_are_base64(hive: ServedHive, operator: Browser) -> None:
    shown = operator.ask("GET", FILES + shared(hive, "plan.md", b"first\n")).json
    assert (shown["path"], shown["size"], shown["text"], shown["base64"]) == ("/shared/plan.md", 6, "first\n", None)
    other = operator.ask("GET", FILES + shared(hive, "picture", b"\xff\0")).json
    assert (other["text"], other["base64"]) == (None, "/wA=")


def test_a_download_is_never_shown_by_a_browser(hive: ServedHive, operator: Browser) -> None:
    """T25: whatever is in it and however it is called."""
    answer = operator.ask("GET", "/api/v1/files/download?path=" + quote(shared(hive, 'a"\r\nX: b.html', PAGE)))
    assert answer.status == 200
    assert answer.body == PAGE
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


def test_what_is_not_offered_is_a_problem_that_says_what_is(operator: Browser) -> None:
    for path, status in (("/etc/passwd", 403), ("/shared/../mel.db", 422), ("/shared/none", 404)):
        assert operator.ask("GET", FILES + path).status == status, path


@pytest.mark.threat("T23")
def test_to_a_stranger_every_path_looks_alike(hive: ServedHive, browser: Browser) -> None:
    """I-43: what is there, what is not, what is refused and what is no path: one answer, decided before the path."""
    there = shared(hive, "plan.md", b"first")
    paths = (
        there,
        "/shared/none",
        "/etc/passwd",
        "/etc/none",
        "/shared/../mel.db",
        "/agents/ana/state/x",
        "",
        "x" * 5000,
    )
    for route in (FILES, "/api/v1/files/download?path="):
        answers = [browser.ask("GET", route + quote(path)) for path in paths]
        assert {answer.status for answer in answers} == {401}
        assert len({json.dumps(_without_request(answer.json)) for answer in answers}) == 1


@pytest.mark.threat("T23")
def test_no_route_says_whether_a_path_exists(operator: Browser) -> None:
    """FR-10, I-43: outside of the folders that are offered, what is there is refused in the words of what is not."""
    for there, not_there in (("/etc/passwd", "/etc/passwx"), ("/root/.profile", "/root/.prefile")):
        answers = [operator.ask("GET", FILES + path) for path in (there, not_there)]
        assert [answer.status for answer in answers] == [403, 403]
        told = [json.dumps(_without_request(answer.json)) for answer in answers]
        assert told[0].replace(there, "") == told[1].replace(not_there, "")


def test_live_and_older_mail_name_the_same_files(hive: ServedHive, operator: Browser) -> None:
    """FR-7, BR-15, DB-13: event, lists, message, inbox and the whole body agree; a list is as of now."""
    path = shared(hive, "plan.md", b"first")
    hive.client.post("/agents", {"name": "ana", "engine": "playbook"})
    body = f"see {path}, not /shared/none" + " word" * 400 + f" and {shared(hive, 'late.md', b'x')}"
    number = hive.agent_says("ana", body)
    event = hive.client.get("/events/page", kind="message.sent", limit=1)["items"][0]
    assert (event["subject"], event["data"]["files"]) == (f"m{number}", [path])
    for route in ("messages", "messages?agent=ana", f"messages?thread={number}", "inbox", "inbox/unread"):
        first = operator.ask("GET", f"/api/v1/{route}").json["items"][0]
        assert (first["files"], first["files_cut"]) == ([path], False), route
    assert operator.ask("GET", f"/api/v1/messages/m{number}").json["files"] == [path]
    assert operator.ask("GET", f"/api/v1/messages/m{number}/body").json["files"] == [path, "/shared/late.md"]
    (Path(hive.data) / "shared" / "plan.md").unlink()
    assert operator.ask("GET", "/api/v1/inbox").json["items"][0]["files"] == []


def _without_request(problem: Any) -> Any:
    return {key: value for key, value in problem.items() if key not in ("request_id", "instance")}
