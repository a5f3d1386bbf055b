"""What `compare` scores heads on and asks: the data of `ablate`, or POPE and CHAIR about photographs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import lens_truth
from lens_truth.commands.ablate_data import Parts, as_long, parts_of
from lens_truth.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from lens_truth.commands.compare import Config

_DESCRIBE, _N_NEW = "Please describe this image in detail.", 64  # TruthProbe's


def compared_parts(config: Config, model: Any) -> Parts:
    """Of photographs, or of the data; whether a model sees matters for the zoo's scenes only."""
    from lens_truth.models.image_input import images_of, is_multimodal

    if config.pope or config.objects:
        images_of(model)  # says so if it can be shown none
        return _photographs(config)
    return parts_of(config, is_multimodal(model) and config.data.startswith("zoo:"))


def _photographs(config: Config) -> Parts:
    """POPE's questions and descriptions, split by images: no image is in two parts."""
    from lens_truth.data.examples import split_groups
    from lens_truth.evaluate.chair import read_synonyms

    if config.images is None:
        raise InputError("--pope and --objects need --images: the folder of the images")
    asked, described = _questions(config, config.images), _descriptions(config, config.images)
    rest = (1 - config.validation_share) / 2
    some = split_groups([*asked, *described], (config.validation_share, rest, rest), config.seed)
    names = read_synonyms() if described else None
    captions = {example.id for example in described}

    def benchmarks(part: list[lens_truth.Example]) -> list[lens_truth.Benchmark]:
        from lens_truth.evaluate.pope import N_NEW, POPE_PARSES, WORDING
        from lens_truth.models.prompts import USER_ASSISTANT, Wording

        sides = [[e for e in part if (e.id in captions) is described] for described in (False, True)]
        made: list[lens_truth.Benchmark] = []
        if sides[0]:
            made += [lens_truth.benchmark_of("pope", "yes-no", sides[0], WORDING, N_NEW, parses=POPE_PARSES)]
        if sides[1]:
            wording = Wording(lambda example: example.question, USER_ASSISTANT)
            made += [lens_truth.benchmark_of("description", "caption", sides[1], wording, _N_NEW, objects=names)]
        return made

    to_score = [row for example in some[1] if example.id not in captions for row in (example, _denied(example))]
    return Parts(to_score, *as_long(config, benchmarks(some[0]), benchmarks(some[2])))


def _questions(config: Config, folder: Path) -> list[lens_truth.Example]:
    """POPE's; those that another split asks too once."""
    from lens_truth.evaluate.pope import pope_examples, read_questions

    found = {
        (example.image, example.question): example
        for file in config.pope
        for example in pope_examples(file.stem, read_questions(file), folder)
    }
    return list(found.values())[: config.limit]


def _denied(example: lens_truth.Example) -> lens_truth.Example:
    """The same question with the other answer, which is hallucinated."""
    other = {"yes": "no", "no": "yes"}[example.answer]
    return replace(example, id=f"{example.id}-wrong", answer=other, label=0)


def _descriptions(config: Config, folder: Path) -> list[lens_truth.Example]:
    """Images that are to be described; what is in them stands as the answer."""
    from lens_truth.evaluate.chair import read_synonyms
    from lens_truth.evaluate.chair_files import find_images, image_key, read_all_objects

    if not config.objects:
        return []
    objects = read_all_objects(config.objects, read_synonyms())
    return [
        lens_truth.Example(
            path.name,
            path.name,
            _DESCRIBE,
            ", ".join(sorted(objects.of_image[image_key(path.name)])),
            1,
            image=str(path),
        )
        for path in find_images(folder, None, objects)[: config.limit]
    ]
