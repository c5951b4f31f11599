"""Files over HTTP (FR-2, FR-3, FR-11, T23, T25): shown as JSON, kept as an attachment, for operators alone."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

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


def test_nobody_without_a_session_reads_a_file(hive: ServedHive, browser: Browser) -> None:
    assert browser.ask("GET", FILES + shared(hive, "plan.md", b"first")).status == 401
