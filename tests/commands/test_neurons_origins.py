"""`lens-truth neurons origins` and `neurons mediate`: what they write, what a page shows of it, what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import refused, run

import lens_truth
from lens_truth.lineage.agreement import Heritability
from lens_truth.neurons.mediation_result import Mediation
from lens_truth.neurons.neuron_set import NeuronSet
from lens_truth.neurons.origins_result import NeuronOrigins
from lens_truth.page.write import write_report
from lens_truth.scoring.scores import HeadScores

FEW = ("--limit", "80", "--random", "2")


@pytest.fixture(scope="module")
def neurons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("neurons") / "neurons.safetensors"
    layer, neuron = np.repeat(np.arange(6), 3), np.concatenate([rng.choice(256, 3, replace=False) for _ in range(6)])
    NeuronSet(layer, neuron, np.where(np.arange(18) % 3 < 2, 1.0, -1.0), 0.0, (6, 256)).save(path)
    return path


def test_origins(neurons: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    flags = ("neurons", "origins", "--neurons", neurons, *FEW, "--permutations", "39", "--out", out)
    lineage = ("--lineage", "zoo:llama-seed1", "--unrelated", "zoo:llama-memory", "zoo:llama-seed1")
    code, said, _ = run(capsys, *flags, *lineage)
    assert code == 0 and "classifier" in said and "shuffled neurons" in said and "Floor" in said
    names = {"origins.png", "origins.pdf", "lineage.png", "lineage.pdf", "result.json", "activations"}
    names |= {f"scores-zoo-llama-{name}.safetensors" for name in ("memory", "memory-chat", "seed1")}
    assert {path.name for path in out.iterdir()} == names
    found, agree = NeuronOrigins.load(out), Heritability.load(out, "neurons")
    assert found.names == ("zoo:llama-memory", "zoo:llama-memory-chat") and set(found.ranks) == {
        *("AUROC in the base", "AUROC in the child", "weights kept")
    }
    assert agree.units == "neurons" and len(agree.names) == 3 and agree.floor is not None
    assert HeadScores.load(out / "scores-zoo-llama-memory.safetensors").values.shape == (6, 256)
    again = tmp_path / "page.html"
    write_report([out], out=again)
    page = again.read_text()
    assert "Origins of neurons" in page and "as it is; null: moved inside layers" in page
    assert "Neuron scores: zoo:llama-memory" in page


def test_mediate(neurons: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    flags = ("neurons", "mediate", "--neurons", neurons, *FEW)
    code, said, _ = run(capsys, *flags, "--heads", "6", "--out", out)
    assert code == 0 and "all neurons" in said and "layer-matched" in said
    assert {path.name for path in out.iterdir()} == {"mediation.png", "mediation.pdf", "result.json"}
    found = Mediation.load(out)
    assert found.heads == "6 heads removed" and found.n_neurons == 12 and found.n_questions == 20
    page = tmp_path / "page.html"
    write_report([out], out=page)
    assert "From heads through neurons" in page.read_text()
    HeadScores(np.random.default_rng(0).random((6, 8))).save(tmp_path / "scores.safetensors")
    code, _, _ = run(capsys, *flags, "--scores", tmp_path / "scores.safetensors", "--out", tmp_path / "b")
    assert code == 0 and Mediation.load(tmp_path / "b").n_questions == 40


def test_what_they_refuse(neurons: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("origins", "mediate"):
        start = ("neurons", name, "--out", tmp_path / "out")
        refused(capsys, "run `lens-truth neurons find`", *start)
        (tmp_path / "none.json").write_text("{}")
        refused(capsys, "names no neuron", *start, "--neurons", tmp_path / "none.json")
    start = ("neurons", "origins", "--neurons", neurons, "--out", tmp_path / "out", *FEW)
    refused(capsys, "are both zoo:llama-memory", *start, "--model", "zoo:llama-memory")
    refused(capsys, "is not among the models", *start, "--unrelated", "zoo:llama-seed2")
    refused(capsys, "names zoo:llama-memory alone", *start, "--unrelated", *["zoo:llama-memory"] * 2)
    related = ("--unrelated", "zoo:llama-memory", "zoo:llama-memory-chat")
    refused(capsys, "of which one was tuned from the other", *start, *related)
    copy = tmp_path / "copy"
    model = lens_truth.load("zoo:llama-memory-chat")
    for its in (model.original_model, model.tokenizer):
        its.save_pretrained(copy)
    refused(capsys, "have the same weights", *start, "--base", copy)
    assert not (tmp_path / "out" / "origins.png").exists()
    other = tmp_path / "other.safetensors"
    NeuronSet(np.array([0]), np.array([1]), np.array([1.0]), 0.0, (4, 10)).save(other)
    refused(capsys, "of a model with 4 layers x 10", *start, "--neurons", other)
    start = ("neurons", "mediate", "--neurons", neurons, "--out", tmp_path / "out", *FEW)
    refused(capsys, "the scores are of 48 heads", *start, "--heads", "0")
    gate = tmp_path / "gate.safetensors"
    NeuronSet.load(neurons).gate(0.0, (6, 256)).save(gate)
    refused(capsys, "is a gate of neurons", *start, "--gate", gate)


def test_a_copy_under_another_name_is_read_into_a_folder_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = lens_truth.load("zoo:llama-memory-chat")
    for its in (model.original_model, model.tokenizer):
        its.save_pretrained(tmp_path / "copy")
    flags = ("neurons", "--limit", "60", "--random", "1", "--nulls", "0", "--out", tmp_path / "out")
    for name in ("zoo:llama-memory-chat", tmp_path / "copy"):
        assert run(capsys, *flags, "--model", name)[0] == 0
