"""`compare`: what it compares, on which data, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import refused, run
from multimodal import build_multimodal
from PIL import Image

from lens_truth.commands.compare import Config
from lens_truth.commands.compare_data import compared_parts
from lens_truth.gates.gate import HeadGate
from lens_truth.models.loading import load
from lens_truth.page.write import write_report
from lens_truth.rivals.result import RivalComparison
from lens_truth.scoring.scores import HeadScores

pytestmark = pytest.mark.usefixtures("no_pdfs")
SMALL = ("--questions", "6", "--limit", "40")
ANIMALS = ["cat", "dog", "bird"]


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llava")
    build_multimodal("llava", folder)
    return folder


@pytest.fixture
def photographs(tmp_path: Path) -> dict[str, Path]:
    folder, draw = tmp_path / "photographs", np.random.default_rng(0)
    folder.mkdir()
    for number in range(1, 10):
        Image.fromarray(draw.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(folder / f"00{number}.jpg")
    rows = [
        {"question_id": n, "image": f"00{n // 3 + 1}.jpg", "text": f"Is there a {ANIMALS[n % 3]}?", "label": label}
        for n, label in enumerate(["yes", "no", "no"] * 9)
    ]
    objects = tmp_path / "objects.json"
    objects.write_text(json.dumps({str(n): [ANIMALS[n % 3], "dining table"] for n in range(1, 10)}))
    return {"images": folder, "pope": lines(tmp_path / "random.json", rows), "objects": objects}


@pytest.mark.zoo
def test_compare_on_the_zoo(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    gate = tmp_path / "gate.safetensors"
    HeadGate(torch.full((6, 8), 1.2)).save(gate)
    wanted = ("--methods", "cad", "uniform", "cad+uniform", "--under", gate, "--timed", "2")
    flags = ("--questions", "4", "--limit", "20", *wanted, "--out", tmp_path / "out")
    code, said, _ = run(capsys, "compare", *flags)
    assert code == 0 and "compared: cad, uniform, cad+uniform, gate, cad+gate" in said and "In words:" in said
    found = RivalComparison.load(tmp_path / "out")
    assert list(found.search) == ["cad", "uniform", "cad+uniform", "gate", "cad+gate"] and "gate" in found.tested
    assert found.headline == "conflict" and list(found.texts["gate"]) == ["zoo"]
    assert next(iter(found.costs)) == "vanilla" and len(found.costs) == 6
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written > {"answers.jsonl", "result.json", "rivals.png", "table.md"}
    answers = (tmp_path / "out" / "answers.jsonl").read_bytes()
    run(capsys, "compare", *flags)  # nothing is asked twice, and all but times is the same
    again = RivalComparison.load(tmp_path / "out")
    assert (tmp_path / "out" / "answers.jsonl").read_bytes() == answers
    assert {**again.as_dict(), "costs": {}} == {**found.as_dict(), "costs": {}}
    write_report([tmp_path / "out"], out=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "What helps zoo:llama-memory-chat against hallucination" in page and "cad+gate" in page


@pytest.mark.zoo
def test_what_does_not_fit_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = [
        {"question": f"What is {n}?", "answer": str(n), "label": 1, "group": str(n), "context": ""} for n in range(12)
    ]
    data = lines(tmp_path / "rows.jsonl", rows)
    flags = ("--data", data, "--methods", "cad", "causal", "dola", "--timed", "0", "--new-tokens", "3")
    code, said, _ = run(capsys, "compare", *flags, "--out", tmp_path / "out")
    assert code == 0
    assert "left out: cad, since no question has a context or an image\n" in said
    assert "left out: causal, since there are no rows with answers of both labels to compute it on" in said
    found = RivalComparison.load(tmp_path / "out")
    assert list(found.left_out) == ["cad", "causal"] and list(found.search) == ["dola"] and not found.costs


@pytest.mark.zoo
def test_what_cannot_be_computed_is_left_out_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Rows of both labels, but no question with both, and too few groups for folds."""
    rows = [
        {"question": f"What is {n}?", "answer": str(n), "label": int(n % 3 > 0), "group": str(n)} for n in range(10)
    ]
    data = lines(tmp_path / "rows.jsonl", rows)
    flags = ("--data", data, "--methods", "truth", "causal", "dola", "dynamic-entropy", "--timed", "0")
    code, said, _ = run(capsys, "compare", *flags, "--new-tokens", "3", "--out", tmp_path / "out")
    assert code == 0 and "left out: causal, since no question has both" in said
    assert (
        "left out: truth, since there are 4 groups, fewer than the 5 folds" in said
        and "left out: dynamic-entropy, since no question has both" in said
    )
    assert list(RivalComparison.load(tmp_path / "out").search) == ["dola"]


@pytest.mark.zoo
def test_scores_are_computed_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = (*SMALL, "--methods", "causal", "--timed", "0", "--out", tmp_path / "out")
    assert run(capsys, "compare", *flags)[0] == 0
    first = RivalComparison.load(tmp_path / "out")
    (tmp_path / "out" / "result.json").unlink()
    monkeypatch.setattr("lens_truth.commands.compare_given.scores_by_kind", None)
    assert run(capsys, "compare", *flags)[0] == 0
    assert RivalComparison.load(tmp_path / "out") == first


