"""Runs a fuzz target for a time, coverage-guided by atheris, and prints each finding as a command that plays it again.

Where atheris has no wheel (it has none for ARM), the same targets run on plain mutations of the same seeds.
"""

from __future__ import annotations

import argparse
import base64
import importlib
import importlib.util
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

TARGETS = ("frames", "bodies")
LENGTH_MOST = 4096
CPU_SECONDS = 1.0
"""Of one input: whatever a box sends is judged within a second (T8)."""
HANG_SECONDS = 20

Target = Callable[[bytes], None]


def main(argv: Sequence[str] | None = None) -> int:
    """0: nothing was found; 1: something was; 2: usage."""
    parser = argparse.ArgumentParser(prog="python -m tests.security.fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60, help="how long (60)")
    parser.add_argument("--seed", type=int, default=0, help="0 makes one, which is printed")
    parser.add_argument("--replay", metavar="BASE64", help="play one input again")
    parser.add_argument("--guided", type=Path, help=argparse.SUPPRESS)  # the child's corpus folder
    options = parser.parse_args(argv)
    if options.replay is not None:
        _timed(_load(options.target)[0])(base64.b64decode(options.replay))
        print(f"{options.target}: this input is judged as it should be")
        return 0
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 31)
    if options.guided is not None:
        return _guided(options.target, options.seconds, seed, options.guided)
    return _parent(options.target, options.seconds, seed)


def _load(name: str) -> tuple[Target, Callable[[], list[bytes]]]:
    module = importlib.import_module(f"{__package__}.{name}")
    return module.target, module.seeds


def _timed(target: Target) -> Target:
    def run(data: bytes) -> None:
        began = time.process_time()
        target(data)
        took = time.process_time() - began
        assert took < CPU_SECONDS, f"it took {took:.2f} s of processor time"

    return run


def _parent(name: str, seconds: int, seed: int) -> int:
    """Run the target in a process of its own, so that a crash or hang of it can be told."""
    guided = importlib.util.find_spec("atheris") is not None
    how = "guided by coverage" if guided else "without coverage: atheris has no wheel for this machine"
    print(f"{name}: {seconds} s, seed {seed}, {how}", flush=True)
    if not guided:
        return _plain(name, seconds, seed)
    with tempfile.TemporaryDirectory(prefix="mel-fuzz-") as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number, data in enumerate(_load(name)[1]()):
            (corpus / f"{number:03}").write_bytes(data)
        argv = [sys.executable, "-m", str(__package__), name, "--seconds", str(seconds), "--seed", str(seed)]
        done = subprocess.run(
            [*argv, "--guided", folder],
            timeout=seconds + 120,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        said = done.stdout.decode(errors="replace").splitlines()
        found = [path for path in Path(folder).iterdir() if path.is_file()]
        for path in found:
            _tell(name, path.name.split("-")[0], path.read_bytes())
        if found or done.returncode:
            print("\n".join(said[-60:]))
            return 1
        print(f"{name}: {next((line for line in said if line.startswith('Done ')), 'done')}; nothing found")
        return 0


def _guided(name: str, seconds: int, seed: int, folder: Path) -> int:
    import atheris  # its types name none of its functions

    library: Any = atheris
    with library.instrument_imports(include=["melipona.boxes", "melipona.gate", "melipona.json_marks", __package__]):
        target, _ = _load(name)
    options = [f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={LENGTH_MOST}", f"-timeout={HANG_SECONDS}"]
    options += [f"-artifact_prefix={folder}/", "-print_final_stats=1", "-rss_limit_mb=2048", str(folder / "corpus")]
    library.Setup([sys.argv[0], *options], _timed(target))
    library.Fuzz()
    return 0


def _plain(name: str, seconds: int, seed: int) -> int:
    target, seeds = _load(name)
    run, chance, corpus = _timed(target), random.Random(seed), seeds()
    end, runs = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = bytearray(chance.choice(corpus))
        for _ in range(chance.randrange(1, 8)):
            at = chance.randrange(len(data) + 1)
            data[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(4))
        try:
            run(bytes(data[:LENGTH_MOST]))
        except Exception:
            _tell(name, "crash", bytes(data[:LENGTH_MOST]))
            raise
        runs += 1
    print(f"{name}: {runs} runs; nothing found")
    return 0


def _tell(name: str, what: str, data: bytes) -> None:
    print(f"{name}: {what.upper()}: play it again with")
    print(f"  python -m {__package__} {name} --replay {base64.b64encode(data).decode()}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
