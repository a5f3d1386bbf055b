"""Truth scores of 128 heads on 1,000 examples: ridge against the paper's AdamW and scikit-learn, side by side.

    python benchmarks/probe_speed.py [--heads 128] [--examples 1000] [--width 128] [--threads 1]

The floor of ridge is one Gram matrix a head (N D^2 multiply-adds) and one Cholesky factor a head and fold (D^3 / 3).
Features are correlated and differ in scale, as those of real heads; a fifth of the heads know the label, to different
degrees. All estimators see the same features and labels; ridge and scikit-learn share their folds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from lens_truth.scoring.closed_form import fit_closed_form
from lens_truth.scoring.probing import adamw_decisions, fold_metrics, logistic_decisions
from lens_truth.stats.folds import grouped_folds, paper_folds, permuted_labels


def make_problem(n: int, heads: int, width: int, seed: int = 0) -> tuple[torch.Tensor, np.ndarray, list[str]]:
    """Features [n, heads, width], labels, groups (pairs)."""
    rng = np.random.default_rng(seed)
    labels = np.tile([1, 0], n // 2)
    spectrum = np.arange(1, width + 1) ** -0.7
    x = np.empty((n, heads, width), dtype=np.float32)
    for head in range(heads):
        mixing = rng.normal(size=(width, width)) * spectrum[:, None]
        signal = rng.normal(size=width) * (0.15 * (head % 5 == 0) * rng.random())
        x[:, head] = rng.normal(size=(n, width)) @ mixing + (2 * labels[:, None] - 1) * (signal + 0.02 * mixing[0])
    return torch.from_numpy(x), labels, [f"pair {i // 2}" for i in range(n)]


def timed(run: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--heads", type=int, default=128)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=15, help="of ridge, of which the median counts")
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)

    x, labels, groups = make_problem(flags.examples, flags.heads, flags.width)
    fold = grouped_folds(labels, groups, 5, seed=0)
    draws = permuted_labels(labels, groups, 1000, seed=0, fold=fold)

    ridge_runs = [timed(lambda: fit_closed_form(x, labels, fold, draws[:0], "ridge")[0]) for _ in range(flags.repeats)]
    ridge_seconds = float(np.median([seconds for seconds, _ in ridge_runs]))
    null_seconds, _ = timed(lambda: fit_closed_form(x, labels, fold, draws, "ridge"))
    logistic_seconds, logistic = timed(lambda: logistic_decisions(x, labels, fold))
    adamw_fold = paper_folds(labels, 5)
    adamw_seconds, adamw = timed(lambda: adamw_decisions(x, labels, adamw_fold))

    def accuracy(decisions: object, its_fold: np.ndarray) -> float:
        return float(fold_metrics(np.asarray(decisions), labels, its_fold)["accuracy"].mean())

    print(f"{flags.examples} examples x {flags.heads} heads x {flags.width} dims, 5 folds, {flags.threads} thread(s)")
    print(f"{'':34}{'seconds':>9}{'times ridge':>13}{'mean accuracy':>15}")
    for name, seconds, acc in (
        ("ridge", ridge_seconds, accuracy(ridge_runs[0][1], fold)),
        ("scikit-learn LogisticRegression", logistic_seconds, accuracy(logistic, fold)),
        ("AdamW, the paper's recipe", adamw_seconds, accuracy(adamw, adamw_fold)),
    ):
        print(f"{name:34}{seconds:9.3f}{seconds / ridge_seconds:13.1f}{acc:15.4f}")
    print(f"{'ridge, 1,000 label permutations':34}{null_seconds:9.3f}{null_seconds / ridge_seconds:13.1f}")


if __name__ == "__main__":
    main()
