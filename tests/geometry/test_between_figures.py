"""Figures of directions between models, over training and under a third label, at their hardest sizes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from drawn import faults
from matplotlib.figure import Figure

from lens_truth.geometry.relative_result import Relative
from lens_truth.geometry.series_result import Change, Series
from lens_truth.geometry.stability_result import LABELS, Shift, Stability, ThreeWay
from lens_truth.geometry.tuned_result import WAYS, Tuned, Way

LONG = "models--Qwen--Qwen2.5-VL-7B-Instruct"
NAMES = (f"/home/me/checkpoints/{LONG}/step_9000", f"{LONG}-1")
ENDS = (0.1, 0.9)


def maps(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape[-1]).random(shape)


def point(H: int) -> str:
    return "z" if H > 1 else "resid_post"


def stability(L: int, H: int) -> Stability:
    shift = Shift(40.0, ENDS, 40.0, ENDS, 3.0, ENDS, 0.01, 0.2, ENDS, ENDS, 0.01, 0.7, ENDS, -0.1, ENDS)
    sets = (0.9, ENDS, 1.5, 0.5, 0.0)
    three = ThreeWay(0.7, ENDS, 0.4, 0.5, ENDS, maps(3, 3), *sets, *maps(3, L, H))
    heads = (180 * maps(2, L, H), maps(2, L, H), 90 * maps(L, H), maps(2, L, H), maps(2, L, H), maps(3, L, H))
    numbers = (100_000, 100_000, 100_000, 5, 200, 0, (0, 0), 0.8, ENDS)
    return Stability(NAMES[0], point(H), "mass-mean", *numbers, dict.fromkeys(LABELS, shift), three, *heads)


def tuned(L: int, H: int) -> Tuned:
    way = Way((0, 0), 0.7, ENDS, 0.7, 0.8, ENDS, 0.9, 0.1, ENDS, 0.7, ENDS, 0.6, 0.3)
    heads = (maps(2, 2, L, H), maps(2, 2, L, H), maps(L, H), maps(2, L, H), maps(2, L, H), maps(2, L, H))
    return Tuned(NAMES, point(H), "mass-mean", 400, 200, 5, 200, 0, dict.fromkeys(WAYS, way), *heads)


def relative(L: int, M: int) -> Relative:
    best = (0.1, (0, 0, 0, 0), ENDS, 0.01, 0.7, ENDS, (0.8, 0.8), (ENDS, ENDS), ENDS, 0.01)
    return Relative(NAMES, "z", "mass-mean", 400, 200, 100, 10, 100, 0, maps(L, M), maps(L, M), *best, maps(L, M))


def series(T: int, every: int) -> Series:
    names = ("best head", "mean head", "behaviour", "AUROC", "cosine")
    curves = dict(zip(names, maps(5, T), strict=True))
    intervals = {name: np.stack([curves[name] - 0.2, curves[name] + 0.2], 1) for name in names[:3]}
    changes = {name: Change(every * (i + 0.5), ENDS, 0.9, 0.01) for i, name in enumerate(names)}
    lead = dict.fromkeys(names[:2], (-1.0, -2.0, 1.0))
    rest = ("z", "mass-mean", "break", 400, 200, 200, 0, (0, 0), tuple(every * i for i in range(T)))
    return Series(NAMES[0], *rest, curves, intervals, changes, lead)


HARD: dict[str, Callable[[], Figure]] = {
    "neither, 80 x 64": lambda: stability(80, 64).plot(),
    "neither, 32 x 1": lambda: stability(32, 1).plot(),
    "neither, 1 x 1": lambda: stability(1, 1).plot(),
    "tuned, 80 x 64": lambda: tuned(80, 64).plot(),
    "tuned, 32 x 1": lambda: tuned(32, 1).plot(),
    "tuned, 1 x 1": lambda: tuned(1, 1).plot(),
    "relative, 80 x 32": lambda: relative(80, 32).plot(),
    "relative, 1 x 1": lambda: relative(1, 1).plot(),
    "series, 154 checkpoints": lambda: series(154, 1_000_000).plot(),
    "series, 3 checkpoints": lambda: series(3, 1).plot(),
}


@pytest.mark.parametrize("name", HARD)
def test_every_text_can_be_read(name: str) -> None:
    assert list(faults(HARD[name]())) == []
