"""Transfer of probes over 12 domains x 270 heads x 64, 600 rows each: `transfer_matrix` for all heads, and the same
cells by scikit-learn (Ridge and LogisticRegression, a fit for each head, fold and domain, an AUROC for each cell) for
one head a round, times 270.

    OMP_NUM_THREADS=2 python benchmarks/transfer_speed.py
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any, cast

import numpy as np
import torch
from sklearn import metrics, pipeline
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from lens_truth.geometry.rows import domain_rows
from lens_truth.geometry.transfer import transfer_matrix
from lens_truth.scoring.activations import HeadActivations

M, L, H, D, N, ROUNDS = 12, 30, 9, 64, 600, 3


def main() -> None:
    rng, labels = np.random.default_rng(0), np.tile([1, 0], N // 2)
    domains = {str(m): _made(rng, labels, m) for m in range(M)}
    rows = domain_rows(domains, 5, 0)
    folds = [rows.fold[rows.of(m)] for m in range(M)]
    spent: dict[str, list[float]] = {"transfer_matrix": [], "Ridge": [], "LogisticRegression": []}
    for i in range(ROUNDS):
        begun = time.perf_counter()
        transfer_matrix(domains)
        spent["transfer_matrix"].append(time.perf_counter() - begun)
        features = [its.z[:, i, 0].double().numpy() for its in domains.values()]
        for name, model in (("Ridge", Ridge(6.0)), ("LogisticRegression", LogisticRegression(max_iter=1000))):
            begun = time.perf_counter()
            _cells(model, features, labels, folds)
            spent[name].append(L * H * (time.perf_counter() - begun))
        print({name: round(its[-1], 2) for name, its in spent.items()}, flush=True)
    ours = median(spent["transfer_matrix"])
    for name, its in spent.items():
        print(f"{name}: median {median(its):.1f} s, {median(its) / ours:.1f} times ours")


def _made(rng: np.random.Generator, labels: np.ndarray, number: int) -> HeadActivations:
    z = torch.from_numpy(rng.standard_normal((N, L, H, D), dtype=np.float32))
    groups = tuple(f"{number}-{i // 2}" for i in range(N))
    return HeadActivations(z, torch.from_numpy(labels), groups, tuple(map(str, range(N))), {})


def _cells(model: Any, features: list[np.ndarray], labels: np.ndarray, folds: list[np.ndarray]) -> None:
    for a in range(M):
        for k in range(5):
            train = folds[a] != k
            fitted: Any = pipeline.make_pipeline(StandardScaler(), model).fit(features[a][train], labels[train])
            for b in range(M):
                test = folds[b] == k
                decide = getattr(fitted, "decision_function", fitted.predict)
                cast("Any", metrics).roc_auc_score(labels[test], decide(features[b][test]))


if __name__ == "__main__":
    main()
