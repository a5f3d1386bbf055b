"""What the README promises, run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from lens_truth.cli import COMMANDS
from lens_truth.evaluate.chair import Caption, read_synonyms, score_captions
from lens_truth.evaluate.chair_files import read_objects
from lens_truth.lineage.inheritance import heritability
from lens_truth.models.names import ZOO
from lens_truth.scoring.scores import HeadScores
from lens_truth.zoo.recipes import RECIPES

README = Path(__file__).parents[2] / "README.md"
DOCS = README.parent / "docs"


@pytest.mark.zoo
def test_python_example_says_what_its_comments_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
    promised = re.findall(r"# (\w+): what", code)
    exec(compile(code, str(README), "exec"), {})
    assert capsys.readouterr().out.split() == promised == ["black", "lilac"]
    assert AutoModelForCausalLM.from_pretrained("gated").config.num_hidden_layers == 6


def test_names_every_command() -> None:
    assert all(f"lens-truth {name}" in README.read_text() for name in COMMANDS)


@pytest.mark.zoo
def test_zoo_table() -> None:
    """The rows of docs/zoo.md are what was measured when the models were built."""
    asked = ("open", "judgement", "presence", "conflict", "agreeing", "closed-book", "memory-answers")
    for name in RECIPES:
        measured = json.loads((ZOO / name / "accuracies.json").read_text())
        row = cells(DOCS / "zoo.md", f"`zoo:{name}`")[2:]
        assert [float(cell) if cell else None for cell in row] == [measured.get(kind) for kind in asked]


def cells(path: Path, name: str) -> list[str]:
    """The cells of the table row that begins so, without Markdown's marks."""
    (row,) = (line for line in path.read_text().splitlines() if line.replace("*", "").startswith(f"| {name}"))
    return [cell.strip(" *") for cell in row.strip("|").split("|")]


T, R = "truthprobe/published/converted_score_cv5_head_metrics_", "retrieval/"
LLAMA3 = ("Meta-Llama-3-8B.json.gz", "Meta-Llama-3-8B-Instruct.json.gz")
PAIRS = {  # rows of docs/lineages.md: two score files and their KV heads
    "Llama 2 7B - Vicuna": (T + "llama2_halueval_292.npy", T + "vicuna_halueval_292.npy", 32),
    "Vicuna - LLaVA-1.5": (T + "vicuna_halueval_292.npy", T + "llava1.5_rlhfv_2726.npy", 32),
    "Vicuna - LLaVA-NeXT": (T + "vicuna_halueval_292.npy", T + "llava_next_rlhfv_2726.npy", 32),
    "LLaVA-1.5 - LLaVA-NeXT": (T + "llava1.5_rlhfv_2726.npy", T + "llava_next_rlhfv_2726.npy", 32),
    "Qwen2.5 - Qwen2.5-VL": (T + "qwen2.5_halueval_292.npy", T + "qwen2.5_vl_instruct_rlhfv_2726.npy", 4),
    "Qwen2.5 - Qwen2.5-Omni": (T + "qwen2.5_halueval_292.npy", T + "qwen2.5_vl_omni_rlhfv_2726.npy", 4),
    "Qwen2.5-VL - Qwen2.5-Omni": (T + "qwen2.5_vl_instruct_rlhfv_2726.npy", T + "qwen2.5_vl_omni_rlhfv_2726.npy", 4),
    "Llama 3 8B - Llama 3 8B Instruct": (R + LLAMA3[0], R + LLAMA3[1], 8),
    "Vicuna - Mistral": ("truthprobe/fig1/vicuna_setD_vicuna.csv", "truthprobe/fig1/vicuna_setD_mistral.csv", 32),
    "Llama 2 7B - Llama 3 8B": (R + "Llama-2-7b-hf.json.gz", R + LLAMA3[0], 32),
    "Llama 2 7B - Llama 2 7B": (T + "llama2_halueval_292.npy", R + "Llama-2-7b-hf.json.gz", 32),
    "Llama 2 7B - Llama 3.1 8B Instruct": (
        T + "llama2_halueval_292.npy",
        "iti/llama-3.1-8b-instruct_truthfulqa_mc2.npy",
        32,
    ),
}


@pytest.mark.published
@pytest.mark.parametrize("name", PAIRS)
def test_published_table(data: Path, name: str) -> None:
    """Every row of the table in docs/lineages.md, and those that README.md repeats."""
    one, other, kv = PAIRS[name]
    scores = {}
    for role, file in (("one", one), ("other", other)):
        loaded = HeadScores.load(data / "head_scores" / file)
        scores[role] = HeadScores(loaded.values, provenance={"n_kv_heads": kv})
    c = heritability(scores).correlations
    found = [float(c.pearson[0, 1]), float(c.pearson_within_layer[0, 1])]
    said = cells(DOCS / "lineages.md", name)
    assert [float(cell) for cell in said[2:4]] == pytest.approx(found, abs=0.00051)
    null = [float(number) for number in said[4].split(" to ")]
    assert null == pytest.approx(c.null_within_layer[0, 1], abs=0.012)
    for row in (line for line in README.read_text().splitlines() if line.startswith("|") and f" {name} |" in line):
        assert row.split("|")[2:4] == [f" {cell} " for cell in said[2:4]]


@pytest.mark.published
def test_chair_tables(data: Path) -> None:
    """The rows of docs/benchmarks.md on captions that were published with their scores."""
    published = json.loads((data / "chair" / "captions" / "published_chair_output.json").read_text())
    captions = [Caption(str(row["image_id"]), row["caption"]) for row in published["sentences"]]
    overall = published["overall_metrics"]
    shown = (DOCS / "benchmarks.md").read_text().replace("| | own |", "| published with scores, own |", 1)
    tables = shown.replace("| published with scores | official |", "| published with scores, official |")
    found = {"as published": [overall["CHAIRs"], overall["CHAIRi"], overall["Recall"], 100 * overall["Len"]]}
    for name, file in (("official", data / "chair" / "synonyms.txt"), ("own", None)):
        names = read_synonyms(file)
        objects = read_objects(data / "chair" / "coco2014_trainval_chair_objects.json.gz", names)
        score = score_captions(captions, objects, names)
        found[f"published with scores, {name}"] = [score.chair_s, score.chair_i or 0, score.recall or 0, score.length]
    for name, figures in found.items():
        (row,) = (line for line in tables.splitlines() if line.startswith(f"| {name} |"))
        chair_s, chair_i, recall, _, length = (float(cell) for cell in row.strip("|").split("|")[1:])
        assert [chair_s, chair_i, recall, length] == pytest.approx(figures, abs=0.00051)
