"""What one gate, or another way to decode, did to one benchmark, as a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from lens_truth.ablation.rows import CAPTIONS, GateRow
from lens_truth.decoding.decoder import Decoder
from lens_truth.gates.rows import Intervention
from lens_truth.scoring.surface import ENOUGH
from lens_truth.stats.paired import group_interval

if TYPE_CHECKING:
    from lens_truth.evaluate.result import BenchmarkResult


def marks_of(trials: Sequence[BenchmarkResult]) -> Float[np.ndarray, "R N"]:
    """1 where an answer is right, else 0, of every trial."""
    return np.stack([result.correct for result in trials])


def gate_row(
    model: str, gate: str, trials: Sequence[BenchmarkResult], acting: Sequence[Intervention | Decoder | None], seed: int
) -> GateRow:
    """One gate's trials on one benchmark, compared with nothing yet.

    Args:
        acting: what acted on the model in each trial.
    """
    marks = marks_of(trials)
    accuracies = marks.mean(1)
    low, high = group_interval(marks.mean(0), trials[0].groups, seed)
    acts = [one for one in acting if one is not None]
    chairs = [result.chair for result in trials if result.chair is not None]
    captions = {name: [getattr(chair, name) for chair in chairs] for name in CAPTIONS}
    return GateRow(
        model=model,
        gate=gate,
        of="",
        benchmark=trials[0].name,
        trials=len(trials),
        n=marks.shape[1],
        accuracy=float(accuracies.mean()),
        accuracy_std=float(accuracies.std(ddof=1)) if len(accuracies) > 1 else 0.0,
        ci_low=low,
        ci_high=high,
        f1=float(np.mean([result.f1 for result in trials])),
        unparsed=float(np.mean([result.unparsed for result in trials])),
        readings=_readings(trials),
        read_by=trials[0].parses[0],
        chance=trials[0].chance,
        shorter=float(trials[0].ranked.measures["shorter"].mean()) if trials[0].choices else None,
        answer_words=float(np.mean([result.answer_words for result in trials])),
        captions={name: float(np.mean(its)) for name, its in captions.items() if its and None not in its},
        strength=float(np.mean([one.strength for one in acts])) if acts else None,
        negative_gates=max((getattr(one, "n_negative", 0) for one in acts), default=0),
    )


def _readings(results: Sequence[BenchmarkResult]) -> dict[str, float]:
    """Accuracy in each way to read the answers, mean over trials; of choices also where the answers are equally long,
    if there are enough of them."""
    found = {parse: [its.by_reading[parse] for its in results] for parse in results[0].parses}
    if results[0].choices and (n := int((matched := results[0].ranked.matched).sum())) >= ENOUGH:
        found[f"{n} equally long"] = [float(its.correct[matched].mean()) for its in results]
    return {reading: float(np.mean(its)) for reading, its in found.items()}
