"""Truth scores against the paper's AdamW and scikit-learn on the same features, or against another build.

    python benchmarks/probe_speed.py [--rows 1000] [--heads 128] [--width 128] [--permutations 1000] [--device cpu]
    python benchmarks/probe_speed.py --rows 2000 --heads 1024 --against FOLDER   # of another build of the package

`truth_scores` counts whole: folds, fits, null, metrics, intervals. Of AdamW (all heads at once, on the same device) and
scikit-learn (on a CPU only) only the fits count. Rounds are interleaved; medians and ratios are printed. Features are
correlated and differ in scale, as those of real heads; a fifth of the heads know the label, to different degrees.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lens_truth
from lens_truth.scoring.activations import HeadActivations
from lens_truth.stats.folds import grouped_folds, paper_folds

HEADS_A_LAYER = 32


def make_problem(n: int, heads: int, width: int, seed: int = 0) -> HeadActivations:
    """Pairs of a right and a wrong answer, in layers of 32 heads."""
    rng = np.random.default_rng(seed)
    labels = np.tile([1, 0], n // 2)
    spectrum = np.arange(1, width + 1) ** -0.7
    x = np.empty((n, heads, width), dtype=np.float32)
    for head in range(heads):
        mixing = rng.normal(size=(width, width)) * spectrum[:, None]
        signal = rng.normal(size=width) * (0.15 * (head % 5 == 0) * rng.random())
        x[:, head] = rng.normal(size=(n, width)) @ mixing + (2 * labels[:, None] - 1) * (signal + 0.02 * mixing[0])
    z = torch.from_numpy(x).view(n, -1, min(heads, HEADS_A_LAYER), width)
    rows = [str(i) for i in range(n)]
    return HeadActivations(z, torch.from_numpy(labels), tuple(f"pair {i // 2}" for i in range(n)), tuple(rows), {})


def timed(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare(problem: HeadActivations, permutations: int, device: str, rounds: int) -> None:
    from lens_truth.scoring.iterative import ITERATIVE, held_out_by

    x, labels = problem.z.flatten(1, 2).to(device), problem.labels.numpy()
    here = HeadActivations(problem.z.to(device), problem.labels, problem.groups, problem.ids, {})
    folds, own = paper_folds(labels, 5), grouped_folds(labels, problem.groups, 5, 0)
    work: dict[str, Callable[[], Any]] = {
        "AdamW, the paper's recipe": lambda: held_out_by(ITERATIVE["adamw"], x, labels, folds).cpu(),
        "ridge": lambda: lens_truth.truth_scores(here, n_permutations=0),
        f"ridge, {permutations:,} permutations": lambda: lens_truth.truth_scores(here, n_permutations=permutations),
    }
    if device == "cpu":
        work["scikit-learn LogisticRegression"] = lambda: held_out_by(ITERATIVE["logistic"], x, labels, own)
    lens_truth.truth_scores(here, n_permutations=1)  # libraries are loaded, the device awake
    seconds = {name: list[float]() for name in work}
    for _ in range(rounds):
        for name, run in work.items():
            seconds[name].append(timed(run))
    medians = {name: float(np.median(its)) for name, its in seconds.items()}
    slowest = medians["AdamW, the paper's recipe"]
    print(f"{'':36}{'seconds':>9}{'of AdamW':>12}")
    for name, its in medians.items():
        print(f"{name:36}{its:9.3f}{'1 / ' + format(slowest / its, '.1f'):>12}")


def against(build: Path, problem: HeadActivations, flags: argparse.Namespace) -> None:
    """Whole `truth_scores` of two builds, turn by turn, each in a process of its own."""
    seconds: dict[str, list[float]] = {"this build": [], str(build): []}
    with tempfile.TemporaryDirectory() as folder:
        problem.save(folder)
        for _ in range(flags.rounds):
            for name, path in (("this build", Path(__file__).parents[1]), (str(build), build)):
                of_it = [sys.executable, __file__, "--turn", folder, "--permutations", str(flags.permutations)]
                of_it += ["--threads", str(flags.threads)]
                run = subprocess.run(
                    of_it, env={**os.environ, "PYTHONPATH": str(path)}, capture_output=True, text=True, check=True
                )
                seconds[name].append(float(run.stdout.split()[-1]))
                print(f"{name:36}{seconds[name][-1]:9.3f}", flush=True)
    this, other = (float(np.median(its)) for its in seconds.values())
    print(f"medians: {this:.3f} s against {other:.3f} s, 1 / {other / this:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--heads", type=int, default=128)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--permutations", type=int, default=1000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path, help="folder of another build, to be timed instead of AdamW")
    parser.add_argument("--turn", type=Path, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    if flags.turn:
        activations = HeadActivations.load(flags.turn)
        warm = HeadActivations(activations.z[:, :1, :1], activations.labels, activations.groups, activations.ids, {})
        lens_truth.truth_scores(warm, n_permutations=1)
        print(timed(lambda: lens_truth.truth_scores(activations, n_permutations=flags.permutations)))
        return
    print(
        f"{flags.rows} rows x {flags.heads} heads x {flags.width}, 5 folds, {flags.device}, {flags.threads} thread(s)"
    )
    problem = make_problem(flags.rows, flags.heads, flags.width)
    if flags.against:
        against(flags.against, problem, flags)
    else:
        compare(problem, flags.permutations, flags.device, flags.rounds)


if __name__ == "__main__":
    main()
