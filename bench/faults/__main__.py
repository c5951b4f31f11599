"""`python -m bench.faults NAME [--seed N] [--size M]`: run campaigns of faults, replay them, keep what they found."""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Any

import click

from bench.faults.campaign import CAMPAIGNS, CampaignResult, campaign
from bench.faults.keeping import keep


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(CAMPAIGNS))
@click.option("--all", "everything", is_flag=True, help="Every campaign.")
@click.option("--seed", type=int, help="Repeats a run; drawn and printed when left out.")
@click.option("--size", type=int, help="How much is broken, in the campaign's own unit.")
@click.option("--full", is_flag=True, help="The size by hand instead of CI's.")
@click.option("--seconds", type=float, help="Begin no further part after this time, where a campaign has parts.")
@click.option("--folder", type=click.Path(path_type=Path), help="Work here and leave it; a run that was cut goes on.")
@click.option("--keep", "kept", is_flag=True, help="Keep the result in bench/results/faults/, for the page of results.")
@click.option("--list", "listing", is_flag=True, help="Tell what there is.")
def main(
    names: tuple[str, ...],
    everything: bool,
    seed: int | None,
    size: int | None,
    full: bool,
    seconds: float | None,
    folder: Path | None,
    kept: bool,
    listing: bool,
) -> None:
    """Break Melipona on purpose and check what it promised. Exits with 1 when something is broken."""
    chosen = CAMPAIGNS if everything else names
    if listing or not chosen:
        for name in CAMPAIGNS:
            found = campaign(name)
            click.echo(f"{name:10} {(found.__doc__ or '').splitlines()[0]} (CI {found.QUICK}, by hand {found.FULL})")
        return
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    results = [_run(name, seed, size, full, seconds, folder) for name in chosen]
    for result in results:
        click.echo(json.dumps(result.as_json(), indent=2))
        if kept:
            click.echo(f"kept in {keep(result)}")
    if not all(result.ok for result in results):
        raise SystemExit(1)


def _run(
    name: str, seed: int, size: int | None, full: bool, seconds: float | None, folder: Path | None
) -> CampaignResult:
    found: Any = campaign(name)
    size = size if size is not None else found.FULL if full else found.QUICK
    more = {} if seconds is None else {"seconds": seconds}
    click.echo(f"python -m bench.faults {name} --seed {seed} --size {size}", err=True)
    if folder is not None:
        work = folder / name
        work.mkdir(parents=True, exist_ok=True)
        return found.run(seed, size, work, **more)
    work = Path(tempfile.mkdtemp(prefix=f"mel-{name}-"))
    result = found.run(seed, size, work, **more)
    if result.ok:
        shutil.rmtree(work)
    else:
        click.echo(f"what it left is in {work}", err=True)
    return result


if __name__ == "__main__":
    main()
