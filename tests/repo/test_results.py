"""docs/results.md says what the documents in bench/results/ say, and nothing else."""

from __future__ import annotations

import tomllib
from pathlib import Path

from bench.faults.campaign import CAMPAIGNS, CampaignResult, campaign, combined
from bench.faults.keeping import keep
from bench.faults.page import PAGE, RESULTS, Documents, page

from .files import ROOT


def test_the_page_of_results_is_what_its_generator_makes_of_the_documents() -> None:
    assert PAGE.read_text() == page(Documents.read()), "run: python -m bench.faults.page"


def test_every_campaign_says_what_it_breaks_and_how_much() -> None:
    for name in CAMPAIGNS:
        found = campaign(name)
        assert (found.__doc__ or "").splitlines()[0].endswith((".", "kills.", "turns."))
        assert 0 < found.QUICK <= found.FULL


def test_what_was_found_names_tests_that_exist() -> None:
    findings = tomllib.loads((RESULTS / "findings.toml").read_text())
    assert [one["test"] for one in findings["mended"] if not (ROOT / one["test"]).exists()] == []


def test_a_broken_invariant_is_shown_and_never_summed_away(tmp_path: Path) -> None:
    good = CampaignResult("kills", 1, 10, 5, {"daemon": 10}, 5, checked=["I-1", "I-2"], recovery=[1.0, 2.0])
    bad = CampaignResult(
        "kills",
        2,
        10,
        5,
        {"box": 10},
        5,
        lost=1,
        checked=["I-1"],
        violations={"I-1": ["m7: it was acknowledged and is not stored"]},
        recovery=[9.0],
    )
    both = combined([good, bad], seed=1, size=20)
    assert (both.ok, both.lost, both.worst_seed, both.acknowledged) == (False, 1, 2, 10)
    keep(both, tmp_path / "faults")
    text = page(Documents.read(tmp_path))
    assert "**I-1 broken**: m7: it was acknowledged and is not stored" in text
    assert "| I-1 | **1 broken** |" in text
    assert "| I-2 | holds |" in text
    assert "| 1 of 10 after 20 kills |" in text
