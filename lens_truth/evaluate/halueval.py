"""HaluEval's judgement: is this answer hallucinated? In TruthProbe's wording and in the original one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lens_truth.data.examples import Example, rows_by_question
from lens_truth.errors import InputError
from lens_truth.evaluate.benchmark import Benchmark, benchmark_of
from lens_truth.io.readers import read_text
from lens_truth.io.streams import Stream, stream
from lens_truth.models.prompts import USER_ASSISTANT, Wording

_DETECTOR = (  # with the benchmark's own spelling, which models were given in all published runs
    "You are a huallucination detector. You MUST determine if the provided answer contains hallucination or not for "
    "the question based on the world knowledge. The answer you provided MUST be Yes or No."
)


def _asked(example: Example) -> str:
    return f"\n\n#Question#: {example.question}\n#Answer#: {example.answer}"


def _with_knowledge(example: Example) -> str:
    knowledge = f"\n\n#Knowledge:{example.context}" if example.context else ""
    return f"{_DETECTOR}{knowledge}{_asked(example)}"


WITH_KNOWLEDGE = Wording(_with_knowledge, USER_ASSISTANT)
"""TruthProbe's protocol: the knowledge that the answer should rest on is shown, no examples are."""


def few_shot(instruction: Path) -> Wording:
    """HaluEval's own protocol (Li et al. 2023): an instruction with examples before every question, no knowledge."""
    text = read_text(instruction)
    if not text.strip():
        raise InputError(f"{instruction}: the instruction is empty")
    return Wording(lambda example: f"{text}{_asked(example)}\n#Your Judgement#:")


def judgement(examples: Sequence[Example], wording: Wording, seed: int, parses: tuple[str, ...]) -> Benchmark:
    """One answer of each question is shown; which one of those it has follows the seed."""
    rng = stream(seed, Stream.JUDGED_ANSWERS)
    shown = [examples[rows[int(rng.integers(len(rows)))]] for rows in rows_by_question(examples)]
    return benchmark_of("halueval", "judge", shown, wording, n_new=7, parses=parses)  # tokens as in TruthProbe
