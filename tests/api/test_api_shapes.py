"""What scripts rely on: field names, ids in both forms, pages, problems (issue 3, D-37, D-38, LE-14, LE-15)."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from api_browser import Browser
from fastapi.routing import APIRoute
from starlette.routing import Route

from melipona import errors
from melipona.api import openapi
from melipona.api.problems import status_of
from melipona.client import Problem
from melipona.testing.served import ServedHive


@pytest.fixture
def ana(hive: ServedHive) -> ServedHive:
    """A hive with an agent."""
    hive.client.post("/agents", {"name": "ana", "engine": "playbook"})
    return hive


def test_the_openapi_document_is_up_to_date() -> None:
    """CL-3: `python -m melipona.api.openapi` writes it; a change of the wire is seen in a review."""
    committed = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"
    assert committed.read_text(encoding="utf-8") == openapi.document()
    assert json.loads(openapi.document())["openapi"].startswith("3.1")


def test_no_route_is_built_twice() -> None:
    """A daemon that starts again is waited for: what `include_router` adds is built anew at the first request."""
    kinds = Counter(type(route) for route in openapi.application().router.routes)
    assert kinds.keys() == {APIRoute, Route}
    assert kinds[APIRoute] > 40


def test_a_message_has_the_promised_fields(ana: ServedHive) -> None:
    """Issue 3: id, sender, recipient, body, sent_at, state, attempts."""
    sent = ana.client.post_keyed("/messages", {"to": "ana", "body": "hello"})
    for form in (str(sent["id"]), f"m{sent['id']}"):
        message = ana.client.get(f"/messages/{form}")
        expected = {"id": sent["id"], "sender": "operator", "recipient": "ana", "body": "hello", "state": "waiting"}
        assert expected.items() <= message.items()
        assert message["attempts"] == 0
        assert message["sent_at"].endswith("Z")


def test_an_agent_has_the_promised_fields(ana: ServedHive) -> None:
    """Issue 3 and D-37."""
    agent = ana.client.get("/agents/ana")
    assert {
        "name": "ana",
        "engine": "playbook",
        "state": "idle",
        "reason": None,
        "role": "worker",
    }.items() <= agent.items()
    assert agent["since"].endswith("Z")
    assert {"detail", "until", "model", "status"} <= agent.keys()


def test_a_turn_has_the_promised_fields(ana: ServedHive) -> None:
    """D-38."""
    number = ana.open_turn("ana")
    ana.end_turn(number)
    for turn in (ana.client.get(f"/turns/t{number}"), ana.client.get("/agents/ana/turns")["items"][0]):
        assert {"id": number, "agent": "ana", "result": "ok"}.items() <= turn.items()
        assert turn["cause"] == {"kind": "mail"}
        assert turn["tokens"].keys() == {"input", "output", "cache_read", "cache_creation"}
        assert {"started_at", "ended_at", "cost_usd"} <= turn.keys()


def test_the_state_has_the_promised_fields(ana: ServedHive) -> None:
    """Issue 3: daemon.pid, daemon.version, api; D-33: the store's id and the event number."""
    state = ana.client.get("/state")
    assert state["daemon"]["pid"] > 0
    assert state["daemon"]["version"]
    assert state["api"] == f"http://127.0.0.1:{ana.port}"
    assert state["event"] == 1
    assert state["store"]
    assert [agent["name"] for agent in state["agents"]] == ["ana"]


def test_lists_are_newest_first_in_pages(ana: ServedHive) -> None:
    """D-38: limit and next; nothing twice, nothing missed."""
    for number in range(7):
        ana.client.post_keyed("/messages", {"to": "ana", "body": str(number)})
    bodies: list[str] = []
    following: int | None = None
    while True:
        page = ana.client.get("/messages", limit=3, next=following)
        bodies += [message["body"] for message in page["items"]]
        following = page["next"]
        if following is None:
            break
    assert bodies == ["6", "5", "4", "3", "2", "1", "0"]


def test_a_send_with_a_key_has_one_effect(ana: ServedHive) -> None:
    """D-23, rule 24: the same key answers with the first ids."""
    first = ana.client.post_keyed("/messages", {"to": "ana", "body": "once"}, key="k1")
    again = ana.client.post_keyed("/messages", {"to": "ana", "body": "once"}, key="k1")
    assert (again["ids"], again["repeated"]) == (first["ids"], True)
    assert len(ana.client.get("/messages")["items"]) == 1


def test_the_inbox_changes_only_when_told(ana: ServedHive) -> None:
    """D-39."""
    number = ana.agent_says("ana", "done")
    assert ana.client.get("/inbox/unread")["items"][0]["id"] == number
    assert ana.client.get("/inbox")["items"][0]["state"] == "waiting"
    assert ana.client.post("/inbox/read", {"ids": [number]}) == {"marked": 1}
    assert ana.client.get("/inbox")["items"][0]["state"] == "handled"
    assert ana.client.get("/inbox/unread")["items"] == []


