"""A gate in a GGUF file's own weights computes what it does in the model that is read from the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("gguf")

from gguf_writer import projections, tiny, write_gguf
from test_gguf_architectures import MODELS, SIZES

from lens_truth.gates.gate import HeadGate
from lens_truth.models.loading import load_plain
from lens_truth.models.structure import heads_of

IDS = torch.randint(3, 90, (2, 24), generator=torch.Generator().manual_seed(1))
QUANTISED = {**SIZES, "hidden_size": 256, "num_hidden_layers": 2}


def read(path: Path) -> Any:
    return load_plain(str(path), dtype="float32", attn="eager")  # two architectures have nothing else


def logits(hf: Any) -> torch.Tensor:
    with torch.no_grad():
        return hf(IDS).logits


def gate_for(hf: Any, site: Any = "z") -> HeadGate:
    heads = heads_of(hf)
    values = 1 + 0.5 * torch.rand(heads.n_layers, heads.n_heads, generator=torch.Generator().manual_seed(2))
    return HeadGate(values, site)


SITES = [*((name, "z") for name in MODELS), *((name, "block") for name in ("gpt2", "starcoder2", "gemma3"))]


@pytest.mark.parametrize(("name", "site"), SITES)
def test_a_head_is_the_same_head_in_the_file_and_in_the_model(name: str, site: str, tmp_path: Path) -> None:
    source = write_gguf(tmp_path / "it.gguf", tiny(MODELS[name][0], **MODELS[name][1]))
    hf = read(source)
    gate = gate_for(hf, site)
    fold = gate.fold_into_gguf(source, tmp_path / "gated.gguf")
    assert fold.rms == 0 and fold.formats == {"F32": len(gate.values)}
    assert torch.equal(logits(read(tmp_path / "gated.gguf")), logits(gate.fold_into(hf)))


@pytest.mark.parametrize("site", ["z", "block"])
@pytest.mark.parametrize("kind", ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q3_K", "Q4_K", "Q6_K"])
def test_a_quantised_file_computes_what_its_numbers_with_the_gate_do(kind: str, site: str, tmp_path: Path) -> None:
    made = tiny("llama", **QUANTISED)
    source = write_gguf(tmp_path / "it.gguf", made, exchanged=projections(made, kind))
    hf = read(source)
    gate = gate_for(hf, site)
    fold = gate.fold_into_gguf(source, tmp_path / "gated.gguf")
    assert fold.formats == {kind: 2} and fold.rms < (0.3 if kind.endswith("K") else 0.1)
    plain, wanted = logits(hf), logits(gate.fold_into(hf))
    off = float((logits(read(tmp_path / "gated.gguf")) - wanted).norm())
    near = 0.03 if kind.endswith("K") and site == "z" else 0.005 if kind == "BF16" else 0.002
    assert off < near * wanted.norm()
    assert off < 0.2 * (plain - wanted).norm()
