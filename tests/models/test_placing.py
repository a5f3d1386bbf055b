"""Layers on several devices, and weights that accelerate keeps on the CPU or the disk, change no number."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import cpu_offload, disk_offload, dispatch_model
from conftest import build

import lens_truth
from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.models import spreading
from lens_truth.models.hashing import weights_hash
from lens_truth.models.loading import load
from lens_truth.models.placing import device_of, devices_of
from lens_truth.models.spreading import Spread, spread_of

CPU = torch.device("cpu")
IDS = torch.randint(3, 60, (2, 9), generator=torch.Generator().manual_seed(0))
GATE = HeadGate(1 + torch.rand(3, 4, generator=torch.Generator().manual_seed(1)))


def spread(kind: str, folder: Path, family: str = "llama-bias-tied", **more: Any) -> Any:
    """A tiny model whose weights accelerate fetches for each layer, all of them or those of two layers."""
    hf = build(family, **more)
    if kind == "CPU":
        cpu_offload(hf, CPU)
    elif kind == "disk":
        disk_offload(hf, str(folder), CPU)
    else:
        rest = dict.fromkeys(
            ("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head", "model.layers.0"), "cpu"
        )
        dispatch_model(hf, {**rest, "model.layers.1": "disk", "model.layers.2": "disk"}, CPU, offload_dir=str(folder))
    return hf


@pytest.mark.parametrize("kind", ["CPU", "disk", "some layers"])
def test_offloaded_weights_change_nothing(kind: str, tmp_path: Path) -> None:
    plain, hf = build("llama-bias-tied"), spread(kind, tmp_path)
    model = load(hf)
    assert "offloaded" in devices_of(hf) and device_of(model) == CPU
    assert torch.equal(model(IDS), plain(IDS).logits)
    assert weights_hash(model) == weights_hash(plain) != weights_hash(GATE.fold_into(model))
    with GATE.attach(model), GATE.attach(plain_hooked := load(plain)):
        assert torch.equal(model(IDS), gated := plain_hooked(IDS))
    for gate in (GATE, HeadGate(GATE.values, "block")):
        folded, wanted = gate.fold_into(model), gate.fold_into(plain)
        assert torch.equal(folded(IDS).logits, wanted(IDS).logits)
    assert torch.allclose(GATE.fold_into(model)(IDS).logits, gated, atol=1e-4)
    assert torch.equal(hf(IDS).logits, plain(IDS).logits)


@pytest.mark.filterwarnings("ignore:Attempting to save a model with offloaded modules")
def test_a_gate_in_offloaded_weights_is_saved(tmp_path: Path) -> None:
    GATE.fold_into(load(spread("some layers", tmp_path, "llama"))).save_pretrained(tmp_path / "folded")
    assert torch.equal(load(tmp_path / "folded")(IDS), GATE.fold_into(build("llama"))(IDS).logits)


def test_a_copy_does_not_hold_offloaded_weights_again(tmp_path: Path) -> None:
    model = load(spread("CPU", tmp_path))
    projection = "model.layers.1.self_attn.{}_proj"
    for name, shared in (("q", True), ("o", False)):
        path = projection.format(name)
        own, other = (hf.get_submodule(path)._hf_hook for hf in (model.original_model, GATE.fold_into(model)))
        same = own.weights_map["weight"].data_ptr() == other.weights_map["weight"].data_ptr()
        assert same == shared, name


def test_scores_of_an_offloaded_model(tokenizer: Any, tmp_path: Path) -> None:
    rows = lens_truth.load_examples("zoo:conflict", limit=8)
    more = {"vocab_size": len(tokenizer)}
    models = [
        load(hf, tokenizer=tokenizer) for hf in (build("qwen2", **more), spread("disk", tmp_path, "qwen2", **more))
    ]
    plain, offloaded = (lens_truth.capture(model, rows, batch_size=3) for model in models)
    assert torch.equal(plain.z, offloaded.z) and plain.provenance == offloaded.provenance
    plain, offloaded = (lens_truth.causal_scores(model, rows, n_bootstrap=2).values for model in models)
    assert (plain == offloaded).all()


def test_weights_that_nothing_fetches_are_refused() -> None:
    hf = build("llama")
    hf.model.layers[1].mlp.to("meta")
    with pytest.raises(InputError, match="the weights of .* are not in memory"):
        weights_hash(hf)


def test_a_model_is_spread_over_what_there_is(tmp_path: Path) -> None:
    build("llama").save_pretrained(tmp_path)
    assert torch.equal(load(tmp_path, device="auto")(IDS), build("llama")(IDS).logits)


@pytest.mark.parametrize(
    "device", ["balanced", "cpu=60KB,disk", "cpu=20KB,disk=1GB", {"model": "cpu", "lm_head": "disk"}]
)
def test_a_model_is_spread_as_it_is_said(device: Any, tmp_path: Path) -> None:
    build("llama").save_pretrained(tmp_path)
    model = load(tmp_path, device=device)
    assert ("offloaded" in devices_of(model.original_model)) == (device != "balanced")
    assert torch.equal(model(IDS), build("llama")(IDS).logits)


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("cpu,cpu=1GB", "names one twice"),
        ("cpu=much", "'cpu' is given 'much', which is no size: write NAME=20GiB"),
        ("cpu=20KB", "need 0.00 GB, and only cpu may be used: name cpu or disk too"),
        ("cpu,cuda:7", "device 'cuda:7' cannot be used: .*sees no GPU"),
        ("auto,cpu", "device 'auto' cannot be used"),
        ({"": "nowhere"}, "device 'nowhere' cannot be used"),
        ({"": 0}, "device 'cuda:0' cannot be used"),
        (
            {"model.embed_tokens": "cpu", "lm_head": "disk"},
            "does not give any device for the following parameters: model.layers",
        ),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is said without a GPU")
def test_what_cannot_be_spread_is_refused(device: Any, said: str, tmp_path: Path) -> None:
    build("llama").save_pretrained(tmp_path)
    with pytest.raises(InputError, match=said):
        load(tmp_path, device=device)


def test_sizes_are_bytes_of_devices_as_accelerate_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreading, "check_device", lambda name: None)
    monkeypatch.setattr(spreading, "free_memory", lambda on: 7)
    assert spread_of("cuda:1") is None and spread_of("cpu") is None
    assert spread_of("sequential") == Spread("sequential")
    assert spread_of("cuda:0, cuda:1") == Spread("auto", {0: 7, 1: 7})
    assert spread_of("cuda=1.5GiB,cpu=2 MB,disk=9B") == Spread("auto", {0: 3 << 29, "cpu": 2_000_000, "disk": 9})
    assert spread_of({"model": "cuda:1", "head": 0, "norm": "cpu"}) == Spread({"model": 1, "head": 0, "norm": "cpu"})
    with pytest.raises(InputError, match="would in part go to the disk, and only cuda:0, cuda:1 may be used"):
        Spread("auto", {0: 7, 1: 7}).check_placed("it", SimpleNamespace(hf_device_map={"model": 0, "lm_head": "disk"}))


@pytest.mark.zoo
@pytest.mark.parametrize(("script", "n_compared"), [("two_devices.py", 13), ("two_devices_acting.py", 31)])
def test_layers_on_two_devices_change_nothing(script: str, n_compared: int) -> None:
    """On devices that are made up (`tests/devices.py`), which need a new PyTorch, and a process of their own."""
    if not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this PyTorch has no backends in Python")
    run = subprocess.run([sys.executable, Path(__file__).parent / script], capture_output=True, text=True, check=False)
    said = [line for line in run.stdout.splitlines() if line.startswith(("toy", "cpu"))]
    assert len(said) == n_compared and all(line.endswith(" same") for line in said), run.stdout + run.stderr[-2000:]
