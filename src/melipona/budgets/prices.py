"""What model calls cost: a dated data file of list prices. Only this module knows what a token costs.

A model that the list does not have costs as the dearest row, and the price says so (`known` is False).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from melipona.budgets.model import Usage
from melipona.errors import Invalid

_DATED = re.compile(r"(.+?)-(?:20\d{6}|latest)")
_NAMES = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")


@dataclass(frozen=True, slots=True)
class Rates:
    """USD for a million tokens (which is micro-USD for one token)."""

    input: float
    output: float
    cache_write_5m: float
    cache_write_1h: float
    cache_read: float

    def cost(self, usage: Usage) -> float:
        """Micro-USD for `usage`."""
        return (
            usage.input * self.input
            + usage.output * self.output
            + usage.cache_read * self.cache_read
            + usage.cache_write_5m * self.cache_write_5m
            + usage.cache_write_1h * self.cache_write_1h
        )


@dataclass(frozen=True, slots=True)
class Price:
    """What one model costs; dearer rates may hold for long prompts. `known` is False for a stand-in."""

    rates: Rates
    long_prompt: Rates | None = None
    long_prompt_above: int = 0
    known: bool = True

    def _for(self, prompt: int) -> Rates:
        return self.long_prompt if self.long_prompt is not None and prompt > self.long_prompt_above else self.rates

    def cost(self, usage: Usage) -> int:
        """Micro-USD for `usage`, rounded up."""
        return _up(self._for(usage.prompt).cost(usage))

    def most(self, prompt: int, output: int) -> int:
        """The most that a call with so many tokens can cost in micro-USD, all of the prompt written to a cache."""
        rates = self._for(prompt)
        return _up(prompt * max(rates.input, rates.cache_write_5m, rates.cache_write_1h) + output * rates.output)


class Prices:
    """A price list. `dated` says when it was right."""

    def __init__(self, dated: str, models: Mapping[str, Price]) -> None:
        if not models:
            raise Invalid("a price list needs at least one model", remedy="see models.anthropic.prices_file")
        self.dated = dated
        self._models = dict(models)
        dearest = max(models.values(), key=lambda price: price.most(1_000_000, 1_000_000))
        self._dearest = Price(dearest.rates, dearest.long_prompt, dearest.long_prompt_above, known=False)

    def of(self, model: str) -> Price:
        """The price of `model`, also of a dated snapshot of it (`claude-opus-4-5-20251101`)."""
        exact = self._models.get(model)
        if exact is not None:
            return exact
        dated = _DATED.fullmatch(model)
        return (self._models.get(dated[1]) if dated else None) or self._dearest


def load_prices(file: str = "") -> Prices:
    """The built-in list, or the one in `file`.

    Raises:
        Invalid: the file cannot be read or is not a price list.
    """
    try:
        if file:
            text = Path(file).read_text(encoding="utf-8")
        else:
            text = resources.files("melipona.budgets").joinpath("prices.toml").read_text(encoding="utf-8")
        data = tomllib.loads(text)
        return Prices(str(data["dated"]), {name: _price(row) for name, row in data["models"].items()})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise Invalid(
            f"the price list {file or 'prices.toml'} cannot be used: {error!r}",
            remedy="write it like the built-in melipona/budgets/prices.toml",
            code="bad_prices",
        ) from error


def _price(row: Mapping[str, Any]) -> Price:
    long: Mapping[str, Any] | None = row.get("long_prompt")
    if long is None:
        return Price(_rates(row))
    return Price(_rates(row), _rates(long), int(long["above"]))


def _rates(row: Mapping[str, Any]) -> Rates:
    values = [float(row[name]) for name in _NAMES]
    if any(value < 0 for value in values):
        raise ValueError("a price is negative")
    return Rates(*values)


def _up(micro_usd: float) -> int:
    return int(-(-micro_usd // 1))
