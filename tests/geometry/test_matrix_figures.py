"""Figures of directions over domains at their hardest size: no text is cut off or overlaps."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import faults
from matplotlib.figure import Figure

from lens_truth.geometry.cosine_result import Cosines, Prediction
from lens_truth.geometry.matrix_figures import auroc_panels
from lens_truth.geometry.shared_result import SharedDirections
from lens_truth.plots.style import in_house_style

NAMES = [f"claims__definitional_gemini_600_full_{i}" for i in range(12)]


@in_house_style
def panels(n: int, titles: tuple[str, ...]) -> Figure:
    values = np.random.default_rng(0).random((n + 1, n))
    shown = dict.fromkeys(titles, (values, values > 0.6))
    said = "AUROC on held-out folds; bold: told from permuted labels (p < .05, familywise over all cells)"
    return auroc_panels(shown, [*NAMES[:n], "all others"], NAMES[:n], said, ("trained on", "tested on"))


def cosines() -> Cosines:
    rng, r2 = np.random.default_rng(0), dict.fromkeys(("whitened", "raw"), (0.1, 0.2, 0.3))
    one = Prediction(0.98, (0.9, 0.99), rng.random((2, 3)), r2, r2)
    matrices = rng.random((3, 12, 12)) - 0.3
    both = {"mahalanobis": one, "plain": one}
    more = (both, 3.2, rng.random((2, 3)), (9.0, 9.5, 10.0))
    return Cosines(tuple(NAMES), "mass-mean", "m", "resid_post", (31, 0), 200, *matrices, *more)


def shared() -> SharedDirections:
    rng = np.random.default_rng(0)
    curves = [0.5 + 0.5 * rng.random((9, 12)) for _ in range(4)]
    general, own, random, specific = curves
    rest = (general, general[:, 0], own, random, specific, specific, 9, (9,) * 12)
    return SharedDirections(tuple(NAMES), "ridge", 5, 0, "m", "z", (31, 31), 50, *rest)


@pytest.mark.parametrize("name", ["two of 12", "one of 2", "cosines", "shared"])
def test_every_text_can_be_read(name: str) -> None:
    drawn = {
        "two of 12": lambda: panels(12, ("true labels", "shuffled labels")),
        "one of 2": lambda: panels(2, ("",)),
        "cosines": lambda: cosines().plot(),
        "shared": lambda: shared().plot(),
    }
    assert list(faults(drawn[name]())) == []
