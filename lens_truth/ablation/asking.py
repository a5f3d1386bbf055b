"""Several benchmarks asked together, so that ways to put the same question can share its prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lens_truth.gates.gate import Gates

if TYPE_CHECKING:
    from lens_truth.evaluate.asker import Asker
    from lens_truth.evaluate.benchmark import Benchmark
    from lens_truth.evaluate.result import BenchmarkResult


def run_all(asker: Asker, benchmarks: Sequence[Benchmark], gates: Gates) -> dict[str, dict[str, BenchmarkResult]]:
    """By benchmark and gate."""
    return {benchmark.name: asker.run(benchmark, gates) for benchmark in benchmarks}
