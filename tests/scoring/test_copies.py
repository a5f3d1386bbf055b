"""Copies of seeds are found, whatever was done to them, and different seeds are none."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from lens_truth.scoring.copies import copied_scores
from lens_truth.scoring.scores import HeadScores

RNG = np.random.default_rng(0)
MAP = RNG.uniform(0.5, 0.95, (4, 6))


def found(*maps: np.ndarray) -> list[tuple[int, int, str]]:
    named = {name: HeadScores(values) for name, values in zip("ABCDEF", maps, strict=False)}
    return [(its.count, its.of, its.example) for its in copied_scores(named)]


COPIES = {
    "itself": (MAP.copy(), "A and B: largest difference 0"),
    "half precision": (MAP.astype(np.float32).astype(float), "A and B: largest difference"),
    "four decimals": (MAP.round(4), "A and B: r = 1 - "),
    "two decimals": (MAP.round(2), "A and B: equal after rounding to 2 decimals"),
    "per cent": (100 * MAP, "A and B: the second is 100 times the first"),
    "over chance": (MAP - 0.5, "A and B: the second is 1 times the first -0.5"),
    "errors": (1 - MAP, "A and B: the second is -1 times the first +1"),
}


@pytest.mark.parametrize("how", COPIES)
def test_copies(how: str) -> None:
    copy, said = COPIES[how]
    ((n, of, example),) = found(MAP, copy, RNG.uniform(size=(4, 6)))
    assert (n, of) == (2, 3) and example.startswith(said)


def test_rounded_before_or_behind() -> None:
    assert found(MAP.round(2), MAP) and not found(MAP.round(2), MAP + 0.006 * (np.arange(24).reshape(4, 6) == 5))


def test_groups_of_copies_and_what_they_leave() -> None:
    other = RNG.uniform(size=(4, 6))
    named = {name: HeadScores(its) for name, its in zip("ABCDE", [MAP, other, MAP, MAP, other], strict=True)}
    (finding,) = copied_scores(named)
    assert finding.check == "identical seeds" and finding.level == "wrong" and finding.count == finding.of == 5
    assert finding.says == "5 of 5 maps of scores are copies of one another, which leaves 2 different runs"
    assert finding.cure == "They are one run, so their spread is no noise: leave out all but one"


def test_other_shapes_are_not_compared() -> None:
    assert not found(MAP, MAP[:3], MAP.T)


def test_folds_of_one_file() -> None:
    folds = RNG.uniform(size=(4, 4, 6))
    folds[3] = folds[1]
    (finding,) = copied_scores({"A": HeadScores(MAP, folds=folds)})
    assert (finding.count, finding.of) == (2, 4)
    assert finding.says.startswith("2 of 4 folds or trials of A are copies of one another, which leaves 3 different")
    assert finding.example == "fold or trial 1 and fold or trial 3: largest difference 0"


@pytest.mark.parametrize("n_rows", [10, 20, 40, 200, 2000])
def test_different_seeds_are_no_copies(n_rows: int) -> None:
    """Accuracies of few rows, on heads of which many are right in all, are coarse and much alike."""
    rng = np.random.default_rng(n_rows)
    for _ in range(300):
        truth = np.clip(rng.normal(0.8, 0.15, (3, 4)), 0.5, 1.0)
        seeds = [rng.binomial(n_rows, truth) / n_rows for _ in range(3)]
        assert not found(*seeds, seeds[0].round(2) + 0.01 * rng.integers(-1, 2, (3, 4)))


def test_maps_that_say_too_little() -> None:
    ones, gates = np.ones((4, 6)), (MAP > 0.8).astype(float)
    few = np.ones((4, 6))
    few[0, :5] = [0.9, 0.8, 0.95, 0.7, 0.6]
    for values in (ones, gates, few, MAP[:2, :4]):
        assert not found(values, values.copy())


@pytest.mark.published
def test_published_maps(data: Path) -> None:
    """Of each model there are two of one name in Figure 1's files, and for models of text alone these are one map."""
    fig1 = {
        path.stem.removeprefix("vicuna_"): HeadScores.load(path)
        for path in sorted((data / "head_scores/truthprobe/fig1").glob("*.csv"))
    }
    assert len(fig1) == 8
    (finding,) = copied_scores(fig1)
    assert finding.count == 4
    copies = {"setA_mistral", "setA_vicuna", "setD_mistral", "setD_vicuna"}
    for one, other in combinations(fig1, 2):
        same = {one, other} <= copies and one[5:] == other[5:]
        assert bool(copied_scores({one: fig1[one], other: fig1[other]})) == same
    again = HeadScores.load(
        data / "head_scores/truthprobe/published/converted_score_cv5_head_metrics_llava1.5_rlhfv_2726.npy"
    )
    assert np.corrcoef(again.values.ravel(), fig1["setD_llava1.5"].values.ravel())[0, 1] > 0.998  # a second run
    assert not copied_scores({"again": again, "setD_llava1.5": fig1["setD_llava1.5"]})


@pytest.mark.published
def test_published_trials(data: Path) -> None:
    """Trials of retrieval heads, whose copies are counted as bytes; in two trials, no head finds anything."""
    path = data / "head_scores/retrieval/Meta-Llama-3-8B.json.gz"
    scores = HeadScores.load(path)
    assert scores.folds is not None
    names = [its.tobytes() for its in scores.folds if its.any()]
    assert len(names) == 58
    (finding,) = copied_scores({"trials": scores})
    assert finding.count == sum(names.count(name) > 1 for name in names) == 54 and finding.of == 60
