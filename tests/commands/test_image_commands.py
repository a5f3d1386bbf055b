"""Commands on multimodal models: benchmarks about images, ablation, gating, checks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import flat_scores, refused, run
from multimodal import build_multimodal
from PIL import Image
from transformers import AutoModelForImageTextToText, LlavaProcessor

from lens_truth.models.loading import load

pytestmark = pytest.mark.usefixtures("no_pdfs")

ANIMALS = ["cat", "dog", "bird"]


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def results_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())["results"]


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llava")
    build_multimodal("llava", folder)
    return folder


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder, draw = tmp_path / "photographs", np.random.default_rng(0)
    folder.mkdir()
    for number, size in enumerate([(40, 60), (61, 33), (50, 50)], start=1):
        Image.fromarray(draw.integers(0, 255, (*size, 3), dtype=np.uint8)).save(folder / f"00{number}.jpg")
    return folder


@pytest.fixture
def questions(tmp_path: Path) -> list[Path]:
    def rows(words: list[str]) -> list[dict[str, Any]]:
        labels = zip(words, ("yes", "no", "yes", "no"), strict=True)
        return [
            {"question_id": n, "image": f"00{n % 3 + 1}.jpg", "text": f"Is there a {word}?", "label": label}
            for n, (word, label) in enumerate(labels)
        ]

    return [lines(tmp_path / f"{name}.json", rows([*ANIMALS, name])) for name in ("random", "popular")]


def test_pope_asks_about_images(
    capsys: pytest.CaptureFixture[str], llava: Path, photographs: Path, questions: list[Path], tmp_path: Path
) -> None:
    flags = ("--model", llava, "--questions", *questions, "--images", photographs, "--out", tmp_path / "out")
    code, said, _ = run(capsys, "evaluate", "pope", *flags)
    results = results_of(tmp_path / "out")
    assert code == 0 and "answers 8 questions about 3 images" in said and results["n"] == 8
    assert list(results["splits"]) == ["random", "popular"] and results["splits"]["random"]["pope"]["n"] == 4
    answers = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    assert [answer["id"] for answer in answers].count("popular/3") == 1 and len(answers) == 5  # three stand in both
    before = (tmp_path / "out" / "answers.jsonl").read_bytes()
    run(capsys, "evaluate", "pope", *flags)  # nothing is asked twice,
    assert (tmp_path / "out" / "answers.jsonl").read_bytes() == before
    Image.new("RGB", (30, 30)).save(photographs / "001.jpg")
    run(capsys, "evaluate", "pope", *flags)  # unless an image has changed
    assert len((tmp_path / "out" / "answers.jsonl").read_text().splitlines()) == 8
    flags = (*flags, "--scores", flat_scores(tmp_path), "--lam", "2", "--norm", "minmax")
    code, _, _ = run(capsys, "evaluate", "pope", *flags)
    assert code == 0


def test_chair_lets_a_model_describe_images(
    capsys: pytest.CaptureFixture[str], llava: Path, photographs: Path, tmp_path: Path
) -> None:
    objects = tmp_path / "objects.json"
    objects.write_text(json.dumps({str(n): [animal] for n, animal in enumerate(ANIMALS, start=1)}))
    flags = ("--model", llava, "--images", photographs, "--objects", objects)
    code, said, _ = run(capsys, "evaluate", "chair", *flags, "--out", tmp_path / "all")
    assert code == 0 and "describes 3 images" in said and results_of(tmp_path / "all")["n"] == 3
    listed = lines(tmp_path / "list.jsonl", [{"image_id": n, "file_name": f"val/00{n}.jpg"} for n in (3, 1)])
    code, _, _ = run(capsys, "evaluate", "chair", *flags, "--image-list", listed, "--out", tmp_path / "two")
    captions = [json.loads(line) for line in (tmp_path / "two" / "captions.jsonl").read_text().splitlines()]
    assert code == 0 and [caption["image_id"] for caption in captions] == ["3", "1"]
    lines(listed, [{"file_name": "004.jpg"}])
    code, _, err = run(capsys, "evaluate", "chair", *flags, "--image-list", listed, "--out", tmp_path / "none")
    assert code == 2 and "1 of 1 images are not there" in err


@pytest.mark.zoo
def test_benchmarks_on_the_zoos_pictures(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    flags = ("--model", "zoo:llava-memory", "--limit", "40")
    code, said, _ = run(capsys, "evaluate", "pope", *flags, "--out", tmp_path / "pope")
    results = results_of(tmp_path / "pope")
    assert code == 0 and "shown in pictures" in said and results["accuracy"] > 0.85
    assert list(results["splits"]) == ["random", "popular", "adversarial"] and results["n"] == 120
    code, _, _ = run(capsys, "evaluate", "chair", *flags, "--out", tmp_path / "chair")
    results = results_of(tmp_path / "chair")
    assert code == 0 and results["chair_s"] < 0.6 and results["recall"] > 0.7
    code, _, _ = run(capsys, "evaluate", "judge", *flags, "--data", "zoo:image/test", "--out", tmp_path / "judge")
    assert code == 0 and results_of(tmp_path / "judge")["accuracy"] > 0.8
    code, _, _ = run(capsys, "evaluate", "choose", *flags, "--data", "zoo:image/test", "--out", tmp_path / "choose")
    assert code == 0 and results_of(tmp_path / "choose")["accuracy"] > 0.8


@pytest.mark.zoo
def test_scores_of_the_base_gate_its_multimodal_child(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    models = ("--model", "zoo:llava-memory", "--scores-from", "zoo:llama-memory", "--scores", "causal")
    small = ("--questions", "4", "--limit", "20", "--trials", "1", "--random-gate", "--lam", "0.1")
    code, said, _ = run(capsys, "ablate", *models, *small, "--out", tmp_path)
    results = results_of(tmp_path)["ablation"]
    rows = [row for row in results["rows"] if row["gate"] == "causal"]
    assert code == 0
    assert [row["benchmark"] for row in rows] == [
        "image-conflict",
        "image-open",
        "image-judgement",
        *(f"image-presence-{kind}" for kind in ("random", "popular", "adversarial")),
        "image-describe",
        "image-conflict-describe",
    ]
    controls = {"vanilla", "permuted", "uniform", "inverse", "norm-matched", "random"}
    assert set(rows[0]["against"]) - {"uniform (tuned)"} == controls  # which two validation questions need not want
    assert {row["gate"] for row in results["rows"] if not row["of"]} == {"vanilla", "causal", "own causal", "random"}
    captions = [row["captions"] for row in results["rows"] if row["benchmark"] == "image-describe"]
    assert all(0 <= c["chair_i"] <= c["chair_s"] <= 1 and c["length"] > 5 for c in captions[:1])
    assert "CHAIR_s" in said and "zoo:llava-memory, causal gate on image-" in said
    assert (tmp_path / "zoo-llava-memory-causal.safetensors").is_file()  # its own, from pictures


def test_a_gated_multimodal_model_is_a_plain_checkpoint(
    capsys: pytest.CaptureFixture[str], llava: Path, tmp_path: Path
) -> None:
    scores = flat_scores(tmp_path)
    flags = ("--model", llava, "--scores", scores, "--lam", "1", "--norm", "minmax", "--save", tmp_path / "gated")
    code, said, _ = run(capsys, "gate", *flags)
    assert code == 0 and "AutoModelForImageTextToText.from_pretrained" in said
    AutoModelForImageTextToText.from_pretrained(tmp_path / "gated")
    assert load(str(tmp_path / "gated")).image_processor is not None


@pytest.mark.zoo
def test_a_gated_model_keeps_its_processor(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    np.save(tmp_path / "scores.npy", np.full((6, 8), 0.5))
    flags = ("--scores", tmp_path / "scores.npy", "--lam", "1", "--norm", "minmax", "--save", tmp_path / "gated")
    code, said, _ = run(capsys, "gate", "--model", "zoo:llava", *flags)
    assert code == 0 and "a LlavaForConditionalGeneration: " in said
    processor = LlavaProcessor.from_pretrained(tmp_path / "gated", backend="pil")
    image = Image.new("RGB", (48, 48))
    made = processor(images=image, text="<image>\nWhat?", return_tensors="pt")
    assert int((made["input_ids"] == 378).sum()) == 16
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "gated")
    assert model(**made).logits.shape[1] == made["input_ids"].shape[1]


def test_check_looks_at_images(capsys: pytest.CaptureFixture[str], llava: Path) -> None:
    code, said, _ = run(capsys, "check", llava)
    assert code == 0 and said.count("\nok  ") == 19 and "generation with an image gives the same tokens" in said


BAD = [
    (("evaluate", "pope", "--model", "zoo:llama-chat"), "zoo:llama-chat is a text model, which cannot be shown images"),
    (("evaluate", "pope", "--model", "./bare"), "bare has no image processor (preprocessor_config.json)"),
    (
        ("probe", "--model", "zoo:llama-base", "--data", "zoo:image", "--limit", "80"),
        "is a text model, which cannot be",
    ),
    (("ablate", "--images", "photographs"), "--images is a folder for data from files; the zoo draws its own"),
]


@pytest.mark.zoo
@pytest.mark.parametrize(("arguments", "complaint"), BAD, ids=[complaint[:30] for _, complaint in BAD])
def test_bad_input(
    capsys: pytest.CaptureFixture[str],
    llava: Path,
    photographs: Path,
    questions: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bare").mkdir()
    for path in llava.iterdir():
        if path.name != "preprocessor_config.json":
            (Path("bare") / path.name).write_bytes(path.read_bytes())
    if arguments[1] == "pope":
        arguments = (*arguments, "--images", str(photographs), "--questions", *map(str, questions))
    refused(capsys, complaint, *arguments, "--out", "out")
    assert not Path("out").exists()
