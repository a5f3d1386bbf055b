"""Scores of several probing runs of one model as one: their mean, of which the runs are repeated estimates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lens_truth.scoring.scores import HeadScores


def mean_of_runs(runs: Sequence[HeadScores], settings: dict[str, Any]) -> HeadScores:
    """The mean over runs with the settings in its provenance, a single run as it is. Intervals and nulls, which are
    those of one run, are left out; scores on matched rows are means too, if every run has them."""
    first = replace(runs[0], provenance={**runs[0].provenance, **settings})
    if len(runs) == 1:
        return first
    values = np.stack([run.values for run in runs])
    twins = [run.metrics["matched"] for run in runs if "matched" in run.metrics]
    metrics = {"matched": np.mean(twins, axis=0)} if len(twins) == len(runs) else {}
    told = next((run for run in runs if "matched" not in run.metrics), first).provenance.get("matched")
    provenance = dict(first.provenance)
    if told is not None:
        provenance["matched"] = {**told, "said": f"in one of {len(runs)} probing runs {told['said']}"}
    return replace(first, values=values.mean(0), metrics=metrics, folds=values, provenance=provenance)
