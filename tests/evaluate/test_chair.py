"""CHAIR: rules of names and forms, scores worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from chair import COCO, classes, official_names, own
from hypothesis import given
from hypothesis import strategies as st

from lens_truth.errors import InputError
from lens_truth.evaluate.chair import (
    CHAIR_MEASURES,
    Caption,
    ChairScore,
    Mention,
    ObjectNames,
    TrueObjects,
    object_names,
    objects_in,
    score_captions,
    tokenize,
)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> ObjectNames:
    return official_names(tmp_path_factory.mktemp("table"))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("A Man's well-lit hat.", ["a", "man", "'s", "well-lit", "hat", "."]),
        ("The driver’s seat, it's 12:30!", ["the", "driver", "'s", "seat", ",", "it", "'s", "12:30", "!"]),
        ("o'clock... -- (x_y)", ["o'clock", "...", "--", "(", "x", "_", "y", ")"]),
        ("the dogs' café\n\n1,000", ["the", "dogs", "'", "café", "1,000"]),
        ("'sofa'", ["'", "sofa", "'"]),
        ("  ", []),
    ],
)
def test_tokens(text: str, tokens: list[str]) -> None:
    assert tokenize(text) == tokens


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("A man and two women on a sofa.", ["person", "person", "couch"]),  # in order, with repeats
        ("DOGS", ["dog"]),
        ("geese, calves, oxen, knives and flamingos or flamingoes", ["bird", "cow", "cow", "knife", "bird", "bird"]),
        ("children, sheep, skis and scissors", ["person", "sheep", "skis", "scissors"]),  # plural as they are
        ("the dog's bone; the driver’s hat", ["dog", "person"]),
        ("horse-drawn, dog-like", []),  # a word with a hyphen is another word
        ("baseball bats, wine glasses, a glass and a bat", ["baseball bat", "wine glass"]),
        ("a hot dog and a hot, wet dog", ["hot dog", "dog"]),
        ("a teddy bear and a bear", ["teddy bear", "bear"]),
        ("dining tables and a table", ["dining table", "dining table"]),
        ("a train at home plate", ["train"]),
        ("train tracks without a train", ["train"]),
        ("a baby elephant, adult sheep, baby birds, a baby", ["elephant", "sheep", "bird", "person"]),
        ("baby animals and an adult cub", []),
        ("passenger trains under passenger jets", ["train", "airplane"]),
        ("a bow tie", ["tie"]),
        ("a toilet seat and toilet seats", ["toilet", "toilet"]),
        ("the seat of the toilet", ["toilet"]),
        ("a seat", ["chair"]),
        ("a stove top oven", ["oven", "oven"]),  # it stands in the table, but two words at most make a name
        ("skiing, biking, skateboarding, kayaking, canoeing", ["skis", "bicycle", "skateboard", "boat", "boat"]),
        ("a shipping container, barging in", []),
        ("a seated, caring, planing thing", []),  # participles of what one rides alone
        ("", []),
        ("nothing of note.", []),
    ],
)
def test_objects_in(caption: str, found: list[str], names: ObjectNames) -> None:
    assert classes(caption, names) == found


def test_a_mention_tells_the_word(names: ObjectNames) -> None:
    found = objects_in("Two sofas, wine glasses", names)
    assert found == [Mention("sofa", "couch"), Mention("wine glass", "wine glass")]


def test_the_longest_form_counts(names: ObjectNames) -> None:
    assert names.longest == 2 and own().longest == 3
    for table in (replace(names, longest=3), own()):
        assert [mention.word for mention in objects_in("stove top ovens", table)] == ["stove top oven"]
        assert classes("a stove top and an oven", table) == ["oven", "oven"]
    assert classes("hot dogs", replace(names, longest=1)) == ["dog"]


def test_own_table_has_the_classes_of_coco() -> None:
    assert own().classes == {name.replace("_", " ") for name in COCO.split()} and len(own().classes) == 80
    for name in sorted(own().classes - {"orange"}):
        assert classes(f"a {name}.", own()) == [name]


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("an orange cat, an orange slice, oranges, orange juice", ["cat", "orange", "orange"]),
        ("a computer mouse on a mouse pad", ["mouse"]),
        ("remote controls, a Wii remote, a remote area", ["remote", "remote"]),
        ("a wine glass, a glass window, a drinking glass, sunglasses", ["wine glass", "cup"]),
        ("a player swings his bat, a catcher's mitt", ["person", "baseball bat", "baseball glove"]),
        ("a plant, potted plants, a houseplant", ["potted plant", "potted plant"]),
        ("a phone, a phone booth, a screen", ["cell phone"]),
        ("a plate, home plate, license plates", []),
        ("train stations, a ski lift, ski poles, bus stops, a flower bed", []),
        ("a train car, a car, a toaster oven, a microwave oven", ["train", "car", "oven", "microwave"]),
        ("a dirt bike, a bike, a fire truck", ["motorcycle", "bicycle", "truck"]),
        ("a stuffed bear, bear cubs, an elephant calf", ["teddy bear", "bear", "elephant"]),
        ("surfers, pedestrians, individuals, an individual slice", ["person"] * 3),
        ("a tennis racquet, a mug, hair dryers", ["tennis racket", "cup", "hair drier"]),
        ("a computer, a notebook, a container, a bow, the seat", []),
    ],
)
def test_own_table(caption: str, found: list[str]) -> None:
    assert classes(caption, own()) == found


def scored(names: ObjectNames, *rows: tuple[str, set[str]]) -> ChairScore:
    captions = [Caption(str(i), text) for i, (text, _) in enumerate(rows)]
    true = {str(i): frozenset(objects) for i, (_, objects) in enumerate(rows)}
    return score_captions(captions, TrueObjects("objects.json", true), names)


def test_scores_by_hand(names: ObjectNames) -> None:
    score = scored(
        names,
        ("A man and a dog. The dog has wine glasses.", {"person", "wine glass", "couch"}),  # 2 of 4 wrong
        ("A van, a car.", {"car", "person"}),
        ("Nothing.", {"kite"}),
        ("Two kites.", set()),  # 1 of 1 wrong
    )
    assert score.chair_s == 2 / 4
    assert score.chair_i == 3 / 7
    assert score.recall == 3 / 6  # person, wine glass, car; of 3 + 2 + 1
    assert score.precision == 3 / 5  # of person, dog, wine glass; car; kite
    assert score.length == (11 + 6 + 2 + 3) / 4
    assert (score.n, score.n_without_mention) == (4, 1)
    first = score.captions[0]
    assert first.image == "0" and first.hallucinated == (Mention("dog", "dog"),) * 2
    assert first.named == {"person", "dog", "wine glass"} and first.length == 11
    assert ChairScore((score.captions[3],) * 2).chair_i == 1


def test_ratios_that_are_not_defined(names: ObjectNames) -> None:
    score = scored(names, ("Nothing.", {"kite"}))
    assert (score.chair_s, score.chair_i, score.recall, score.precision) == (0, None, 0, None)
    score = scored(names, ("Nothing.", set()))
    assert (score.recall, score.n_without_mention) == (None, 1)


def test_captions_without_ground_truth_are_counted(names: ObjectNames) -> None:
    captions = [Caption("1", "a dog", "line 1"), Caption("123", "a dog", "line 7"), Caption("9", "a dog", "line 8")]
    message = r"^2 of 3 captions are of images that o\.json does not know \(first: image 123, line 7\)$"
    with pytest.raises(InputError, match=message):
        score_captions(captions, TrueObjects("o.json", {"1": frozenset()}), names)
    with pytest.raises(InputError, match=r"\(first: image 5\)"):
        score_captions([Caption("5", "a dog")], TrueObjects("o.json", {}), names)
    with pytest.raises(InputError, match="no captions to score"):
        score_captions([], TrueObjects("o.json", {}), names)


PLURAL = {"dog": "dogs", "knife": "knives", "bus": "buses", "wine glass": "wine glasses", "woman": "women"}
PLURAL |= {"sheep": "sheep", "baby bird": "baby birds", "toothbrush": "toothbrushes", "hair drier": "hair driers"}
PLURAL |= {"train track": "train tracks", "teddy bear": "teddy bears", "ski lift": "ski lifts", "box": "boxes"}
THINGS = st.lists(st.sampled_from(sorted(PLURAL)), max_size=8)
OBJECTS = st.sets(st.sampled_from(["dog", "knife", "bus", "person", "bird", "teddy bear", "couch"]))


@given(THINGS)
def test_number_does_not_matter(things: list[str]) -> None:
    one, many = (objects_in(", ".join(t), own()) for t in (things, [PLURAL[thing] for thing in things]))
    assert one == many


@given(st.lists(st.tuples(THINGS.map(" and ".join), OBJECTS), min_size=1, max_size=6), st.randoms())
def test_scores_are_shares_and_order_does_not_matter(rows: list[tuple[str, set[str]]], random: Any) -> None:
    score = scored(own(), *rows)
    for share in (score.chair_s, score.chair_i, score.recall, score.precision):
        assert share is None or 0 <= share <= 1
    assert (score.chair_s > 0) == bool(score.chair_i)
    random.shuffle(rows)
    again = scored(own(), *rows)
    assert all(getattr(again, name) == pytest.approx(getattr(score, name)) for name in CHAIR_MEASURES)
    assert (again.n, again.n_without_mention) == (score.n, score.n_without_mention)


@given(st.text())
def test_any_text_is_a_caption(text: str) -> None:
    words = own().words(text)
    assert len(own().mentions(words)) <= len(words) <= len(tokenize(text))
    assert "".join(tokenize(text)) == "".join(text.lower().replace("’", "'").split())


def test_intervals_are_over_images() -> None:
    names = object_names({"cat": "cat", "dog": "dog"})
    true = TrueObjects("here", {str(i): frozenset({"cat"}) for i in range(40)})
    captions = [Caption(str(i), "a cat and a dog" if i % 2 else "a cat") for i in range(40)]
    score = score_captions(captions, true, names)
    intervals = score.intervals(0)
    assert (score.chair_s, score.chair_i, score.recall) == (0.5, pytest.approx(20 / 60), 1.0)
    assert intervals["recall"] == (1.0, 1.0)
    for name in ("chair_s", "chair_i", "precision", "length"):
        low, high = intervals[name]
        assert low < getattr(score, name) < high
    assert score.intervals(0) == intervals
    again = score_captions(captions * 4, true, names)  # the same captions four times say no more about the images
    assert again.intervals(0)["chair_s"] == intervals["chair_s"]
    few = [Caption(str(i), "a cat" if i == 7 else "a house") for i in range(12)]  # many draws mention nothing
    low, high = score_captions(few, true, names).intervals(0)["chair_i"]
    assert (low, high) == (0, 0)
    nothing = score_captions([Caption("1", "a house")], true, names)
    assert set(nothing.intervals(0)) == {"chair_s", "recall", "length"}
