"""Figures of CCS and of polarity at their hardest sizes: every text can be read."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from drawn import faults

from lens_truth.geometry.ccs_result import Consistency
from lens_truth.geometry.polarity_result import Polarity

LONG = "models--Qwen--Qwen2.5-VL-7B-Instruct"


@cache
def consistency(L: int, H: int) -> Consistency:
    rng = np.random.default_rng(0)
    maps = ("accuracy", "auroc", "ci_low", "ci_high", "either", "null_mean", "null_q95", "p_value", "p_familywise")
    maps += ("random_mean", "random_q95", "loss", "ridge", "polar_consistency", "contradiction")
    return Consistency(
        sides="statement, negation",
        n_pairs=1496,
        n_groups=748,
        model=LONG,
        point="z" if H > 1 else "resid_post",
        n_folds=5,
        n_tries=10,
        n_epochs=1500,
        seed=0,
        picks=(),
        surface=0.5,
        shuffled=rng.uniform(0.5, 1, (3, L, H)),
        polar_null=rng.uniform(0, 1, (2, L, H)),
        contradiction_null=rng.uniform(0, 1, (2, L, H)),
        **{name: rng.uniform(0.5, 1, (L, H)) for name in maps},
    )


@cache
def polarity(M: int) -> Polarity:
    rng = np.random.default_rng(1)
    methods = ("TTPD", "mass-mean", "LDA", "ridge")
    trained = ("affirmative",) * 4 + ("affirmative and negated",) * 5
    R = len(trained)
    return Polarity(
        names=tuple(f"{LONG}_statements_{i}" if i % 2 else f"element_symb_conj_{i}" for i in range(M)),
        roles=("affirmative", "negated", *("tested",) * (M - 2)),
        n_rows=(400,) * M,
        n_groups=(200,) * M,
        methods=(*methods, *methods, "CCS"),
        trained_on=trained,
        n_folds=5,
        seed=0,
        model=LONG,
        point="z",
        heads=("27.31 (3 of 5)",) * R,
        auroc=rng.uniform(0, 1, (R, M)),
        accuracy=rng.uniform(0, 1, (R, M)),
        interval=rng.uniform(0, 1, (R, M, 2)),
        null=rng.uniform(0, 1, (R, M, 2)),
        p_value=rng.uniform(0, 1, (R, M)),
        p_familywise=rng.uniform(0, 1, (R, M)),
        surface=rng.uniform(0, 1, (2, M)),
        auroc_of_heads=rng.uniform(0, 1, (R, M, 2, 2)),
    )


@pytest.mark.parametrize(("L", "H"), [(80, 64), (1, 1), (32, 1)])
def test_ccs_by_layer_can_be_read(L: int, H: int) -> None:
    assert list(faults(consistency(L, H).plot())) == []


@pytest.mark.parametrize("M", [2, 5, 17])
def test_the_map_of_polarity_can_be_read(M: int) -> None:
    assert list(faults(polarity(M).plot())) == []


def test_words_that_turn_round_are_named_and_others_are_not() -> None:
    said = polarity(5).verdicts()
    inverted = [value for value in polarity(5).surface[0, 1:] if value < 0.45]
    assert said[-2].count("(0.") == len(inverted)
