"""The price list: dated, overridable, and dear for what it does not know (D-30)."""

from __future__ import annotations

from pathlib import Path

import pytest

from melipona.budgets.model import Usage
from melipona.budgets.prices import load_prices
from melipona.errors import Invalid

PRICES = load_prices()


def test_a_model_costs_the_same_under_its_dated_names() -> None:
    """D-30: snapshots are the model."""
    for name in ("claude-opus-4-5", "claude-opus-4-5-20251101", "claude-opus-4-5-latest"):
        price = PRICES.of(name)
        assert price.known
        assert price.cost(Usage(1, 1, 2, 4, 1)) == 5 + 25 + 1 + 25 + 10


@pytest.mark.parametrize("name", ["", "gpt-5", "claude-opus-4-5-x", "claude-opus-9", "claude-opus-4-5-20251101-x"])
def test_an_unknown_model_costs_as_the_dearest_and_says_so(name: str) -> None:
    """D-30: nobody saves by a new name."""
    price = PRICES.of(name)
    assert not price.known
    assert price.cost(Usage(output=1_000_000)) == 75_000_000


def test_long_prompts_cost_more_where_the_list_says_so() -> None:
    """D-30: the whole request goes by the dearer rates; a reservation counts with them too."""
    price = PRICES.of("claude-sonnet-4-5")
    assert price.cost(Usage(input=200_000)) == 600_000
    assert price.cost(Usage(input=100_000, cache_read=100_001)) == 600_000 + 60_001
    assert price.most(300_000, 0) == 300_000 * 12


def test_costs_are_rounded_up_and_never_free() -> None:
    """T33: many small calls cost something."""
    assert PRICES.of("claude-haiku-5-5").cost(Usage(cache_read=1)) == 1


def test_another_list_can_be_named(tmp_path: Path) -> None:
    """D-30: overridable; a broken one is a mistake of the settings, not a crash."""
    file = tmp_path / "prices.toml"
    file.write_text(
        'dated = "2027-01-01"\n[models]\nm = {input=1,output=2,cache_write_5m=3,cache_write_1h=4,cache_read=5}\n'
    )
    assert load_prices(str(file)).of("m").cost(Usage(1, 1, 1, 1, 1)) == 15
    for text in ("", "dated = 1", 'dated = "x"\n[models]\n', 'dated = "x"\n[models]\nm = {input=-1}\n', "["):
        file.write_text(text)
        with pytest.raises(Invalid):
            load_prices(str(file))
    with pytest.raises(Invalid):
        load_prices(str(tmp_path / "none.toml"))


def test_the_list_is_dated() -> None:
    """D-30."""
    assert PRICES.dated >= "2026-11-21"
