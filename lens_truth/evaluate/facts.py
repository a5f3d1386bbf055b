"""Benchmarks of world facts."""

from __future__ import annotations

from lens_truth.data.fact_sets import fact_examples
from lens_truth.data.fact_passages import Difficulty
from lens_truth.data.world import Split
from lens_truth.evaluate.benchmark import Benchmark, benchmark_of


def fact_benchmarks(split: Split, n: int, seed: int, difficulty: Difficulty | None = None) -> list[Benchmark]:
    """`n` questions of each kind about the facts of a split: is the answer of a passage that contradicts the world the
    likelier (conflict), is it given (open) and told from the true one (judgement); and what a gate may cost: is the
    likelier answer that of a passage with two facts (reading), the object where a passage tells it and `not stated`
    where it does not (unstated), and the truth where there is no passage (closed-book).

    >>> by_name = {benchmark.name: benchmark for benchmark in lens_truth.fact_benchmarks("test", 100, seed=0)}

    Args:
        difficulty: of the passages in conflict, open, judgement and unstated; by default each of the four in turn.
    """
    conflict = fact_examples("conflict", split, 2 * n, seed, difficulty)
    return [
        benchmark_of("conflict", "choose", conflict),
        benchmark_of("open", "answer", conflict),
        benchmark_of("judgement", "judge", conflict[:n]),
        benchmark_of("reading", "choose", fact_examples("text", split, 2 * n, seed)),
        benchmark_of("unstated", "choose", fact_examples("unstated", split, 2 * n, seed, difficulty)),
        benchmark_of("closed-book", "choose", fact_examples("closed-book", split, 2 * n, seed)),
    ]
