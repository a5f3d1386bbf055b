"""Which heads a detector reads, and what it makes of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from problems import problem

from lens_truth.detection.choosing import chosen_detector
from lens_truth.detection.metrics import auroc
from lens_truth.errors import InputError
from lens_truth.scoring.detector import Detector, units_of
from lens_truth.scoring.head_probes import HeadProbes

PROBLEM = problem(signal=3.0)
PROBES = HeadProbes.fit(PROBLEM)
UNITS = units_of(PROBES)
DECISIONS = PROBES.decision(PROBLEM.z).double().numpy() / UNITS
LABELS = PROBLEM.labels.numpy()


def test_units_are_the_standard_deviations_of_decisions() -> None:
    assert DECISIONS.std(0) == pytest.approx(np.ones(UNITS.shape), rel=1e-4)


def test_without_a_choice() -> None:
    found = Detector.of(PROBES)
    assert found.n_heads == 6 and found.n_validation == 0 and found.threshold == 0
    assert found.heads[0] == tuple(np.unravel_index(int(PROBES.auroc.argmax()), (2, 3)))
    assert found.score(DECISIONS) == pytest.approx(DECISIONS.mean((1, 2)))
    one = Detector.of(PROBES, [(1, 2)])
    wanted = PROBES.probability(PROBLEM.z)[:, 1, 2].numpy()
    assert one.probability(one.score(DECISIONS)) == pytest.approx(wanted, abs=1e-5)


def test_heads_that_are_not_there() -> None:
    with pytest.raises(InputError, match=r"there is no probe of head 2\.0: they are of 2 x 3 heads"):
        Detector.of(PROBES, [(2, 0)])
    with pytest.raises(InputError, match="no heads were named"):
        Detector.of(PROBES, [])


def test_the_heads_that_know_are_chosen() -> None:
    choice = chosen_detector(DECISIONS, LABELS, PROBLEM.groups)
    assert all(layer == 1 for layer, _ in choice.detector.heads[:1]) and choice.detector.n_validation == 240
    best = max(choice.tried.values())
    own = choice.tried[f"{choice.detector.kind} {choice.detector.n_heads}"]
    assert own >= best - 0.005
    fewer = [its for name, its in choice.tried.items() if int(name.split()[1]) < choice.detector.n_heads]
    assert all(its < best - 0.005 for its in fewer)
    assert set(choice.tried) == {f"{kind} {n}" for kind in ("mean", "logistic") for n in (1, 2, 4, 6)}


def test_held_out_scores_know_nothing_of_their_rows() -> None:
    """On noise the best of 400 heads looks good on the rows that it was ranked on, and not on those held out."""
    rng = np.random.default_rng(0)
    labels, groups = np.tile([1, 0], 40), [f"g{row // 2}" for row in range(80)]
    noise = rng.normal(size=(80, 20, 20))
    choice = chosen_detector(noise, labels, groups, sizes=(1,), kinds=("mean",))
    assert choice.tried["mean 1"] < 0.62
    seen = auroc(choice.detector.score(noise), labels, np.ones((1, 80)))[0]
    assert seen > 0.66


def test_a_threshold_and_probabilities_fit_the_held_out_scores() -> None:
    choice = chosen_detector(DECISIONS, LABELS, PROBLEM.groups)
    right = np.mean((choice.held_out > choice.detector.threshold) == LABELS)
    assert right >= max(np.mean((choice.held_out > cut) == LABELS) for cut in choice.held_out)
    # Platt's targets are those of the labels but for 1 in 122
    assert choice.detector.probability(choice.held_out).mean() == pytest.approx(0.5, abs=0.01)


def test_it_travels_with_the_probes(tmp_path: Path) -> None:
    detector = chosen_detector(DECISIONS, LABELS, PROBLEM.groups).detector
    kept = replace(PROBES, provenance={**PROBES.provenance, **detector.in_provenance()})
    kept.save(path := tmp_path / "probes.safetensors")
    found = Detector.of(HeadProbes.load(path))
    assert found.heads == detector.heads and (found.weights == detector.weights).all()
    assert (found.threshold, found.slope) == (detector.threshold, detector.slope)
    broken = replace(PROBES, provenance={"detector": {"heads": 3}})
    with pytest.raises(InputError, match="detector"):
        Detector.of(broken)


def test_too_few_rows() -> None:
    with pytest.raises(InputError, match="the 2 validation rows are too few to choose heads on"):
        chosen_detector(DECISIONS[:2], LABELS[:2], PROBLEM.groups[:2])


def test_a_probe_that_decides_all_alike_is_no_division_by_zero() -> None:
    dead = replace(PROBES, directions=torch.zeros_like(PROBES.directions), sigma=torch.zeros_like(PROBES.sigma))
    assert (units_of(dead) == 1).all()
