"""The table at the end of a run."""

from __future__ import annotations

from collections.abc import Sequence

from bench.figures import Outcome, Spread, number

HEAD = ("benchmark", "figure", "unit", "ours", "floor", "ratio", "goal", "")


def table(outcomes: Sequence[Outcome]) -> str:
    """Every figure in a line: medians with the ends of their rounds, the ratio to the floor, the goal, the verdict."""
    rows = [HEAD, *(_row(one) for one in outcomes)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "-" * max(map(len, lines)))
    for one in outcomes:
        lines += [
            f"  peer {peer.name}: {one.benchmark}.{one.figure.name} {_spread(peer.value)} {one.figure.unit}"
            + ("" if peer.ratio is None else f", ours is {_spread(peer.ratio)} of it")
            for peer in one.peers
        ]
    return "\n".join(lines)


def _row(one: Outcome) -> tuple[str, ...]:
    return (
        one.benchmark,
        one.figure.name,
        one.figure.unit,
        _spread(one.ours),
        "" if one.floor is None else f"{_spread(one.floor)} {one.figure.floor}",
        "" if one.ratio is None else f"x {_spread(one.ratio)}",
        "" if one.goal is None else one.goal.text(one.figure.unit),
        verdict(one),
    )


def verdict(one: Outcome) -> str:
    """One word for the goal, and whether the floor was too noisy to tell."""
    word = {None: "", True: "met", False: "FAILS" if one.fails else "missed"}[one.met]
    return f"{word} (noisy)".strip() if one.noisy else word


def _spread(spread: Spread) -> str:
    if spread.min == spread.max:
        return number(spread.median)
    return f"{number(spread.median)} [{number(spread.min)}-{number(spread.max)}]"
