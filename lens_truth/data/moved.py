"""A control for causal scores: the same answers where none is supported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lens_truth.data.examples import Example, question_pairs


def moved_answers(examples: Sequence[Example], limit: int | None = None) -> list[Example]:
    """The answers of every question that has both labels, behind the context and question of another one, where none is
    supported: what causal scores on them say, the answers' surface says.

    They go to the question of another group whose context and question are the next longer ones (from the longest to
    the shortest), so that prompts stay about as long. With a limit only the first so many questions are moved; what
    has no other group stays out, and statements without a context, which stand behind nothing.

    >>> control = lens_truth.causal_scores(model, lens_truth.data.moved_answers(examples))

    Raises:
        InputError: if no question has answers of both labels.
    """
    pairs = [pair for pair in question_pairs(examples) if not _bare(examples[pair[0][0]])]
    firsts = [supported[0] for supported, _ in pairs]
    order = sorted(firsts, key=lambda row: len(examples[row].context) + len(examples[row].question))
    moved: list[Example] = []
    for supported, hallucinated in pairs[:limit]:
        at, group = order.index(supported[0]), examples[supported[0]].group
        to = next((row for row in order[at + 1 :] + order[:at] if examples[row].group != group), None)
        if to is not None:
            new = examples[to]
            moved += [
                replace(
                    examples[row], context=new.context, question=new.question, image=new.image, evidence=(), boxes=()
                )
                for row in [*supported, *hallucinated]
            ]
    return moved


def _bare(example: Example) -> bool:
    return example.is_statement and not example.context