def test_waiting_for_mail_ends_when_it_comes(ana: ServedHive) -> None:
    """D-39: and what is not an agent's does not count."""
    import threading

    ana.write(ana.services.mail.notice, "operator", "the hive says something")
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(ana.client.get("/inbox/unread", wait=20)["items"]))
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    ana.agent_says("ana", "here I am")
    thread.join(10)
    assert [message["body"] for message in found[0]] == ["here I am"]  # type: ignore[attr-defined]
    assert ana.client.post("/inbox/read", {"ids": None}) == {"marked": 2}
    assert ana.client.get("/inbox/unread", wait=0.1)["items"] == []


def test_an_error_is_a_problem_document_with_a_remedy(operator: Browser) -> None:
    """RFC 9457: type, title, status, detail; ours: code, remedy, request_id."""
    answer = operator.ask("GET", "/api/v1/agents/zed")
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["code"] == "no_such_agent"
    assert answer.json["type"] == "urn:melipona:problem:no_such_agent"
    assert {"title", "detail", "remedy", "status"} <= answer.json.keys()
    assert answer.json["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.Invalid, 422),
        (errors.NotFound, 404),
        (errors.Refused, 403),
        (errors.Conflict, 409),
        (errors.IllegalTransition, 409),
        (errors.LimitReached, 429),
        (errors.StoreFull, 507),
        (errors.OutcomeUnknown, 503),
        (errors.StoreUnusable, 503),
        (errors.UpstreamError, 502),
        (errors.BoxLost, 500),
        (errors.Bug, 500),
    ],
)
def test_every_family_of_errors_has_a_status(kind: type[errors.MeliponaError], status: int) -> None:
    """The caller can tell its own mistakes from the world's and from ours."""
    assert status_of(kind("x")) == status


def test_unknown_fields_and_empty_scopes_are_errors(ana: ServedHive) -> None:
    """LE-14: nothing means everything by default; a misspelt field is told, not dropped."""
    for path, body in (
        ("/agents", {"name": "ben", "engin": "playbook"}),
        ("/messages", {"to": "ana", "body": "x", "wakes": True}),
        ("/messages", {"to": "", "body": "x"}),
        ("/agents", {}),
    ):
        with pytest.raises(Problem) as caught:
            ana.client.post(path, body)
        assert caught.value.status in (404, 422)
    with pytest.raises(Problem):
        ana.client.patch("/agents/ana", {})
    assert [agent["name"] for agent in ana.client.get("/agents")["items"]] == ["ana"]


def test_a_playbook_is_checked_when_the_agent_is_made(ana: ServedHive) -> None:
    """D-27: and the agent is not made when it is wrong."""
    with pytest.raises(Problem) as caught:
        ana.client.post("/agents", {"name": "ben", "engine": "playbook", "playbook": "[[rule]]\nsteps = 3"})
    assert caught.value.status == 422
    with pytest.raises(Problem):
        ana.client.get("/agents/ben")


def test_numbers_for_machines(ana: ServedHive, operator: Browser) -> None:
    """`/metrics`: counts by state, the loop's lag, turns without a cause are zero; `/healthz`, `/readyz`."""
    ana.client.post_keyed("/messages", {"to": "ana", "body": "x"})
    text = operator.ask("GET", "/metrics").body.decode()
    numbers = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(numbers["melipona_turns_without_cause"]) == 0
    assert float(numbers['melipona_messages{state="waiting"}']) == 1
    assert float(numbers['melipona_agents{state="queued"}']) == 1
    assert {"melipona_loop_lag_seconds", "melipona_events_last", "melipona_spent_usd_today"} <= numbers.keys()
    assert operator.ask("GET", "/healthz").json == {"status": "ok"}
    assert operator.ask("GET", "/readyz").json == {"status": "ready"}


def test_verbs_answer_with_the_agent(ana: ServedHive) -> None:
    """LC-1: pause, resume, stop; a verb on nobody is not found."""
    assert ana.client.post("/agents/ana/pause")["state"] == "paused"
    assert ana.client.post("/agents/ana/resume")["state"] in ("idle", "queued")
    assert ana.client.post("/agents/ana/stop")["state"] == "changing"
    with pytest.raises(Problem, match="zed"):
        ana.client.post("/agents/zed/stop")
    ana.open_turn("ana")
    ana.client.post("/agents/ana/interrupt")
    assert ana.turns.interrupted == [("operator", "ana")]


def test_a_long_body_is_read_whole(ana: ServedHive) -> None:
    """OP-1: the list shows the first lines, the body's own route all of it."""
    body = "line\n" * 2000
    number = ana.agent_says("ana", body)
    message = ana.client.get(f"/messages/{number}")
    assert len(message["body"]) < len(body)
    assert message["body_bytes"] == len(body)
    assert ana.client.get(f"/messages/{number}/body")["body"] == body
