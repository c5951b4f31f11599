"""All pairs of a fault point and a story that passes it, each with a crash there: run, started again, judged.

    python -m melipona.testing.crash_pairs                      # every pair, on all cores
    python -m melipona.testing.crash_pairs --story turn         # of one story
    python -m melipona.testing.crash_pairs --replay turn=crash:mail.send.after_commit:1
    python -m melipona.testing.crash_pairs --seed 7 --share 0.2 # each point once, and a fifth of the other pairs
    python -m melipona.testing.crash_pairs --others 300         # and other faults at them for five minutes
    python -m bench.faults pairs --full --folder DIR --keep     # every pair, goes on where it was cut, keeps the result

A story is told once without a fault, and the points it passes are recorded. Then it is told once for each of them: the
process crashes there (`os._exit`), is started again, the story goes on to its end, and what is left is judged by
`invariants`, `turn_logs`, `leftovers` and the story itself. A pair that fails prints the command that replays it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from melipona.testing.crash_rig import Rig, StoryFailed
from melipona.testing.crash_stories import STORIES, Story, merged, model_api
from melipona.testing.fault_plugin import Wish, kinds_at

STORY_SECONDS = 60
"""No story takes longer, whatever dies in it."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A story and what goes wrong in it; without a wish it is told as it is."""

    story: str
    wish: Wish | None = None

    def __str__(self) -> str:
        return self.story if self.wish is None else f"{self.story}={self.wish}"

    @classmethod
    def parse(cls, text: str) -> Pair:
        """What `str` made."""
        story, _, wish = text.partition("=")
        return cls(story, Wish.parse(wish) if wish else None)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a pair. `passed`: how often which point was, of a story told without a fault; `promised`: what
    the operator was told was done."""

    pair: str
    seconds: float
    deaths: int
    findings: list[str]
    passed: dict[str, int]
    promised: int = 0

    def as_json(self) -> str:
        return json.dumps({name: getattr(self, name) for name in self.__slots__})


class Teller:
    """Tells stories in one process. `room` is its folder, with a made hive to begin with."""

    def __init__(self, room: Path, env: dict[str, str]) -> None:
        self.room, self.env = room, env
        self.template = room / "template"
        if not self.template.exists():
            rig = Rig(room / "first")
            rig.begin()
            rig.down()
            shutil.rmtree(rig.data / "run")
            shutil.move(rig.data, self.template)
            shutil.rmtree(rig.folder)
        self._told = 0

    def tell(self, pair: Pair) -> Result:
        """Tell a story, with its fault."""
        story = STORIES[pair.story]
        self._told += 1
        folder = self.room / f"{os.getpid()}-{self._told}"
        began = time.monotonic()
        rig = self._rig(story, folder, pair)
        findings: list[str] = []
        signal.signal(signal.SIGALRM, _too_long)
        signal.alarm(STORY_SECONDS)
        try:
            story.tell(rig)
            findings = [str(finding) for finding in rig.verdict()]
            if pair.wish is not None and pair.wish.kind == "crash" and not rig.deaths:
                findings.append("the point was not passed")
        except Exception as error:
            findings = [*map(str, rig.findings), f"{type(error).__name__}: {error}", traceback.format_exc()]
        finally:
            signal.alarm(0)
            rig.close()
            passed = rig.passed()
            if findings:
                findings.append(rig.log[-3000:])
            self._clear(rig)
        promised = sum(promise.outcome == "ok" for promise in rig.promises)
        return Result(str(pair), time.monotonic() - began, rig.deaths, findings, passed, promised)

    def _rig(self, story: Story, folder: Path, pair: Pair) -> Rig:
        rig = Rig(
            folder,
            None if story.fresh else self.template,
            merged(story.config),
            self.env if story.model else {},
            record=pair.wish is None,
        )
        rig.wishes = () if pair.wish is None else (pair.wish,)
        if not story.fresh:
            rig.renew()
        return rig

    def _clear(self, rig: Rig) -> None:
        rig.end_boxes()
        shutil.rmtree(rig.folder, ignore_errors=True)


def _too_long(number: int, frame: object) -> None:
    raise StoryFailed(f"the story was not over after {STORY_SECONDS} s")


def pairs_of(told: Sequence[Result], *, most: int) -> list[Pair]:
    """A pair for each point that a story passes: at its first passing and, up to `most` times, at later ones."""
    found: list[Pair] = []
    for result in told:
        for point, times in sorted(result.passed.items()):
            found += [Pair(result.pair, Wish(point, nth)) for nth in range(1, min(times, most) + 1)]
    return found


def other_faults(told: Sequence[Result], seed: int) -> list[Pair]:
    """Everything else that can go wrong at the points that stories pass, in the seed's order, each kind in turn."""
    chance = random.Random(seed)
    by_kind: dict[str, list[Pair]] = {}
    for result in told:
        for point in sorted(result.passed):
            for kind in kinds_at(point):
                by_kind.setdefault(kind, []).append(Pair(result.pair, Wish(point, kind=kind)))
    for pairs in by_kind.values():
        chance.shuffle(pairs)
    longest = max(map(len, by_kind.values()), default=0)
    return [pairs[n] for n in range(longest) for pairs in by_kind.values() if n < len(pairs)]


