"""The paper's five probing settings: which data text and multimodal models get, from files and from the zoo."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import refused, run
from multimodal import build_multimodal
from PIL import Image

import lens_truth.models.image_input as model_images
from lens_truth.commands.score_sources import ProbingData, ProbingRuns, Scoring, short_name
from lens_truth.data.examples import examples_hash
from lens_truth.data.images import BLACK
from lens_truth.data.loading import Part, Setting, load_examples, setting_examples, setting_sources
from lens_truth.errors import InputError, gathered_notices
from lens_truth.scoring.scores import HeadScores

pytestmark = pytest.mark.usefixtures("no_pdfs")

TABLE: dict[Setting, tuple[str, str]] = {  # as TruthProbe's probing README has it
    "A": ("halueval", "halueval"),
    "B": ("halueval", "halueval"),
    "C": ("phd-text", "phd"),
    "D": ("halueval", "rlhfv"),
    "E": ("halueval phd-text", "rlhfv phd"),
}
PICTURES = {"A": "", "B": "black", "C": "file", "D": "file", "E": "file"}
"""What multimodal models are shown."""


@pytest.fixture
def files(tmp_path: Path) -> dict[Part, Path]:
    """A small file of each data set, in a folder with the images."""
    (tmp_path / "images").mkdir()
    for i in range(12):
        Image.new("RGB", (8, 8), (20 * i, 0, 0)).save(tmp_path / "images" / f"{i}.png")
    table = "".join(f"The thing {i} is here.,Where is {i}?,here,there\n" for i in range(6))
    (tmp_path / "qa.csv").write_text("knowledge,raw_question,correct_answer,hallucinated_answer\n" + table)
    made: dict[Part, Path] = {"halueval": tmp_path / "qa.csv"}
    parts: dict[Part, dict[str, Any]] = {"phd": {}, "rlhfv": {}, "phd_text": {"image": None}}
    for part, change in parts.items():
        made[part] = tmp_path / f"{part}.jsonl"
        rows = [
            {"question": f"Is there a {part} {i}?", "answer": ["yes", "no"][i // 2 % 2], "image": f"{i}.png"}
            | {"label": ["gold", "hallucinated"][i % 2], "question_id": i}
            | ({"context": f"There is thing {i}."} if part == "phd_text" else {})
            for i in range(12)
        ]
        made[part].write_text("".join(json.dumps(row | change) + "\n" for row in rows))
    return made


@pytest.mark.parametrize("setting", TABLE)
def test_table_of_the_paper(files: dict[Part, Path], setting: Setting) -> None:
    for multimodal in (False, True):
        sources = setting_sources(setting, multimodal, files)
        assert " ".join(source.partition(":")[0] for source in sources) == TABLE[setting][multimodal]
        rows = setting_examples(setting, multimodal, files, images=files["phd"].parent / "images", limit=10)
        assert len(rows) == 10 * len(sources)  # the limit is each part's
        assert len({row.id for row in rows}) == len(rows)
        assert {_pictured(row.image) for row in rows} == {PICTURES[setting] if multimodal else ""}
        assert any(row.context for row in rows) == (not multimodal or setting in "AB")


def _pictured(image: str) -> str:
    return image if image in ("", BLACK) else "file"


@pytest.mark.parametrize("setting", TABLE)
def test_the_zoo(setting: Setting) -> None:
    """A, B and D give text models the questions of zoo:text."""
    rows = setting_examples(setting, False, {}, limit=40, seed=3)
    text, presence = (load_examples(f"zoo:{name}", limit=40, seed=3) for name in ("text", "presence"))
    assert rows == {"C": presence, "E": text + presence}.get(setting, text)
    assert setting_sources(setting, True, {}) == {
        "C": ["zoo:image-presence"],
        "D": ["zoo:image"],
        "E": ["zoo:image", "zoo:image-presence"],
    }.get(setting, ["zoo:text"])
    shown = setting_examples(setting, True, {}, limit=8)
    assert {_pictured(row.image) for row in shown} == {PICTURES[setting]}


def test_phd_without_contexts_is_closed_book_for_text_models(files: dict[Part, Path]) -> None:
    only: dict[Part, Path] = {"halueval": files["halueval"], "phd": files["phd"]}
    with gathered_notices() as said:
        rows = setting_examples("E", False, only)
    assert setting_sources("E", False, only)[1].startswith("phd-text:")
    assert len(rows) == 24 and not any(row.image for row in rows)
    (sentence,) = said
    assert "CLOSED BOOK: 12 of 12 rows" in sentence


def test_files_that_overlap_are_warned_of(files: dict[Part, Path]) -> None:
    """As where set E's file is given for RLHF-V, or where two files have the same rows with other labels."""
    images = files["phd"].parent / "images"
    overlapping: dict[Part, Path] = {**files, "rlhfv": files["phd"]}
    with gathered_notices() as said:
        rows = setting_examples("E", True, overlapping, images=images)
    assert len({row.id for row in rows}) == len(rows) == 24
    assert len(said) == 1 and "12 of the 24 rows" in said[0] and "repeat other rows" in said[0]
    turned = files["rlhfv"].with_name("turned.jsonl")
    other = {"gold": "hallucinated", "hallucinated": "gold"}
    rows = [json.loads(line) for line in files["phd"].read_text().splitlines()]
    turned.write_text("".join(json.dumps(row | {"label": other[row["label"]]}) + "\n" for row in rows))
    with gathered_notices() as said:
        setting_examples("E", True, {**files, "rlhfv": turned}, images=images)
    assert "label 12 of the 12 answers that both have oppositely" in said[0]
    assert "turned.jsonl" in said[0] and "phd.jsonl" in said[0]


