"""`steer`, shifts in `ablate`, and `evaluate --gate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import flat_scores, refused, run
from transformers import AutoModelForCausalLM

from lens_truth.commands.steer import PROBES, SHIFT
from lens_truth.data.examples import write_examples
from lens_truth.data.loading import load_examples
from lens_truth.gates.gate import HeadGate
from lens_truth.gates.shift import HeadShift
from lens_truth.io.runs import write_record
from lens_truth.models.loading import load
from lens_truth.page.write import write_report
from lens_truth.scoring.capturing import capture
from lens_truth.scoring.head_probes import HeadProbes

SMALL = ("--data", "zoo:conflict", "--limit", "80")


def results_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def probes(zoo: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("probes") / "probes.safetensors"
    HeadProbes.fit(capture(zoo("llama-memory"), load_examples("zoo:conflict", limit=80))).save(path)
    return path


def test_a_damaged_run_is_listed_as_it_is(tmp_path: Path) -> None:
    results = {"alpha": 4.0, "heads": [[5, 3]], "sigma": ["wide"], "folded": False}
    write_record(tmp_path, {"command": "steer", "results": results})
    page = write_report([tmp_path], out=tmp_path / "page.html").read_text()
    assert "What is added to heads" not in page and "wide" in page


@pytest.mark.zoo
def test_steer_saves_a_plain_checkpoint_equal_to_the_attached_shift(
    capsys: pytest.CaptureFixture[str], zoo: Any, probes: Path, tmp_path: Path
) -> None:
    folder, flags = tmp_path / "steered", ("--model", "zoo:llama-memory", "--heads", "6", "--alpha", "4")
    code, said, _ = run(capsys, "steer", *flags, *SMALL, "--save", folder)
    assert code == 0 and "6 heads are shifted" in said and "a LlamaForCausalLM" in said
    shift, model = HeadShift.load(folder / SHIFT), zoo("llama-memory")
    wanted = HeadShift.from_probes(HeadProbes.load(probes), 4, 6)
    assert shift.provenance["heads"] == wanted.provenance["heads"] == results_of(folder)["results"]["heads"]
    torch.testing.assert_close(shift.vectors, wanted.vectors)
    assert torch.equal(HeadProbes.load(folder / PROBES).directions, HeadProbes.load(probes).directions)
    ids, plain = torch.tensor([[5, 9, 21, 7, 30]]), AutoModelForCausalLM.from_pretrained(folder)
    mask = torch.ones_like(ids)
    with torch.no_grad(), shift.attach(model):
        expected = model(ids, attention_mask=mask)
        torch.testing.assert_close(plain(ids, attention_mask=mask).logits, expected, rtol=1e-4, atol=1e-4)
    assert (model(ids, attention_mask=mask) - expected).abs().max() > 1e-3
    page = write_report([folder], out=tmp_path / "page.html").read_text()
    assert "What is added to heads" in page and "zoo:llama-memory steered at z" in page and "not known here" not in page
    layer, head = wanted.provenance["heads"][0]
    assert f"{layer}.{head}" in page and f"{4 * wanted.provenance['sigma'][0]:+.3f}" in page
    means = (*flags, *SMALL, "--probes", probes, "--direction", "mass-mean")
    assert run(capsys, "steer", *means, "--save", folder)[0] == 0  # its own folder may be replaced
    other = HeadShift.load(folder / SHIFT)
    assert other.provenance["direction"] == "mass-mean" and not torch.equal(other.vectors, shift.vectors)
    assert not (folder / PROBES).exists()  # they lie where they were read


def test_where_nothing_can_be_folded_the_shift_is_saved_alone(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, tmp_path: Path
) -> None:
    """Qwen2's output projections have no bias, and its config no switch for one."""
    folder, flags = tmp_path / "steered", ("--model", tiny_folder, "--heads", "3", *SMALL)
    code, said, _ = run(capsys, "steer", *flags, "--save", folder)
    assert code == 0 and "not folded: Qwen2ForCausalLM has no bias on its o_proj" in said
    assert sorted(path.name for path in folder.iterdir()) == ["lens_truth", "result.json"]
    assert results_of(folder)["results"]["folded"] is False

    asked = ("--model", tiny_folder, "--data", "zoo:text/test", "--limit", "40")
    plain, steered = (tmp_path / name for name in ("plain", "under"))
    assert run(capsys, "evaluate", "choose", *asked, "--out", plain)[0] == 0
    assert run(capsys, "evaluate", "choose", *asked, "--gate", folder / SHIFT, "--out", steered)[0] == 0
    before, after = (results_of(out)["results"]["margin"] for out in (plain, steered))
    model, shift = load(str(tiny_folder)), HeadShift.load(folder / SHIFT)
    from lens_truth.evaluate.asker import Asker, choose

    template = results_of(steered)["results"]["template"]
    examples = load_examples("zoo:text/test", limit=40)
    assert after == pytest.approx(choose(Asker(model, template), examples, shift).summary()["margin"], abs=1e-5)
    assert before != after
    HeadGate(torch.ones(3, 4)).save(tmp_path / "ones.safetensors")
    under = tmp_path / "ones"
    assert run(capsys, "evaluate", "choose", *asked, "--gate", tmp_path / "ones.safetensors", "--out", under)[0] == 0
    assert results_of(under)["results"]["margin"] == before