def chosen(told: Sequence[Result], share: float, seed: int, *, most: int = 1) -> tuple[list[Pair], list[Pair]]:
    """Each point once, with the quickest story that passes it; and a share of the other pairs, in the seed's order."""
    quickest = {result.pair: result.seconds for result in told}
    kept: dict[str, Pair] = {}
    others: list[Pair] = []
    for pair in sorted(pairs_of(told, most=most), key=lambda pair: (quickest[pair.story], str(pair))):
        assert pair.wish is not None
        if kept.setdefault(pair.wish.point, pair) is not pair:
            others.append(pair)
    random.Random(seed).shuffle(others)
    return list(kept.values()), others[: round(len(others) * share)]


def run(
    pairs: Sequence[Pair],
    room: Path,
    jobs: int,
    report: Path | None = None,
    *,
    more: Sequence[Pair] = (),
    until: float | None = None,
) -> list[Result]:
    """Run pairs in `jobs` processes, each a copy of this program that tells those it reads.

    Of `more` those are run that are begun before the moment `until` of the monotonic clock. Each result is appended to
    `report` as it comes.
    """
    waiting = _Waiting([*pairs, *more], len(pairs), until)
    results: list[Result] = []
    if not waiting.pairs:
        return results
    with model_api(room) as env:
        argv = [sys.executable, "-m", "melipona.testing.crash_pairs", "--tell", str(room)]
        workers = [
            subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **_aside(env)}
            )
            for _ in range(min(jobs, len(waiting.pairs)))
        ]
        try:
            results = _dealt(workers, waiting, report)
        finally:
            for worker in workers:
                assert worker.stdin is not None
                worker.stdin.close()
                worker.wait(30)
    return results


def _dealt(workers: Sequence[subprocess.Popen[str]], waiting: _Waiting, report: Path | None) -> list[Result]:
    """Hand each worker its next pair as it ends one."""
    results: list[Result] = []
    with selectors.DefaultSelector() as selector:
        telling: dict[int, Pair] = {}
        for worker in workers:
            assert worker.stdout is not None
            selector.register(worker.stdout, selectors.EVENT_READ, worker)
            _hand(worker, waiting, telling)
        while telling:
            for key, _ in selector.select():
                pair, line = telling.pop(key.data.pid), key.data.stdout.readline()
                results.append(Result(**json.loads(line)) if line else Result(str(pair), 0, 0, ["its teller died"], {}))
                if report is not None:
                    with report.open("a") as file:
                        file.write(results[-1].as_json() + "\n")
                if not line or not _hand(key.data, waiting, telling):
                    selector.unregister(key.fileobj)
    return results


