"""Figures of origins and of mediation at their hardest sizes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from drawn import faults
from matplotlib.figure import Figure

from lens_truth.neurons.mediation_result import Mediation, Passing
from lens_truth.neurons.origins_result import Applied, NeuronOrigins, Ranked, Refitted

LONG = "/home/me/checkpoints/models--Qwen--Qwen2.5-VL-7B-Instruct/step_9000"
ENDS = (0.1, 0.9)


def origins() -> NeuronOrigins:
    applied: dict[str, Applied] = dict.fromkeys(("base", "child"), Applied(0.7, ENDS, ENDS, 0.01, ENDS, 0.01))
    ways = ("child to child", "child to base", "base to base")
    refitted: dict[str, Refitted] = dict.fromkeys(ways, Refitted(0.7, ENDS, (0.5, 0.6), 0.01))
    ranks: dict[str, Ranked] = dict.fromkeys(
        ("AUROC in the base", "AUROC in the child", "weights kept"), Ranked(1.0, 1.0, ENDS, 0.01)
    )
    counts = (100_000, 100_000, 100_000, 100_000, 5, 20, 999, 0)
    return NeuronOrigins((LONG, f"{LONG}-1"), (126, 53_248), *counts, applied, 0.1, ENDS, 0.7, ENDS, refitted, ranks)


def mediation() -> Mediation:
    its = Passing(-0.7, (-3.0, 2.0), 1.7, (-2.0, 4.0))
    sets = ["neurons", *(f"random {i}" for i in range(8)), *(f"layer-matched {i}" for i in range(8)), "all neurons"]
    counts = (100_000, 100_000, 100_000, 0)
    return Mediation(LONG, "100000 heads removed", *counts, -12.5, -102.25, ENDS, dict.fromkeys(sets, its))


@pytest.mark.parametrize("figure", [origins().plot, mediation().plot])
def test_nothing_is_cut_off_or_overlaps(figure: Callable[[], Figure]) -> None:
    assert list(faults(figure())) == []
