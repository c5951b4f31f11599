"""What the story has shown, counted from the hive's own rows once it is over."""

from __future__ import annotations

from typing import Any

from melipona.demo.hive import asked
from melipona.demo.record import Broken
from melipona.demo.screen import Screen
from melipona.demo.story import AGENTS, CHECKS, Story

Json = dict[str, Any]


def summary(story: Story, *, kept: bool) -> Json:
    """The summary as one object.

    Raises:
        Broken: the numbers are not those of a story that went well.
    """
    client, killed = story.hive.client, story.killed
    assert killed is not None
    state = asked(lambda: client.get("/state"))
    mail = asked(lambda: client.get("/messages", limit=200))["items"]
    turns = asked(lambda: client.get("/turns", limit=200))["items"]
    to_agents = [message for message in mail if message["recipient"] in AGENTS]
    held = next(message for message in mail if message["id"] == killed.message)
    result: Json = {
        "ok": True,
        "seconds": round(story.screen.seconds, 1),
        "data": str(story.hive.data),
        "store": story.hive.store_id,
        "kept": kept,
        "daemon": state["daemon"]["pid"],
        "turns": len(turns),
        "turns_ended_well": sum(turn["result"] == "ok" for turn in turns),
        "turns_without_cause": sum(not turn["cause"].get("messages") for turn in turns),
        "messages": len(mail),
        "messages_to_agents": len(to_agents),
        "messages_handled": sum(message["state"] == "handled" for message in to_agents),
        "messages_to_operator": len(mail) - len(to_agents),
        "most_attempts": max(message["attempts"] for message in to_agents),
        "boxes_started": story.record.count("box.starting"),
        "boxes_crashed": story.record.count("agent.crashed"),
        "cost_usd": state["spent"]["usd"],
        "kill": {
            "turn": killed.turn,
            "agent": killed.agent,
            "message": killed.message,
            "attempts": held["attempts"],
            "maybe_seen": held["maybe_seen"],
            "adopted": story.record.turns[killed.turn].adopted,
            "daemon_before": killed.pid,
            "daemon_after": killed.pid_after,
            "away_seconds": round(killed.away_seconds, 2),
            "checks_before": killed.checks_before,
            "checks_after": killed.checks_after,
            "checks": CHECKS,
        },
        "unseen": [{"what": look.what, "answer": look.answer} for look in story.seen],
        "probe": story.probe,
    }
    _judge(result)
    return result


def _judge(result: Json) -> None:
    """Whether the numbers are as they should be."""
    kill = result["kill"]
    wanted = {
        "turns": (result["turns"], 6),
        "turns that ended well": (result["turns_ended_well"], 6),
        "turns without a cause": (result["turns_without_cause"], 0),
        "messages": (result["messages"], 8),
        "handled messages": (result["messages_handled"], 6),
        "most attempts of a message": (result["most_attempts"], 1),
        "boxes started": (result["boxes_started"], 2),
        "attempts of the message of the killed daemon": (kill["attempts"], 1),
    }
    wrong = [f"{name}: {is_} instead of {should}" for name, (is_, should) in wanted.items() if is_ != should]
    if wrong:
        raise Broken("the numbers are not those of this story: " + "; ".join(wrong))


def show(screen: Screen, result: Json) -> None:
    """The summary for a person."""
    kill = result["kill"]
    screen.plain()
    screen.plain("Summary", "bold")
    screen.facts(
        [
            ("turns", f"{result['turns']}, all ended well, each with the message that woke it"),
            (
                "messages",
                f"{result['messages']} sent: {result['messages_handled']} to agents, all handled in one attempt, "
                f"and {result['messages_to_operator']} to you",
            ),
            ("boxes", f"{result['boxes_started']} started, the same two to the end"),
            ("probe", f"{result['probe']}"),
            (
                "kill -9",
                f"turn t{kill['turn']} of {kill['agent']} went on under the next daemon after "
                f"{kill['away_seconds']:.1f} s; m{kill['message']} was handled in {kill['attempts']} attempt, "
                f"and its {kill['checks']} checks ran once each",
            ),
            ("cost", f"${result['cost_usd']:.2f}: no model was asked"),
            ("time", f"{result['seconds']:.0f} s"),
        ]
    )
    screen.plain()
    screen.plain("Hidden from ben's box: what he looked for, and what came back", "bold")
    screen.facts([(look["what"], look["answer"]) for look in result["unseen"]])
    screen.plain()