@dataclass(slots=True)
class _Waiting:
    """Pairs that are not begun yet; the first `must` are told whatever the time."""

    pairs: list[Pair]
    must: int
    until: float | None
    begun: int = 0

    def next(self) -> Pair | None:
        late = self.begun >= self.must and self.until is not None and time.monotonic() > self.until
        if late or self.begun == len(self.pairs):
            return None
        self.begun += 1
        return self.pairs[self.begun - 1]


def _hand(worker: subprocess.Popen[str], waiting: _Waiting, telling: dict[int, Pair]) -> bool:
    pair = waiting.next()
    if pair is None:
        return False
    assert worker.stdin is not None
    telling[worker.pid] = pair
    worker.stdin.write(f"{pair}\n")
    worker.stdin.flush()
    return True


def _aside(env: dict[str, str]) -> dict[str, str]:
    """The stub's address for the tellers: a daemon gets it only in a story that needs a model."""
    return {"CRASH_PAIRS_MODEL": json.dumps(env)}


def _tell(room: Path) -> int:
    """A worker: tell each pair that is read, write its result."""
    out = os.fdopen(os.dup(1), "w")
    own = Path(tempfile.mkdtemp(dir=room))
    teller = Teller(own, json.loads(os.environ.pop("CRASH_PAIRS_MODEL")))
    for line in sys.stdin:
        out.write(teller.tell(Pair.parse(line.strip())).as_json() + "\n")
        out.flush()
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run pairs and print what failed; 1 when something did."""
    parser = argparse.ArgumentParser(prog="python -m melipona.testing.crash_pairs", description=__doc__)
    parser.add_argument("--story", action="append", choices=sorted(STORIES), help="only this one; may be repeated")
    parser.add_argument("--replay", action="append", metavar="PAIR", help="only this pair, as a failure printed it")
    parser.add_argument("--seed", type=int, default=None, help="of the sample, and of the order")
    parser.add_argument("--share", type=float, default=1.0, help="of the pairs beyond one for each point")
    parser.add_argument("--seconds", type=float, help="begin no pair beyond one for each point after this time")
    parser.add_argument("--others", type=float, default=0, help="seconds for other faults than crashes")
    parser.add_argument("--also", action="append", default=[], metavar="PAIR", help="a pair that is told in any case")
    parser.add_argument("--passings", type=int, default=1, help="passings of a point that are crashed at most")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--report", type=Path, help="where all results go, as JSON lines")
    parser.add_argument("--tell", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.tell is not None:
        return _tell(options.tell)
    with tempfile.TemporaryDirectory(prefix="crash-pairs-") as place:
        return _campaign(options, Path(place))


def _campaign(options: argparse.Namespace, room: Path) -> int:
    began = time.monotonic()
    if options.replay:
        results = run([Pair.parse(text) for text in options.replay], room, options.jobs, options.report)
    else:
        seed = random.randrange(1 << 32) if options.seed is None else options.seed
        told = run([Pair(name) for name in options.story or STORIES], room, options.jobs, options.report)
        must, more = chosen(told, options.share, seed, most=options.passings)
        print(f"seed {seed}: {len(must)} points, {len(more)} further pairs", flush=True)
        until = None if options.seconds is None else began + options.seconds
        also = [Pair.parse(text) for text in options.also]
        results = [*told, *run([*also, *must], room, options.jobs, options.report, more=more, until=until)]
        others, until = other_faults(told, seed) if options.others else [], time.monotonic() + options.others
        results += run([], room, options.jobs, options.report, more=others, until=until)
    failed = [result for result in results if result.findings]
    for result in failed:
        print(f"\n{result.pair} FAILED ({result.seconds:.1f} s)", *result.findings, sep="\n  ")
        print(f"  replay: python -m melipona.testing.crash_pairs --replay {result.pair}")
    print(f"{len(results)} told, {len(failed)} failed, {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
