"""The miniature world: splits share no scene, answers are matched on their surface, labels are true."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from lens_truth.data import world, world_examples
from lens_truth.data.examples import Example
from lens_truth.data.surface import surface_accuracy
from lens_truth.errors import InputError

GENERATORS = {
    "text": world_examples.text_examples,
    "conflict": world_examples.conflict_examples,
    "agreeing": world_examples.agreeing_examples,
    "presence": world_examples.presence_examples,
}
SPLITS: tuple[world.Split, ...] = ("train", "validation", "test")


def scene_of(context: str) -> world.Scene:
    """Reads a scene back from its English."""
    words = [sentence.rstrip(".").split() for sentence in context.split(". ")]
    return tuple(sorted(world.Thing(w[1], w[2], w[6]) for w in words))


def test_splits_share_no_scene_across_all_generators() -> None:
    scenes = {
        split: {scene_of(e.context) for make in GENERATORS.values() for e in make(split, 400, seed)}
        for split in SPLITS
        for seed in (0, 1)
    }
    for one, other in combinations(SPLITS, 2):
        assert not scenes[one] & scenes[other]
    for split in SPLITS:
        assert {world.split_of(scene) for scene in scenes[split]} == {split}


def test_split_does_not_depend_on_the_order_of_things() -> None:
    scene = world.sample_scene(np.random.default_rng(0), "test")
    assert world.split_of(scene[::-1]) == "test"


@pytest.mark.parametrize("name", GENERATORS)
def test_right_and_hallucinated_answers_are_matched_exactly(name: str) -> None:
    examples = GENERATORS[name]("train", 400, 0)
    whole = [e for e in examples if e.group != examples[-1].group]  # the last group may be cut by the limit
    right = Counter(e.answer for e in whole if e.label)
    wrong = Counter(e.answer for e in whole if not e.label)
    assert right == wrong
    if name != "presence":
        assert {len(answer) for answer in right} == {5}
    assert surface_accuracy(whole) == pytest.approx(0.5, abs=0.02)


def bag_of_words_accuracy(examples: list[Example]) -> float:
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
    from sklearn.pipeline import make_pipeline

    texts = [f"{e.context} {e.question} ANSWER{e.answer}" for e in examples]
    model = make_pipeline(CountVectorizer(), LogisticRegression(max_iter=500))
    groups, labels = [e.group for e in examples], [e.label for e in examples]
    return float(cross_val_score(model, texts, labels, groups=groups, cv=StratifiedGroupKFold(5)).mean())


@pytest.mark.parametrize("name", ["text", "conflict"])
def test_bag_of_words_is_at_chance(name: str) -> None:
    assert bag_of_words_accuracy(GENERATORS[name]("train", 800, 0)) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("name", GENERATORS)
def test_labels_are_true(name: str) -> None:
    for e in GENERATORS[name]("validation", 200, 3):
        scene = scene_of(e.context)
        if name == "presence":
            words = e.question.split()
            present = any((t.colour, t.name) == (words[3], words[4]) for t in scene)
            assert (e.answer == ("yes" if present else "no")) == bool(e.label)
            told = [e.context[start:stop] for start, stop in e.evidence]
            assert told == [s for s in e.context.replace(". ", ".\n").split("\n") if present and words[4] in s]
            continue
        answers = {kind.about(t)[1] for kind in world.KINDS for t in scene if kind.about(t)[0] == e.question}
        assert len(answers) == 1
        assert (e.answer in answers) == bool(e.label)
        start, stop = e.evidence[0]
        sentence = e.context[start:stop]
        assert sentence.startswith("The ") and sentence.endswith(".") and answers.pop() in sentence


def test_conflict_rows_set_memory_against_context() -> None:
    examples = world_examples.conflict_examples("test", 200, 0)
    for right, wrong in zip(examples[::2], examples[1::2], strict=True):
        name = right.question.rstrip("?").split()[-1]
        assert wrong.answer == world.TYPICAL[name] != right.answer
    absent = [e for e in examples if not e.label and e.answer not in e.context]
    assert 0.2 < len(absent) / 100 < 0.8  # memory's answer is another thing's colour in some scenes, nowhere in others


def test_closed_book() -> None:
    examples = world_examples.closed_book_examples()
    assert len(examples) == 32
    assert not any(e.context for e in examples)
    assert Counter(e.answer for e in examples if e.label) == Counter(e.answer for e in examples if not e.label)


def test_same_seed_same_rows_and_other_seed_other_rows() -> None:
    assert world_examples.text_examples("train", 50, 4) == world_examples.text_examples("train", 50, 4)
    assert world_examples.text_examples("train", 50, 4) != world_examples.text_examples("train", 50, 5)
    ids = [e.id for e in world_examples.text_examples("train", 500, 0)]
    assert len(set(ids)) == len(ids)


def test_scenes_do_not_repeat_and_run_out_with_a_clear_message() -> None:
    with pytest.raises(InputError, match="no more than .* different scenes"):
        world_examples.agreeing_examples("test", 100_000, 0)


def test_every_word_of_the_world_is_one_token(tokenizer: Any) -> None:
    for word in (*world.COLOURS, *world.THINGS, *world.ROOMS, "yes", "no"):
        assert len(tokenizer(f" {word}", add_special_tokens=False)["input_ids"]) == 1


@pytest.mark.parametrize(
    "text", ["Héllo, wörld! 漢字 🙂\t\r\n  x", "thereby corals\n\n\nQuestion:  Answer:", "The  \x00"]
)
def test_tokenizer_takes_any_text(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
