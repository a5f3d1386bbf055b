"""How long does the sparse fit take beside liblinear on all neurons, and are both at the same objective?

    python benchmarks/neurons_fit.py [--activity FOLDER] [--rows 2000] [--neurons 46080] [--times 2 8] [--path-only]

On the activity of neurons in a folder (`lens-truth neurons` keeps one in activations/), or on drawn columns that are
positive, skewed and correlated, as CETT is. For each C, a multiple of the least at which a neuron has a weight: seconds
of both, the ratio, neurons with a weight, and by how much the objective is above liblinear's. Then the path over C that
a choice of C takes. With --path-only liblinear is left out, since it can take minutes.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

import lens_truth
from lens_truth.neurons.finding import FACTORS
from lens_truth.neurons.sparse import objective, smallest_c, sparse_fit, sparse_path


def drawn(n: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-normal columns of unequal size on shared factors, and labels that hang on 40 of them."""
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((n, 60), dtype=np.float32)
    x = factors @ (0.12 * rng.standard_normal((60, p), dtype=np.float32))
    x += 0.8 * rng.standard_normal((n, p), dtype=np.float32)
    told = rng.choice(p, 40, replace=False)
    score = x[:, told] @ (0.25 * rng.standard_normal(40)) + 1.2 * rng.standard_normal(n)
    x = np.exp(x + (0.9 * rng.standard_normal(p) - 5.8).astype(np.float32))
    return x, np.where(score > np.median(score), 1, -1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--activity")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--neurons", type=int, default=46080)
    parser.add_argument("--times", type=float, nargs="+", default=[2, 8])
    parser.add_argument("--path-only", action="store_true")
    arguments = parser.parse_args()
    if arguments.activity:
        activity = lens_truth.NeuronActivity.load(arguments.activity)
        x, y = activity.values.flatten(1).numpy(), 1 - 2 * activity.labels.numpy()
    else:
        x, y = drawn(arguments.rows, arguments.neurons)
    start = time.perf_counter()
    least = smallest_c(x, y)
    print(f"{x.shape[0]} answers x {x.shape[1]} neurons; least C {least:.4g} in {time.perf_counter() - start:.2f} s")
    chosen: list[float] = [] if arguments.path_only else arguments.times
    for times in chosen:
        C = times * least
        start = time.perf_counter()
        own = sparse_fit(x, y, C)
        mine, theirs, above = time.perf_counter() - start, *liblinear(x, y, C, own.objective)
        print(
            f"C = {times:g} x least: {mine:.2f} s, liblinear {theirs:.2f} s ({mine / theirs:.2f} of it); "
            f"{own.n_selected} neurons, objective {above:+.1e} of liblinear's",
            flush=True,
        )
    start = time.perf_counter()
    counts = [fit.n_selected for fit in sparse_path(x, y, (least * FACTORS).tolist())]
    print(f"path over {len(counts)} Cs: {time.perf_counter() - start:.2f} s, neurons {counts}")


def liblinear(x: np.ndarray, y: np.ndarray, C: float, own: float) -> tuple[float, float]:
    """Seconds on all columns, and by how much another objective is above its own, relative to that."""
    from sklearn.linear_model import LogisticRegression

    model: Any = LogisticRegression(l1_ratio=1, solver="liblinear", C=C, tol=1e-4, max_iter=10_000, random_state=0)
    start = time.perf_counter()
    model.fit(x, y)
    seconds = time.perf_counter() - start
    weights, intercept = model.coef_[0], float(model.intercept_[0])
    least = objective(weights, intercept, x.astype(float) @ weights + intercept, y, C)
    return seconds, own / least - 1


if __name__ == "__main__":
    main()
