"""What gates do to text that nothing is asked about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lens_truth.ablation import side_effects as effects
from lens_truth.ablation.side_effects import side_effects, text_file, zoo_text
from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.gates.rows import attach_rows


def test_side_effects_by_hand(zoo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = zoo("llama-base")
    draw = torch.Generator().manual_seed(0)
    gate = HeadGate(1 + 0.5 * torch.randn(6, 8, generator=draw))
    text = replace(zoo_text(0), passages=zoo_text(0).passages[:12])
    found = side_effects(model, {"vanilla": None, "gate": gate}, text, batch_size=16)
    kl, surprise, vanilla_surprise, n = 0.0, 0.0, 0.0, 0
    for passage in text.passages:
        ids = torch.tensor([model.tokenizer(passage)["input_ids"]])
        with torch.no_grad():
            plain = model(ids)[0, :-1].log_softmax(-1)
            with gate.attach(model):
                gated = model(ids)[0, :-1].log_softmax(-1)
        kl += float(torch.nn.functional.kl_div(gated, plain, reduction="sum", log_target=True))
        surprise += float(torch.nn.functional.nll_loss(gated, ids[0, 1:], reduction="sum"))
        vanilla_surprise += float(torch.nn.functional.nll_loss(plain, ids[0, 1:], reduction="sum"))
        n += ids.shape[1] - 1
    assert found["gate"].kl == pytest.approx(kl / n, rel=1e-4)
    assert found["gate"].cross_entropy == pytest.approx(surprise / n, rel=1e-4)
    assert found["vanilla"].kl == pytest.approx(0, abs=1e-6)
    assert found["vanilla"].cross_entropy == pytest.approx(vanilla_surprise / n, rel=1e-4)
    passed: list[int] = []

    def spy(model: Any, gates: Any) -> Any:
        passed.append(len(gates))
        return attach_rows(model, gates)

    monkeypatch.setattr(effects, "attach_rows", spy)
    same = side_effects(model, {"ones": HeadGate(torch.ones(6, 8)), "gate": gate, "again": gate, "vanilla": None}, text)
    assert sum(passed) == 2 * len(text.passages)  # none and one gate
    assert same["ones"] == same["vanilla"] and same["again"] == same["gate"]
    assert same["ones"].kl == 0 and same["gate"].kl == pytest.approx(found["gate"].kl, rel=1e-4)
    for batch_size in (1, 5):
        again = side_effects(model, {"vanilla": None, "gate": gate}, text, batch_size=batch_size)
        assert again["gate"].kl == pytest.approx(found["gate"].kl, rel=1e-4)


def test_neutral_text_from_a_file(zoo: Any, tmp_path: Path) -> None:
    path = tmp_path / "prose.txt"
    path.write_text("It was the best of times, it was the worst of times. " * 100)
    text = text_file(path)
    assert text.name == "prose" and len(text.passages) == 16 and len(set(text.passages)) > 1
    effect = side_effects(zoo("llama-base"), {"vanilla": None}, text)["vanilla"]
    assert abs(effect.kl) < 1e-6 and effect.cross_entropy > 1
    path.write_text("too short")
    with pytest.raises(InputError, match=r"prose\.txt: holds 9 characters; a neutral text needs at least 1024"):
        text_file(path)
