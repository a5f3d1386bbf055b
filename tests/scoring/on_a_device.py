"""Truth scores on a made-up accelerator, against those on the processor."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from devices import Toys

from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.probing import held_out_decisions, truth_scores

rng = np.random.default_rng(0)
labels = np.tile([1, 0], 50)
z = torch.from_numpy(rng.normal(size=(100, 2, 9, 4)) + rng.random((2, 9, 1)) * labels[:, None, None, None]).float()
groups = tuple(f"g{i // 2}" for i in range(100))
activations = HeadActivations(z, torch.from_numpy(labels), groups, tuple(map(str, range(100))), {})
for estimator in ("ridge", "mass-mean", "centroid", "adamw", "logistic"):
    n = {"adamw": 0, "logistic": 0}.get(estimator, 70)
    here = truth_scores(activations, estimator=estimator, n_permutations=n, n_bootstrap=50)
    decisions, _ = held_out_decisions(activations, estimator=estimator)
    with Toys():
        there = truth_scores(activations, estimator=estimator, n_permutations=n, n_bootstrap=50, device="toy:0")
        elsewhere, _ = held_out_decisions(activations, estimator=estimator, device="toy:0")
    np.testing.assert_allclose(elsewhere, decisions, rtol=1e-5, atol=1e-6)  # other heads are handled together
    for name, values in here.metrics.items():
        np.testing.assert_allclose(there.metrics[name], values, atol=1e-9, err_msg=f"{estimator} {name}")
