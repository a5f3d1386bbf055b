"""CHAIR's files: tables of names, captions, objects; and the figures that were published."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from chair import classes, official_names, own

from lens_truth.errors import InputError
from lens_truth.evaluate.chair import Caption, ObjectNames, TrueObjects, read_synonyms, score_captions
from lens_truth.evaluate.chair_files import image_key, read_all_objects, read_captions, read_objects


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> ObjectNames:
    return official_names(tmp_path_factory.mktemp("table"))


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Any], Path]:
    """Writes text or JSON into a file."""

    def to(name: str, content: Any) -> Path:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return to


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


WRITTEN = {
    "OPERA": [{"image_id": 7, "caption": "A dog."}],
    "LURE": [{"id": "COCO_val2014_000000000007.jpg", "question": "A cat.", "caption": "A dog.", "model": "LURE"}],
    "LURE's input": [{"id": "COCO_val2014_000000000007.jpg", "answer": "A dog."}],
    "LLaVA": [{"question_id": 1, "image": "COCO_val2014_000000000007.jpg", "prompt": "Describe.", "text": "A dog."}],
    "file names": [{"file_name": "val2014/COCO_val2014_000000000007.jpg", "caption": "A dog."}],
    "by image": {"000000000007.jpg": "A dog."},
    "CHAIR's output": {
        "overall_metrics": {"CHAIRs": 0.0},
        "sentences": [{"image_id": 7, "caption": "A dog.", "metrics": {"CHAIRs": 0}}],
    },
    "CHAIR's input": {"overall": {"CIDEr": 0.5}, "imgToEval": {"7": {"image_id": 7, "caption": "A dog."}}},
    "COCO": {"images": [{"id": 7}], "annotations": [{"image_id": 7, "id": 3, "caption": "A dog."}]},
}


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("way", WRITTEN)
def test_captions_as_others_write_them(way: str, indent: int | None, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps(WRITTEN[way], indent=indent))
    (caption,) = read_captions(tmp_path / "c.json")
    assert (caption.image, caption.text) == ("7", "A dog.")


def test_objects_from_annotations_of_coco(names: ObjectNames, write: Callable[[str, Any], Path]) -> None:
    instances = {
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}],
        "annotations": [{"image_id": 7, "category_id": 18, "id": 1}, {"image_id": 7, "category_id": 63, "id": 2}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 63, "name": "couch"}],
    }
    captions = {"images": [], "annotations": [{"image_id": 8, "id": 1, "caption": "Two kites and a puppy."}]}
    first, second = write("instances.json", instances), write("captions.json", captions)
    assert read_objects(first, names).of_image == {"7": {"dog", "couch"}, "8": set()}
    both = read_all_objects([first, second], names)
    assert both.of_image == {"7": {"dog", "couch"}, "8": {"kite", "dog"}} and both.source == f"{first} and {second}"
    for change, complaint in [
        ({"annotations": 7}, "'annotations' is not a list of objects"),
        ({"annotations": [{"image_id": None}]}, "annotations 1: field 'image_id' is None, not a number or a name"),
        ({"annotations": [{"image_id": 7}]}, "annotations 1: field 'category_id' is None"),
        ({"annotations": [{"image_id": 7, "category_id": 5}]}, "annotations 1: category_id 5 is not one of the cat"),
        ({"categories": [{"id": 18, "name": "gnu"}]}, "1 names of objects are not in the table of synonyms: 'gnu'"),
        ({"categories": [{"id": 18}]}, "categories 1: field 'name' is None, not a number or a name"),
    ]:
        with pytest.raises(InputError, match=f"instances.json.*{complaint}"):
            read_objects(write("instances.json", instances | change), names)


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
        ("c.jsonl", '{"caption": "a", "picture": 2}', r"line 1: has no field 'image_id' \(nor 'image', "),
        ("c.jsonl", '{"caption": "a", "id": 2}', "line 1: has no field 'image_id' .* its 'id' names no image file"),
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
