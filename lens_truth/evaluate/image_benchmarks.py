"""The zoo's benchmarks in pictures."""

from __future__ import annotations

from dataclasses import replace

from lens_truth.datasets import zoo_images
from lens_truth.datasets.world import Split
from lens_truth.evaluate.benchmark import Benchmark, benchmark_of
from lens_truth.images import BLACK


def image_benchmarks(split: Split, n: int, seed: int) -> list[Benchmark]:
    """`n` questions each about pictures of scenes of `split`.

    Presence is asked in POPE's three ways, and once more (`black-presence`) with a black image instead of the picture:
    what the model then gets right owes nothing to sight. A description is right if all of it is.
    """
    presence = {
        kind: zoo_images.image_presence_examples(split, 2 * n, seed, kind) for kind in zoo_images.PRESENCE_KINDS
    }
    unseen = [replace(example, image=BLACK) for example in presence["random"]]
    questions, captions = zoo_images.image_examples, zoo_images.caption_examples
    return [
        benchmark_of("image-conflict", "answer", zoo_images.image_conflict_examples(split, 2 * n, seed)),
        benchmark_of("image-open", "answer", questions(split, 2 * n, seed)),
        benchmark_of("image-judgement", "judge", questions(split, n, seed)),
        *(benchmark_of(f"image-presence-{kind}", "yes-no", examples) for kind, examples in presence.items()),
        benchmark_of("black-presence", "yes-no", unseen),
        benchmark_of("image-agreeing", "answer", zoo_images.image_agreeing_examples(split, 2 * n, seed)),
        benchmark_of("image-describe", "answer", captions(split, n, seed)),
        benchmark_of("image-conflict-describe", "answer", captions(split, n, seed, conflict=True)),
    ]
