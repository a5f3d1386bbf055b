"""Where a benchmark cannot tell what a gate (or another rival) does: the model by itself is at its floor there, or at
its ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from lens_truth.ablation.rows import GateRow
from lens_truth.evaluate.answers import UNREADABLE
from lens_truth.io.numbers import interval, number, share

_ROUNDING = 1e-9


def limit_of(vanilla: GateRow) -> Literal["floor", "ceiling"] | None:
    """`floor` where what a guess reaches lies in the interval of the accuracy, or would with answers that could not be
    read; `ceiling` where 1 does; None where there is room for a gain and for a loss."""
    if vanilla.ci_high > 1 - _ROUNDING:
        return "ceiling"
    readable = vanilla.ci_high + (vanilla.unparsed if vanilla.chance else 0.0)
    return "floor" if vanilla.ci_low - _ROUNDING < vanilla.chance < readable + _ROUNDING else None


def limit_said(vanilla: GateRow) -> str:
    """Why the benchmark cannot tell, as part of a sentence; empty where it can."""
    limit = limit_of(vanilla)
    if limit is None:
        return ""
    reached = f"{number(vanilla.accuracy)} {interval((vanilla.ci_low, vanilla.ci_high))}"
    if limit == "ceiling":
        return f"the model by itself is at its ceiling ({reached}), where no gain can be told"
    reached += f", where a guess is right in {number(vanilla.chance)}"
    reached += f"; {share(vanilla.unparsed)} could not be read" if vanilla.unparsed > UNREADABLE else ""
    return f"the model by itself is at its floor ({reached}), where no loss can be told"


def _is_below(vanilla: GateRow) -> bool:
    return limit_of(vanilla) is None and vanilla.ci_high < vanilla.chance


def _below_said(vanilla: GateRow) -> str:
    reached, guess = f"{number(vanilla.accuracy)} {interval((vanilla.ci_low, vanilla.ci_high))}", number(vanilla.chance)
    return (
        f"the model by itself is right less often than a guess ({reached}, a guess in {guess}), so whatever ruins it "
        "gains too; controls and side effects tell"
    )


def limit_warnings(rows: Sequence[GateRow]) -> list[str]:
    """Of all benchmarks that cannot tell, by model: a sentence for each floor, and one for all its ceilings; and one
    for each on which the model is below a guess, where even a gate that ruins it gains."""
    said: list[str] = []
    for model in dict.fromkeys(row.model for row in rows):
        bare = [row for row in rows if row.model == model and row.arm == ("vanilla", "")]
        said += [f"{model} on {row.benchmark}: {limit_said(row)}" for row in bare if limit_of(row) == "floor"]
        said += [f"{model} on {row.benchmark}: {_below_said(row)}" for row in bare if _is_below(row)]
        if tops := ", ".join(row.benchmark for row in bare if limit_of(row) == "ceiling"):
            said.append(f"{model}: the model by itself is at its ceiling on {tops}, where no gain can be told")
    return said
