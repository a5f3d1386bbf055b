"""The zoo's benchmarks, told and in pictures."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import product

from lens_truth.data import world, world_examples
from lens_truth.data.images import BLACK
from lens_truth.data.world import Split
from lens_truth.evaluate.benchmark import Benchmark, benchmark_of
from lens_truth.evaluate.chair import ObjectNames, object_names
from lens_truth.models.prompts import Wording, judge_text

JUDGE_AS_TRAINED = Wording(judge_text)
"""The plain prompt of a judgement that the zoo's models were trained on: no `Answer:` stands behind the question."""


def image_benchmarks(split: Split, n: int, seed: int) -> list[Benchmark]:
    """`n` questions each about pictures of scenes of `split`, and half as many descriptions, which take longer.

    Presence is asked in POPE's three ways. A description is right if it mentions no thing in a colour that it does not
    have (CHAIR, with the coloured things as objects).

    >>> by_name = {benchmark.name: benchmark for benchmark in lens_truth.image_benchmarks("test", 100, seed=0)}
    """
    questions, captions, few = world_examples.image_examples, world_examples.caption_examples, max(1, n // 2)
    contradicting = captions(split, few, seed, conflict=True)
    return [
        benchmark_of("image-conflict", "answer", world_examples.image_conflict_examples(split, 2 * n, seed)),
        benchmark_of("image-open", "answer", questions(split, 2 * n, seed)),
        benchmark_of("image-judgement", "judge", questions(split, n, seed), JUDGE_AS_TRAINED),
        *(_presence(split, n, seed, kind) for kind in world_examples.PRESENCE_KINDS),
        benchmark_of("image-describe", "caption", captions(split, few, seed), objects=coloured_things()),
        benchmark_of("image-conflict-describe", "caption", contradicting, objects=coloured_things()),
    ]


def reference_benchmarks(split: Split, n: int, seed: int) -> list[Benchmark]:
    """What the others are held against: presence asked of a black image (what is right then owes nothing to sight), and
    colours in pictures that agree with memory."""
    random = _presence(split, n, seed, "random")
    unseen = tuple(replace(example, image=BLACK, boxes=()) for example in random.examples)
    return [
        replace(random, name="black-presence", examples=unseen),
        benchmark_of("image-agreeing", "answer", world_examples.image_agreeing_examples(split, 2 * n, seed)),
    ]


def _presence(split: Split, n: int, seed: int, kind: world_examples.PresenceKind) -> Benchmark:
    examples = world_examples.image_presence_examples(split, 2 * n, seed, kind)
    return benchmark_of(f"image-presence-{kind}", "yes-no", examples)


@lru_cache
def coloured_things() -> ObjectNames:
    """What can be mentioned in a description: every thing in every colour."""
    pairs = [f"{colour} {name}" for colour, name in product(world.COLOURS, world.THINGS)]
    return object_names({pair: pair for pair in pairs})


def zoo_benchmarks(split: Split, n: int, seed: int) -> list[Benchmark]:
    """The zoo's five benchmarks, `n` questions each from scenes of `split`; closed-book recall has 16 in all.

    >>> by_name = {benchmark.name: benchmark for benchmark in lens_truth.zoo_benchmarks("test", 100, seed=0)}
    """
    return [
        benchmark_of("conflict", "answer", world_examples.conflict_examples(split, 2 * n, seed)),
        benchmark_of("open", "answer", world_examples.text_examples(split, 2 * n, seed)),
        benchmark_of("judgement", "judge", world_examples.text_examples(split, n, seed), JUDGE_AS_TRAINED),
        benchmark_of("presence", "yes-no", world_examples.presence_examples(split, 2 * n, seed)),
        benchmark_of("closed-book", "answer", world_examples.closed_book_examples()),
    ]