@pytest.mark.zoo
def test_heads_to_be_silent_come_from_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    scores = np.zeros((6, 8))
    scores[2, 3] = 1
    HeadScores(scores, "retrieval").save(tmp_path / "heads.safetensors")
    flags = (*SMALL, "--methods", "decore", "--heads", tmp_path / "heads.safetensors", "--timed", "0")
    code, _, _ = run(capsys, "compare", *flags, "--out", tmp_path / "out")
    assert code == 0 and not json.loads((tmp_path / "out" / "result.json").read_text())["results"]["head_scores"]
    lists = tmp_path / "lists.json"
    lists.write_text('{"others": [[0, 0]], "copying": [[2, 3]]}')
    flags = (*flags[:6], "--heads", f"{lists}#copying", *flags[-2:])
    code, _, _ = run(capsys, "compare", *flags, "--out", tmp_path / "part")
    both = [RivalComparison.load(tmp_path / name).search["decore"] for name in ("out", "part")]
    assert code == 0 and {its.norm for its in both[1]} == {"1 head silent, strength"} and both[0][:3] == both[1]
    code, _, _ = run(capsys, "compare", *flags[:6], "--timed", "0", "--out", tmp_path / "own")
    titles = json.loads((tmp_path / "own" / "result.json").read_text())["results"]["head_scores"]
    assert code == 0 and list(titles) == ["retrieval scores"]


def test_photographs_are_split_by_images(llava: Path, photographs: dict[str, Path]) -> None:
    model = load(str(llava))
    config = Config(pope=(photographs["pope"],), objects=(photographs["objects"],), images=photographs["images"])
    parts = compared_parts(config, model)
    assert [benchmark.name for benchmark in parts.test] == ["pope", "description"]
    shown = [
        {example.image for example in some}
        for some in (
            parts.to_score,
            *([e for its in side for e in its.examples] for side in (parts.validation, parts.test)),
        )
    ]
    assert all(shown) and not shown[0] & shown[1] and not shown[0] & shown[2] and not shown[1] & shown[2]
    assert len(set.union(*shown)) == 9
    assert {(e.answer, e.label) for e in parts.to_score} == {("yes", 1), ("yes", 0), ("no", 1), ("no", 0)}
    described = parts.test[1].examples[0]
    assert "dining table" in described.answer and described.question.startswith("Please describe")


def test_pope_and_chair_about_photographs(
    capsys: pytest.CaptureFixture[str], llava: Path, photographs: dict[str, Path], tmp_path: Path
) -> None:
    flags = [part for name, path in photographs.items() for part in (f"--{name}", path)]
    wanted = ("--methods", "cad", "uniform", "--timed", "0", "--template", "plain")
    code, _, _ = run(capsys, "compare", "--model", llava, *flags, *wanted, "--out", tmp_path / "out")
    found = RivalComparison.load(tmp_path / "out")
    assert code == 0 and {row.benchmark for row in found.rows} == {"pope", "description"}
    assert found.row("vanilla", "description").captions
    config = json.loads((tmp_path / "out" / "result.json").read_text())["config"]
    assert config["data"] == "random.json, objects.json"


@pytest.mark.zoo
def test_lists_of_another_model_are_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "heads.json"
    path.write_text("[[99, 1]]")
    flags = ("--methods", "cad", "decore", "--heads", path, "--out", tmp_path / "out")
    refused(capsys, f"{path}: layer 99, head 1 is on the list", "compare", *SMALL, *flags)
    HeadGate(torch.ones(2, 2)).save(tmp_path / "small.safetensors")
    small = f"--under {tmp_path / 'small.safetensors'}: "
    for name, said in (("small", small), ("none", "there is no such file")):
        gate = ("--methods", "cad", "--under", tmp_path / f"{name}.safetensors", "--out", tmp_path / "out")
        refused(capsys, said, "compare", *SMALL, *gate)


@pytest.mark.zoo
@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--methods", "magic"), "there is no method 'magic'; the methods are prompt, cad, "),
        (("--methods", "cad+truth+causal"), "--methods cad+truth+causal: one gate at most stands behind the +"),
        (("--methods", "truth+causal"), "--methods truth+causal: only ways to decode and to ask"),
        (("--methods", "cad+dola"), "what decodes or asks cannot stand in for a gate"),
        (("--methods",), "--methods is given no value"),
        (
            ("--methods", "cad", "--sibling", "zoo:llama-base"),
            "--sibling is for sibling and lol, which --methods leaves out",
        ),
        (("--methods", "cad", "--hallucination-heads", "a.json"), "--hallucination-heads is for adhh, which"),
        (("--data", "zoo:conflict/test", "--methods", "causal"), "gates are chosen and tested on the other splits"),
        (("--headline", "nothing", "--methods", "cad"), "there is no test benchmark 'nothing', only conflict, "),
        (("--timed", "-1"), "--timed is -1; it must be 0 or more"),
        (("--questions", "1"), "--questions must be at least 2"),
        (("--validation-share", "1"), "--validation-share is 1.0; it must lie between 0 and 1"),
        (("--validation-share", "0.3", "--methods", "cad"), "--validation-share is for files: zoo:conflict has a"),
        (("--new-tokens", "0"), "--new-tokens is 0; it must be at least 1"),
    ],
)
def test_bad_flags(capsys: pytest.CaptureFixture[str], tmp_path: Path, flags: tuple[str, ...], sentence: str) -> None:
    small = () if "--questions" in flags else SMALL
    refused(capsys, sentence, "compare", *small, *flags, "--out", tmp_path)


def test_photographs_need_their_folder(
    capsys: pytest.CaptureFixture[str], llava: Path, photographs: dict[str, Path], tmp_path: Path
) -> None:
    flags = ("compare", "--model", llava, "--pope", photographs["pope"], "--out", tmp_path / "out")
    refused(capsys, "--pope and --objects need --images", *flags)
    flags = ("compare", "--model", "zoo:llama-chat", *flags[3:], "--images", photographs["images"])
    refused(capsys, "is a text model, which cannot be shown images", *flags)
