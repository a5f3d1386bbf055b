"""How often gates that look at the input act, and whether that is worth more than acting always by as much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from lens_truth.ablation.measured import marks_of
from lens_truth.ablation.search import Validation
from lens_truth.decoding.dynamic import DynamicGate
from lens_truth.evaluate.asker import Asker
from lens_truth.rivals.prompts import factors_on
from lens_truth.rivals.rival import Way
from lens_truth.rivals.rows import Triggered
from lens_truth.stats.paired import compare

if TYPE_CHECKING:
    from lens_truth.evaluate.benchmark import Benchmark
    from lens_truth.evaluate.result import BenchmarkResult


def static_of(name: str) -> tuple[str, str]:
    """What a rival's gate at full strength and its static twin are called while they are asked."""
    return f"{name}, always", f"{name}, static twin"


def static_twins(validation: Validation, rivals: Mapping[str, Way]) -> dict[str, Way]:
    """Of each dynamic gate what acts always: the gate itself, and the gate of its mean strength on the validation
    prompts."""
    found: dict[str, Way] = {}
    for name, gate in rivals.items():
        if isinstance(gate, DynamicGate):
            factors = [factors_on(validation.asker, benchmark, gate) for benchmark in validation.benchmarks]
            full, twin = static_of(name)
            found[full] = gate.switched
            found[twin] = gate.static_twin(float(torch.cat(factors).mean()))
    return found


def triggered_of(
    asker: Asker,
    test: Sequence[Benchmark],
    gate: DynamicGate,
    twin: Way,
    results: tuple[BenchmarkResult, BenchmarkResult, BenchmarkResult],
    seed: int,
) -> Triggered:
    """How often a dynamic gate acts on the test; `results` on the benchmark that counts are its own, those of the gate
    itself, and its twin's."""
    of_rows = {its.name: float((factors_on(asker, its, gate) > 0).float().mean()) for its in test}
    own, full, other = (marks_of([its]) for its in results)
    mean = getattr(twin, "provenance", {})["mean"]
    twins, always = (compare(own, its, results[0].groups, seed) for its in (other, full))
    return Triggered(of_rows, mean, twins, always)
