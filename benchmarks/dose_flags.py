"""How often a point of a dose curve is called odd (`lens_truth/stats/dose_flags.py`) that is none, and how often one is
found that is: `python benchmarks/dose_flags.py [--curves 1000]`. With LENS_TRUTH_DATA set also on the published control
curves, their doses shuffled."""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from lens_truth.stats.dose_flags import odd_points

ALPHAS = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
FEW = [0.0, 1.0, 1.5, 3.0]
FORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "no effect": lambda a: 0 * a,
    "weak line": lambda a: 0.1 * a,
    "line": lambda a: 0.5 * a,
    "steep line": lambda a: 1.5 * a,
    "saturates": lambda a: 1.5 * np.tanh(2 * a),
    "threshold": lambda a: 2.0 / (1 + np.exp(-8 * (a - 1.5))),
    "peak at 1, round": lambda a: -0.5 * (a - 1) ** 2,
    "peak at 1, pointed": lambda a: -0.8 * np.abs(a - 1),
    "peak at 1, narrow": lambda a: 0.6 * np.exp(-((a - 1) ** 2) / 0.18),
    "peak at .75, narrow": lambda a: 0.6 * np.exp(-((a - 0.75) ** 2) / 0.18),
}
"""What the dose does to an item's latent score, whose spread over items is 1."""
NOISES = {"greedy": 0.05, "some noise": 0.3, "sampled": 1.0}
"""Spread of what comes and goes with each answer."""


def curves(
    form: str, noise: float, n_items: int, alphas: list[float], n: int, rng: np.random.Generator, foreign: float = 0.0
) -> Iterator[np.ndarray]:
    """Outcomes 0 or 1; `foreign`: the spread by which items differ at alpha = 1, computed another way (and are lower
    by half of it)."""
    for _ in range(n):
        skill = rng.normal(size=n_items)
        each = rng.uniform(0, 2, size=n_items)  # items feel the dose unequally
        latent = skill + each * FORMS[form](np.array(alphas))[:, None]
        latent = latent + noise * rng.normal(size=latent.shape)
        if foreign:
            latent[alphas.index(1.0)] += foreign * (rng.normal(size=n_items) - 0.5)
        yield (latent > 0).astype(float)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--curves", type=int, default=1000)
    n = parser.parse_args().curves
    rng = np.random.default_rng(0)
    print("share of curves with a point called odd; items 300 / 1000, doses 7 / 4")
    for form in FORMS:
        for name, noise in NOISES.items():
            shares = [
                np.mean([bool(odd_points(y, alphas)) for y in curves(form, noise, n_items, alphas, n, rng)])
                for n_items in (300, 1000)
                for alphas in (ALPHAS, FEW)
            ]
            print(f"{form:<20}{name:<12}", *(f"{its:.4f}" for its in shares))
    print("share of curves whose alpha = 1, computed another way, is found")
    for foreign in (0.5, 1.0):
        for form in ("no effect", "weak line", "line", "saturates"):
            for name, noise in NOISES.items():
                shares = [
                    np.mean(
                        [
                            [point.alpha for point in odd_points(y, alphas)] == [1.0]
                            for y in curves(form, noise, n_items, alphas, max(n // 10, 20), rng, foreign)
                        ]
                    )
                    for n_items in (300, 1000)
                    for alphas in (ALPHAS, FEW)
                ]
                print(f"moved by {foreign:<6}{form:<14}{name:<12}", *(f"{its:.2f}" for its in shares))
    if data := os.environ.get("LENS_TRUTH_DATA"):
        published(Path(data) / "faitheval_hneurons/compliance.csv", n, rng)


def published(path: Path, n: int, rng: np.random.Generator) -> None:
    """Control curves that do nothing: their doses are exchangeable."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    names = dict.fromkeys(name.split("@")[0] for name in rows[0] if name.startswith("seed"))
    alarms = 0
    for _ in range(n):
        name = rng.choice(list(names))
        shuffled = rng.permutation(ALPHAS)
        alarms += bool(odd_points(np.array([[float(row[f"{name}@{a}"]) for row in rows] for a in shuffled]), ALPHAS))
    print(f"published random sets, doses shuffled: {alarms} of {n} curves")


if __name__ == "__main__":
    main()