@pytest.mark.usefixtures("unchecked")
def test_what_is_missing_is_named(files: dict[Part, Path]) -> None:
    with pytest.raises(InputError, match="there is no setting 'F'; the settings are A, B, C, D, E"):
        setting_examples("F", False, {})  # pyright: ignore[reportArgumentType] (on purpose)
    cases: list[tuple[Setting, bool, Part, str]] = [
        ("D", True, "halueval", "probes multimodal models on RLHF-V, .* give --rlhfv FILE, or no files"),
        ("D", False, "rlhfv", "probes text models on HaluEval, .* give --halueval FILE"),
        (
            "E",
            False,
            "halueval",
            "probes text models on HaluEval and PhD as text, .* give --phd-text FILE, or --phd FILE for its",
        ),
        (
            "E",
            True,
            "rlhfv",
            "probes multimodal models on RLHF-V and PhD, and the file of PhD is missing: give --phd FILE",
        ),
    ]
    for setting, multimodal, given, complaint in cases:
        with pytest.raises(InputError, match=f"setting {setting} {complaint}"):
            setting_examples(setting, multimodal, {given: files[given]})
    with pytest.raises(InputError, match="--images FOLDER"):
        setting_examples("D", True, files)


@pytest.mark.zoo
def test_flags_that_contradict_one_another(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out, rows = ("--out", tmp_path / "out"), tmp_path / "x.jsonl"
    rows.touch()
    for command in ("probe", "inherit"):
        refused(capsys, "--data zoo:text and --setting D", command, "--data", "zoo:text", "--setting", "D", *out)
        refused(capsys, "no file of rows whose images lie", command, "--setting", "D", "--images", tmp_path, *out)
        refused(capsys, "--phd-text belongs to a setting", command, "--phd-text", rows, *out)
    refused(capsys, "the file of HaluEval is missing", "probe", "--setting", "A", "--phd", rows, *out)
    assert run(capsys, "probe", "--setting", "F", *out)[0] == 2
    refused(capsys, "no such folder of images", "probe", "--data", "phd:x.jsonl", "--images", tmp_path / "none", *out)
    assert not (tmp_path / "out").exists()


@pytest.mark.zoo
def test_probe_by_setting(capsys: pytest.CaptureFixture[str], tmp_path: Path, files: dict[Part, Path]) -> None:
    """A text model gets HaluEval in setting D; and data with labels of both kinds for an answer is warned of."""
    model = ("probe", "--model", "zoo:llama-base", "--permutations", "0", "--folds", "2", "--out", tmp_path / "out")
    (tmp_path / "twice.jsonl").write_text(
        "".join(
            json.dumps({"question": "What colour is the heart?", "answer": a, "label": label, "group": g}) + "\n"
            for g, a, label in [("1", "red", 1), ("2", "red", 0), ("3", "lilac", 1), ("4", "azure", 0)]
        )
    )
    code, said, _ = run(capsys, *model, "--data", tmp_path / "twice.jsonl")
    assert code == 0 and "LABEL CONFLICT: 1 of 3 answers are labelled both supported and hallucinated" in said
    assert "LABEL CONFLICT" in json.loads((tmp_path / "out" / "result.json").read_text())["warnings"][0]

    code, said, _ = run(capsys, *model, "--setting", "D", "--limit", "40")
    assert code == 0 and "zoo:text (setting D)" in said
    scores = HeadScores.load(tmp_path / "out" / "scores.safetensors")
    run(capsys, *model, "--limit", "40")
    assert (HeadScores.load(tmp_path / "out" / "scores.safetensors").values == scores.values).all()
    assert scores.provenance["examples"] == examples_hash(load_examples("zoo:text", limit=40))


def test_a_multimodal_model_is_probed_on_images(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, files: dict[Part, Path]
) -> None:
    """A tiny LLaVA: RLHF-V with its images in setting D, HaluEval with a black image in B."""
    build_multimodal("llava", tmp_path / "llava")
    flags = ("--model", tmp_path / "llava", "--permutations", "0", "--folds", "2", "--out", tmp_path / "out")
    for part in ("halueval", "rlhfv"):
        flags += (f"--{part}", files[part])
    images = files["rlhfv"].parent / "images"
    expected = {
        "D": load_examples(f"rlhfv:{files['rlhfv']}", images=images),
        "B": [replace(row, image=BLACK) for row in load_examples(f"halueval:{files['halueval']}")],
    }
    for setting, rows in expected.items():
        assert run(capsys, "probe", "--setting", setting, "--images", images, *flags)[0] == 0
        scores = HeadScores.load(tmp_path / "out" / "scores.safetensors")
        assert scores.provenance["examples"] == examples_hash(rows)


@pytest.mark.zoo
def test_models_are_scored_on_the_data_of_their_kind(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Setting C for a text model, and a second that is taken for a multimodal one, on the same presence questions; what
    was kept for one kind of data is not taken for another."""
    text = load_examples("zoo:presence", limit=60)
    (tmp_path / "seen").mkdir()
    asked: list[bool] = []

    def examples(setting: str, multimodal: bool, files: object, **flags: Any) -> Any:
        asked.append(multimodal)
        return text[20:] if multimodal else text[:40]

    monkeypatch.setattr("lens_truth.data.loading.setting_examples", examples)
    monkeypatch.setattr(model_images, "is_multimodal", lambda model: "chat" in model.cfg.model_name)
    flags = ("--setting", "C", "--probe-seeds", "1", "--scores", "truth", "--out", tmp_path)
    pair = ("zoo:llama-base", "zoo:llama-chat")
    code, said, _ = run(capsys, "inherit", *pair, *flags)
    assert code == 0 and asked == [False, True]
    assert "truth scores on zoo:presence (setting C)" in said and "zoo:image-presence (setting C)" in said
    results = json.loads((tmp_path / "result.json").read_text())["results"]
    assert list(results["data"]) == ["llama-base", "llama-chat"]
    kept = {path: HeadScores.load(path) for path in sorted((tmp_path / "scores").iterdir())}
    assert [its.provenance["runs"] for its in kept.values()] == [
        [examples_hash(text[:40])],
        [examples_hash(text[20:])],
    ]
    before = {path: path.stat().st_mtime_ns for path in kept}
    run(capsys, "inherit", *pair, *flags)
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    monkeypatch.setattr(model_images, "is_multimodal", lambda model: True)
    run(capsys, "inherit", *pair, *flags)
    assert [path.stat().st_mtime_ns == before[path] for path in kept] == [False, True]


@pytest.mark.zoo
def test_without_pairs_of_answers_a_model_has_truth_scores_only(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PhD asks once. A model on other data keeps its causal scores, and files stand with the kind that all have."""
    pairs = load_examples("zoo:text", limit=80)
    once = [row for row in pairs if row.label == int(row.group[-1], 36) % 2]
    monkeypatch.setattr(
        "lens_truth.data.loading.setting_examples",
        lambda setting, multimodal, *_, **__: once if multimodal else pairs,
    )
    monkeypatch.setattr(model_images, "is_multimodal", lambda model: "chat" in model.cfg.model_name)
    np.save(tmp_path / "file.npy", np.random.default_rng(0).normal(size=(6, 8)))
    inputs = ("zoo:llama-base", tmp_path / "file.npy", "zoo:llama-chat")
    flags = ("--setting", "D", "--probe-seeds", "1", "--scores", "causal", "truth", "--out", tmp_path / "out")
    code, said, _ = run(capsys, "inherit", *inputs, *flags)
    assert code == 0 and "zoo:image (setting D): no question has answers of both labels" in said
    results = json.loads((tmp_path / "out" / "result.json").read_text())["results"]
    assert set(results["heritability"]) == {"truth"} and set(results["truth_causal"]["values"]) == {"llama-base"}
    assert results["heritability"]["truth"]["names"] == ["llama-base", "file", "llama-chat"]


def test_runs_of_a_setting() -> None:
    """The default of `inherit`: on the zoo every run draws its own examples, the same as those of zoo:text."""
    config = Scoring(limit=20, probe_seeds=2, seed=5)
    runs = ProbingRuns(ProbingData(setting="D"), config).of(multimodal=False)
    assert list(runs) == [5, 6] and runs == ProbingRuns(ProbingData("zoo:text"), config).of(multimodal=False)
    assert runs[5] == load_examples("zoo:text", limit=20, seed=5) != runs[6]
    with pytest.raises(InputError, match="0 probing runs"):
        ProbingRuns(ProbingData("zoo:text"), Scoring(probe_seeds=0))


def test_short_names() -> None:
    names = ["halueval:a/b.csv", "a/b.jsonl", "phd-text:/x/y.jsonl.gz", "conflict:squad:a/b.json", "conflict:a/b.csv"]
    short = ["halueval:b.csv", "b.jsonl", "phd-text:y.jsonl.gz", "conflict:squad:b.json", "conflict:b.csv"]
    assert [short_name(name) for name in names] == short
    whole = ["zoo:text/test", "facts:conflict@passing/test", "facts:agreeing/test"]
    assert [short_name(name) for name in whole] == whole
