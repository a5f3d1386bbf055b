"""Makes one self-contained HTML page from the result.json of any runs: warnings, heatmaps of heads with what they
attend to, evidence, lineage, weights, ablations, side effects, benchmarks, provenance.

The page loads nothing and can be sent as it is. What is wrong with a run is named in it; the rest is shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from lens_truth.errors import InputError

_RUNS = Path("runs")


@dataclass(frozen=True)
class Config:
    """Flags of `report`."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Folders of finished runs, or their result.json; by default every folder with one in runs/."""
    out: Path = Path("runs/report.html")
    """The page, a file whose name ends in .html; or a folder for it, in which it is called report.html."""
    max_examples: int | None = None
    """Example rows of attention at most; all by default."""


def run(config: Config) -> None:
    """Reads, draws, writes."""
    from lens_truth.page.write import write_report

    runs = config.runs or tuple(sorted(path.parent for path in _RUNS.glob("*/result.json")))
    if not runs:
        raise InputError(f"no runs were named, and no folder in {_RUNS}/ holds a result.json")
    if not config.runs:
        print(f"runs in {_RUNS}/: {', '.join(path.name for path in runs)}\n")
    out = write_report(runs, out=config.out, max_examples=config.max_examples)
    print(f"written: {out} ({out.stat().st_size / 1e6:.2f} MB); open it in a browser, or send it")