@pytest.mark.zoo
def test_residual_steering(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "steered"
    flags = ("--model", "zoo:llama-memory", *SMALL, "--at", "resid_post", "--heads", "1", "--alpha", "1")
    code, said, _ = run(capsys, "steer", *flags, "--save", folder)
    assert code == 0 and "1 layers (as heads) are shifted" in said
    assert HeadShift.load(folder / SHIFT).site == "resid_post"
    assert AutoModelForCausalLM.from_pretrained(folder).config.mlp_bias is True


@pytest.mark.zoo
def test_what_steer_refuses(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, probes: Path, tmp_path: Path
) -> None:
    save, of = ("--save", tmp_path / "steered"), ("--model", "zoo:llama-memory", "--probes", probes)
    refused(capsys, "49 heads were asked for, and there are 1 to 48", "steer", *of, "--heads", "49", *save)
    refused(capsys, "probes are of z; say so (--at z)", "steer", *of, "--heads", "2", "--at", "resid_post", *save)
    refused(capsys, "and zoo:llama-base has other weights", "steer", "--model", "zoo:llama-base", *of[2:], *save)
    refused(capsys, "(layers, heads, width)", "steer", "--model", tiny_folder, *of[2:], *save)
    (tmp_path / "none.safetensors").write_bytes(b"nothing")
    refused(capsys, "holds no readable probes", "steer", *of[:2], "--probes", tmp_path / "none.safetensors", *save)
    refused(capsys, "fitted under the template 'plain', not 'chat'", "steer", *of, "--template", "chat", *save)
    assert not (tmp_path / "steered").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine", encoding="utf-8")
    said = "exists and was not written by this command"
    refused(capsys, said, "steer", *of, "--heads", "2", "--save", tmp_path / "mine")
    assert run(capsys, "steer", *of, "--heads", "2", "--descendant", *save)[0] == 0


@pytest.mark.zoo
@pytest.mark.usefixtures("no_pdfs")
def test_shifts_in_an_ablation(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "ablate"
    small = ("--model", "zoo:llama-memory", "--questions", "8", "--limit", "80", "--trials", "1", "--out", out)
    code, said, _ = run(capsys, "ablate", *small, "--scores", "iti", "mass-mean", "residual")
    assert code == 0 and "iti, mass-mean, residual scores from zoo:llama-memory" in said
    searched = results_of(out)["results"]["ablation"]["search"]["zoo:llama-memory"]
    assert {"iti", "mass-mean", "residual", "uniform (tuned)"} <= set(searched)
    assert all(one["norm"].startswith("on ") for one in searched["iti"])
    assert searched["residual"][0]["norm"] == "on 1 layer"
    assert HeadProbes.load(out / "iti.safetensors").point == "z"
    assert HeadProbes.load(out / "residual.safetensors").point == "resid_post"
    assert not (out / "mass-mean.safetensors").exists()


@pytest.mark.zoo
@pytest.mark.usefixtures("no_pdfs")
def test_probes_from_a_file_must_not_have_seen_the_questions(
    capsys: pytest.CaptureFixture[str], zoo: Any, probes: Path, tmp_path: Path
) -> None:
    rows = load_examples("zoo:conflict/test", limit=64)
    write_examples(tmp_path / "rows.jsonl", rows)
    HeadProbes.fit(capture(zoo("llama-memory"), rows), n_folds=2).save(tmp_path / "seen.safetensors")
    flags = ("--model", "zoo:llama-memory", "--data", tmp_path / "rows.jsonl", "--new-tokens", "2", "--trials", "1")
    flags = (*flags, "--out", tmp_path / "ablate", "--scores")
    refused(capsys, "the probes were fitted on 16 of the 16 groups", "ablate", *flags, tmp_path / "seen.safetensors")
    refused(capsys, "--lam is for gates", "ablate", *flags, probes, "--lam", "3")
    refused(capsys, "--lam is for gates", "ablate", *flags, "iti", "--lam", "3")
    refused(capsys, "--scores names two sets of iti scores", "ablate", *flags, "iti", probes)
    code, said, _ = run(capsys, "ablate", *flags, probes)
    assert code == 0 and "iti" in said


def test_what_evaluate_refuses(capsys: pytest.CaptureFixture[str], tiny_folder: Path, tmp_path: Path) -> None:
    asked = ("evaluate", "choose", "--model", tiny_folder, "--limit", "8", "--out", tmp_path / "out", "--gate")
    HeadGate(torch.ones(2, 4)).save(tmp_path / "other.safetensors")
    refused(capsys, "the gate has 2 layers x 4 heads, the model 3 x 4", *asked, tmp_path / "other.safetensors")
    HeadShift(torch.zeros(2, 4, 8)).save(tmp_path / "shift.safetensors")
    refused(capsys, "the shift is of 2 x 4 x 8 (layers, heads, width) at z", *asked, tmp_path / "shift.safetensors")
    (tmp_path / "none.safetensors").write_bytes(b"nothing")
    refused(capsys, "is no readable .safetensors file", *asked, tmp_path / "none.safetensors")
    both = ("--scores", flat_scores(tmp_path), "--lam", "1")
    refused(capsys, "--gate is a gate or a shift already", *asked, tmp_path / "shift.safetensors", *both)
