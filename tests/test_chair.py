"""CHAIR: rules of names and forms, scores worked out by hand, bad input, and the figures that were published."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lens_truth.errors import InputError
from lens_truth.evaluate.chair import (
    Caption,
    ChairScore,
    Mention,
    ObjectNames,
    TrueObjects,
    chair_intervals,
    object_names,
    objects_in,
    read_synonyms,
    score_captions,
    tokenize,
)
from lens_truth.evaluate.chair_files import image_key, read_captions, read_objects

# A table in the official format, with its quirks: a word twice in a line, spaces, and words of many meanings.
TABLE = """person, man, woman, child, children, baby, person, driver, people
bicycle, bike
car, van
airplane, plane, jet
train
boat, ship, canoe, kayak, barge
bird, goose, flamingo
dog, puppy
sheep
cow, calf, ox
elephant
bear
skis, ski
kite
baseball bat
skateboard
tie, bow, bow tie
wine glass
knife
cake,  cheesecake\x20
chair, seat
couch, sofa
dining table, table
toilet
oven, stove, stove top oven
scissors
hot dog
teddy bear
"""
COCO = """person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant stop_sign parking_meter
bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella handbag tie suitcase frisbee skis
snowboard sports_ball kite baseball_bat baseball_glove skateboard surfboard tennis_racket bottle wine_glass cup fork
knife spoon bowl banana apple sandwich orange broccoli carrot hot_dog pizza donut cake chair couch potted_plant bed
dining_table toilet tv laptop mouse remote keyboard cell_phone microwave oven toaster sink refrigerator book clock vase
scissors teddy_bear hair_drier toothbrush"""


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> ObjectNames:
    path = tmp_path_factory.mktemp("table") / "synonyms.txt"
    path.write_text(TABLE)
    return read_synonyms(path)


@cache
def own() -> ObjectNames:
    return read_synonyms()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Any], Path]:
    """Writes text or JSON into a file."""

    def to(name: str, content: Any) -> Path:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return to


def classes(caption: str, names: ObjectNames) -> list[str]:
    return [mention.name for mention in objects_in(caption, names)]


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


def test_a_form_never_takes_the_place_of_a_name(write: Callable[[str, Any], Path]) -> None:
    table = read_synonyms(write("t.txt", "boat, canoe\nleaf\nfurniture, leaves, canoeing, home plate\nplate\n"))
    assert classes("leaves", table) == classes("canoeing", table) == classes("home plates", table) == ["furniture"]
    assert classes("a leaf and a plate", table) == ["leaf", "plate"]


def test_names_in_brackets(write: Callable[[str, Any], Path]) -> None:
    table = read_synonyms(write("t.txt", "[orange], oranges\nskis, ski\n\n[], ski lift\n"))
    assert table.classes == {"orange", "skis"}
    assert classes("an orange jacket, oranges, ski lifts, a ski", table) == ["orange", "skis"]
    assert table.words("Ski lifts") == ["ski lift"]
    objects = read_objects(write("o.json", {"1": ["orange", "ski"]}), table)
    assert objects.of_image == {"1": {"orange", "skis"}}
    with pytest.raises(InputError, match="1 names of objects are not in the table of synonyms: 'ski lift'"):
        read_objects(write("o.json", {"1": ["ski lift"]}), table)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "t.txt: holds no object names"),
        ("\n \n", "t.txt: holds no object names"),
        ("dog, pup\ncat,, kitten", "line 2: a name is empty"),
        ("dog,\n", "line 1: a name is empty"),
        (", dog", "line 1: a name is empty"),
        ("person, driver\n\ndog, Driver", "line 3: 'driver' stands under 'dog' and under 'person'"),
    ],
)
def test_bad_tables(content: str, message: str, write: Callable[[str, Any], Path]) -> None:
    with pytest.raises(InputError, match=message):
        read_synonyms(write("t.txt", content))


def test_tables_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.txt: cannot be read \(No such file"):
        read_synonyms(tmp_path / "none.txt")
    (tmp_path / "t.txt").write_bytes(b"dog\xff")
    with pytest.raises(InputError, match=r"is not UTF-8 text \(byte 3\)"):
        read_synonyms(tmp_path / "t.txt")


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
    assert ChairScore.of([score.captions[3]] * 2).chair_i == 1


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
    assert replace(again, captions=()) == replace(score, captions=())


@given(st.text())
def test_any_text_is_a_caption(text: str) -> None:
    words = own().words(text)
    assert len(own().mentions(words)) <= len(words) <= len(tokenize(text))
    assert "".join(tokenize(text)) == "".join(text.lower().replace("’", "'").split())


@pytest.mark.parametrize("image", [226988, "226988", "COCO_val2014_000000226988.jpg", "000000226988.jpg", " 226988 "])
def test_names_of_one_image(image: int | str) -> None:
    assert image_key(image) == "226988"


def test_other_images_keep_their_names() -> None:
    assert image_key("img_12.jpg") == "img_12.jpg" and image_key(0) == "0" and image_key("12a") == "12a"


def test_captions_from_both_formats(write: Callable[[str, Any], Path]) -> None:
    rows = [{"image_id": 7, "caption": "A dog."}, {"image_id": "COCO_val2014_000000000123.jpg", "caption": "Zwei ☕"}]
    lines = "\n\n".join(json.dumps(row) for row in rows)
    expected = [Caption("7", "A dog.", "line 1"), Caption("123", "Zwei ☕", "line 3")]
    assert read_captions(write("c.jsonl", lines)) == expected
    assert [caption.where for caption in read_captions(write("c.json", rows))] == ["row 1", "row 2"]


def test_several_captions_of_one_image(names: ObjectNames, write: Callable[[str, Any], Path]) -> None:
    rows = [{"image_id": image, "caption": text} for image, text in ((1, "A dog."), (2, "Fog."), ("0001", "A kite."))]
    captions = read_captions(write("c.json", rows))
    assert captions == [
        Caption("1", "A dog.", "row 1"),
        Caption("2", "Fog.", "row 2"),
        Caption("1", "A kite.", "row 3"),
    ]
    objects = TrueObjects("o.json", {"1": frozenset({"dog"}), "2": frozenset({"kite"})})
    score = score_captions(captions, objects, names)
    assert (score.n, score.chair_s, score.chair_i) == (3, 1 / 3, 1 / 2)
    assert score.recall == 1 / 3  # an image counts as often as it has captions


GOOD = '{"image_id": 1, "caption": "a"}\n'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.jsonl", "", r"c\.jsonl: holds no captions"),
        ("c.json", "[]", r"c\.json: holds no captions"),
        ("c.json", "", r"c\.json: holds no captions"),
        ("c.json", "{}", "line 1: has no field 'image_id'"),
        ("c.json", "[{]", "line 1: is not JSON"),
        ("c.json", "[3]", "row 1: is not a JSON object"),
        ("c.jsonl", GOOD + "{", "line 2: is not JSON"),
        ("c.jsonl", GOOD + "[]", "line 2: is not a JSON object"),
        ("c.jsonl", GOOD + '{"image_id": 2}', "line 2: has no field 'caption'"),
        ("c.jsonl", '{"caption": "a", "image": 2}', "line 1: has no field 'image_id'"),
        ("c.jsonl", '{"caption": null, "image_id": 2}', "line 1: has no field 'caption'"),
        ("c.jsonl", '{"caption": ["a"], "image_id": 2}', "line 1: field 'caption' is not text"),
        ("c.jsonl", '{"caption": "a", "image_id": 2.5}', r"line 1: field 'image_id' is 2\.5, not a number or a name"),
        ("c.jsonl", '{"caption": "a", "image_id": true}', "field 'image_id' is True"),
        ("c.jsonl", '{"caption": "a", "image_id": " "}', "field 'image_id' is ' '"),
        (
            "c.jsonl",
            GOOD + '{"image_id": 2, "caption": " "}\n{"image_id": 3, "caption": ""}',
            r"c\.jsonl: 2 of 3 captions are empty \(first: line 2\)",
        ),
    ],
)
def test_bad_captions(name: str, content: str, message: str, write: Callable[[str, Any], Path]) -> None:
    with pytest.raises(InputError, match=message):
        read_captions(write(name, content))


def test_objects_go_by_any_name(names: ObjectNames, write: Callable[[str, Any], Path], tmp_path: Path) -> None:
    table = {"000000000007.jpg": ["Sofa", "dining table", "wine glasses", "couch"], "8": []}
    expected = {"7": {"couch", "dining table", "wine glass"}, "8": set()}
    path = write("o.json", table)
    assert read_objects(path, names) == TrueObjects(str(path), {k: frozenset(v) for k, v in expected.items()})
    (tmp_path / "o.json.gz").write_bytes(gzip.compress(json.dumps(table).encode()))
    assert read_objects(tmp_path / "o.json.gz", names).of_image == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], r"o\.json: is not a dictionary from image ids"),
        ({}, r"o\.json: is not a dictionary from image ids"),
        ("{", r"o\.json, line 1: is not JSON"),
        ({"1": "dog"}, "what stands under image 1 is not a list of names"),
        ({"1": ["dog"], "2": ["dog", 3]}, "what stands under image 2 is not a list of names"),
        ({"1": [], "01.jpg": []}, r"image 1 stands there twice, the second time as '01\.jpg'"),
        (
            {"1": ["dog", "yak"], "2": ["yak", "emu"]},
            "2 names of objects are not in the table of .*: 'yak', 'emu'$",
        ),
        ({"1": [*"abcdef"]}, r"6 names of objects .*: 'a', 'b', 'c', 'd', 'e', \.\.\."),
    ],
)
def test_bad_objects(content: Any, message: str, names: ObjectNames, write: Callable[[str, Any], Path]) -> None:
    with pytest.raises(InputError, match=message):
        read_objects(write("o.json", content), names)


def test_objects_that_cannot_be_read(names: ObjectNames, tmp_path: Path) -> None:
    whole = gzip.compress(json.dumps({str(i): ["dog"] for i in range(500)}).encode())
    path = tmp_path / "o.json.gz"
    for damaged in (b"{}", whole[:-40], whole[:40] + b"\xff" * 40 + whole[80:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"o\.json\.gz: the gzip file is damaged"):
            read_objects(path, names)
    path.write_bytes(gzip.compress(b'{"1": ["\xff"]}'))
    with pytest.raises(InputError, match=r"o\.json\.gz: is not UTF-8 text"):
        read_objects(path, names)
    for name in ("none.json", "none.json.gz"):
        with pytest.raises(InputError, match=r"cannot be read \(No such file"):
            read_objects(tmp_path / name, names)


@cache
def official(folder: Path) -> tuple[ObjectNames, TrueObjects]:
    table = read_synonyms(folder / "synonyms.txt")
    return table, read_objects(folder / "coco2014_trainval_chair_objects.json.gz", table)


@pytest.mark.published
def test_published_scores(data: Path) -> None:
    table, objects = official(data / "chair")
    output = json.loads((data / "chair" / "captions" / "published_chair_output.json").read_text())
    sentences = output["sentences"]
    captions = [Caption(image_key(row["image_id"]), row["caption"]) for row in sentences]
    assert all(objects.of_image[c.image] == set(s["mscoco_gt_words"]) for c, s in zip(captions, sentences, strict=True))
    published = output["overall_metrics"]

    ours = score_captions(captions, objects, table)
    assert ours.chair_s == published["CHAIRs"]
    assert ours.chair_i == pytest.approx(published["CHAIRi"], abs=0.0005)
    assert ours.recall == pytest.approx(published["Recall"], abs=0.002)
    assert ours.precision == pytest.approx(published["Precision"], abs=0.0005)
    assert ours.length == pytest.approx(100 * published["Len"], abs=0.1)
    same = [
        [mention.name for mention in score.mentions] == row["mscoco_generated_words"]
        for score, row in zip(ours.captions, sentences, strict=True)
    ]
    assert sum(same) / len(same) > 0.98
    # Whether a caption hallucinates is never in doubt.
    for score, row in zip(ours.captions, sentences, strict=True):
        assert bool(score.hallucinated) == bool(row["metrics"]["CHAIRs"])


@pytest.mark.published
@pytest.mark.parametrize(
    ("file", "by_official", "by_own"),
    [
        ("llava-1.5_greedy.jsonl", (0.450, 0.125, 0.802, 0.763), (0.438, 0.122, 0.791, 0.768)),
        ("minigpt4_greedy.jsonl", (0.290, 0.091, 0.626, 0.835), (0.248, 0.078, 0.616, 0.860)),
    ],
)
def test_scores_of_models(data: Path, file: str, by_official: tuple[float, ...], by_own: tuple[float, ...]) -> None:
    captions = read_captions(data / "chair" / "captions" / file)
    table, objects = official(data / "chair")
    assert own().classes == table.classes
    for names, expected in ((table, by_official), (own(), by_own)):
        score = score_captions(captions, objects, names)
        assert score.n == 500 and score.n_without_mention < 10
        assert (score.chair_s, score.chair_i, score.recall, score.precision) == pytest.approx(expected, abs=0.002)


def test_intervals_are_over_images() -> None:
    names = object_names({"cat": "cat", "dog": "dog"})
    true = TrueObjects("here", {str(i): frozenset({"cat"}) for i in range(40)})
    captions = [Caption(str(i), "a cat and a dog" if i % 2 else "a cat") for i in range(40)]
    score = score_captions(captions, true, names)
    intervals = chair_intervals(score, 0)
    assert (score.chair_s, score.chair_i, score.recall) == (0.5, pytest.approx(20 / 60), 1.0)
    assert intervals["recall"] == (1.0, 1.0)
    for name in ("chair_s", "chair_i", "precision", "length"):
        low, high = intervals[name]
        assert low < getattr(score, name) < high
    assert chair_intervals(score, 0) == intervals
    again = score_captions(captions * 4, true, names)  # the same captions four times say no more about the images
    assert chair_intervals(again, 0)["chair_s"] == intervals["chair_s"]
    few = [Caption(str(i), "a cat" if i == 7 else "a house") for i in range(12)]  # many draws mention nothing
    low, high = chair_intervals(score_captions(few, true, names), 0)["chair_i"]
    assert (low, high) == (0, 0)
    nothing = score_captions([Caption("1", "a house")], true, names)
    assert set(chair_intervals(nothing, 0)) == {"chair_s", "recall", "length"}
