"""`lens-truth neurons scale`: what it writes, that it goes on where it stopped, the checkpoint, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import refused, run
from transformers import AutoModelForCausalLM

from lens_truth.gates.neuron_gate import NeuronGate
from lens_truth.models.loading import load
from lens_truth.models.neurons import neuron_grid
from lens_truth.neurons.neuron_set import NeuronSet
from lens_truth.neurons.scaling_result import NeuronScaling
from lens_truth.page.write import write_report

MODEL = "zoo:llama-memory"
FLAGS = ("neurons", "scale", "--model", MODEL, "--limit", "12", "--random", "2", "--layer-matched", "1")


@pytest.fixture(scope="module")
def neurons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("neurons") / "neurons.csv"
    NeuronSet(np.array([0, 2, 2, 4]), np.array([7, 11, 3, 0]), np.array([1.0, 2.0, 1.0, 0.5])).save(path)
    return path


@pytest.mark.usefixtures("no_pdfs")
def test_it_scales_and_folds(neurons: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    flags = (*FLAGS, "--neurons", neurons, "--alphas", "0", "3", "--save-folded", "3", "--out", out)
    code, said, _ = run(capsys, *flags)
    assert code == 0
    assert "zoo:conflict/test: going along" in said and "2 random sets" in said and "saved to" in said
    found = NeuronScaling.load(out)
    assert (found.n_neurons, found.alphas, [*found.measures]) == (4, (0.0, 1.0, 3.0), ["zoo:conflict/test"])
    record = json.loads((out / "result.json").read_text())
    assert record["command"] == "neurons scale" and record["results"]["folded"]["fold_agreement"]["kl"] < 1e-6
    gate = NeuronGate.load(out / "folded" / "lens_truth" / "neuron-gate.safetensors")
    assert (gate.values == 3).sum() == 4 and (gate.values == 1).sum() == gate.values.numel() - 4
    model = load(MODEL)
    ids = torch.tensor([[1, 5, 9, 3]])
    plain: Any = AutoModelForCausalLM.from_pretrained(out / "folded")
    with torch.no_grad(), gate.attach(model):
        assert torch.allclose(plain(ids).logits, model(ids), atol=1e-4)
    written = (out / "answers.jsonl").read_bytes()
    assert run(capsys, *flags)[0] == 0
    assert (out / "answers.jsonl").read_bytes() == written  # nothing was asked again
    assert NeuronScaling.load(out) == found
    page = tmp_path / "page.html"
    write_report([out], out=page)
    assert "Neurons of zoo:llama-memory, scaled" in page.read_text()


def test_what_it_refuses(neurons: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ("--out", tmp_path / "out")
    L, M = neuron_grid(load(MODEL))
    empty, other = tmp_path / "empty.safetensors", tmp_path / "other.csv"
    NeuronSet(np.array([1]), np.array([1]), np.array([-1.0]), 0.0, (L, M)).save(empty)
    NeuronSet(np.array([L]), np.array([1]), np.array([1.0])).save(other)
    refused(capsys, "no neuron is selected", *FLAGS, "--neurons", empty, *out)
    refused(capsys, f"there is no neuron 1 of layer {L}", *FLAGS, "--neurons", other, *out)
    refused(capsys, "alpha is nan; it must be a finite number", *FLAGS, "--neurons", neurons, "--alphas", "nan", *out)
    refused(capsys, "alpha is 1e+60; it must be", *FLAGS, "--neurons", neurons, "--alphas", "1e60", *out)
    refused(capsys, "alpha is nan; it must be", *FLAGS, "--neurons", neurons, "--save-folded", "nan", *out)
    assert not (tmp_path / "out" / "scaling.png").exists()  # before anything was asked
    refused(capsys, "alpha is 1 alone", *FLAGS, "--neurons", neurons, "--alphas", "1", *out)
    refused(capsys, "no question has both", *FLAGS[:4], "--limit", "1", "--neurons", neurons, *out)
    refused(capsys, "missing.json", *FLAGS, "--neurons", tmp_path / "missing.json", *out)
    folded = tmp_path / "out" / "folded"
    folded.mkdir(parents=True)
    (folded / "mine.txt").write_text("mine")
    refused(capsys, "was not written by this command", *FLAGS, "--neurons", neurons, "--save-folded", "3", *out)
    assert (folded / "mine.txt").read_text() == "mine"
