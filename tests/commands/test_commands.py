"""The commands, run as a user runs them: what they write, what they say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from inspect import getsource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import build, flat_scores, refused, run
from transformers import AutoModelForCausalLM, AutoTokenizer

from lens_truth.ablation.result import Ablation
from lens_truth.cli import COMMANDS
from lens_truth.commands import ablate, ablate_sources, directions, evaluate, probe, zoo
from lens_truth.commands.flags import subcommands
from lens_truth.commands.gate import GATE
from lens_truth.data.examples import write_examples
from lens_truth.data.loading import load_examples
from lens_truth.gates.gate import HeadGate
from lens_truth.io.tables import markdown
from lens_truth.models.loading import load
from lens_truth.scoring.head_probes import HeadProbes
from lens_truth.scoring.layer_result import LayerComparison
from lens_truth.scoring.score_words import matched_said, residual_said
from lens_truth.scoring.scores import HeadScores
from lens_truth.zoo.recipes import RECIPES


def results_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())


@pytest.mark.parametrize(
    ("command", "config"),
    [("probe", probe.Config), ("ablate", ablate.Config), ("evaluate pope", evaluate.Pope), ("zoo train", zoo.Train)],
)
def test_help_tells_every_flag_in_whole_sentences(
    capsys: pytest.CaptureFixture[str], command: str, config: type[Any]
) -> None:
    code, said, _ = run(capsys, *command.split(), "--help")
    told = " ".join(said.replace("│", " ").split())
    assert code == 0 and told.startswith(f"usage: lens-truth {command} [-h]")
    _, *texts = re.findall(r'"""(.+?)"""', getsource(config).partition("    def ")[0], re.DOTALL)
    assert all(" ".join(text.split()) in told for text in texts)
    assert "None" not in told and "(default: )" not in told
    assert "--device " not in told or told.index("--out ") < told.index("--device ")  # what is shared comes last


@pytest.mark.parametrize("command", ["", *COMMANDS, *(f"directions {name}" for name in subcommands(directions.Config))])
def test_help_comes_before_heavy_imports(command: str) -> None:
    name, *subcommand = f"lens_truth.{command}".rstrip(".").split()
    code = (
        "import runpy, sys\n"
        f"sys.argv = {[name, *subcommand, '--help']}\n"
        "try:\n"
        f"    runpy.run_module('{name}', run_name='__main__')\n"
        "except SystemExit as stop:\n"
        "    assert stop.code in (0, None), stop.code\n"
        "heavy = {'torch', 'transformers', 'transformer_lens', 'sklearn', 'matplotlib', 'numpy', 'tqdm'}\n"
        "assert heavy.isdisjoint(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ("--out" in done.stdout) or command in (
        "",
        "gate",
        "steer",
        "check",
        "directions",
        "evaluate",
        "hub",
        "neurons",
        "zoo",
    )
    assert done.stdout.startswith("usage")


@pytest.mark.zoo
def test_probe_writes_what_it_promises(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "probe"
    code, said, _ = run(capsys, "probe", "--limit", "240", "--permutations", "200", "--out", out)
    assert code == 0
    assert {path.name for path in out.iterdir()} == {
        "activations",
        "probes.safetensors",
        "scores.safetensors",
        "scores.npy",
        "scores.csv",
        "heatmap.png",
        "heatmap.pdf",
        "result.json",
    }
    results = results_of(out)["results"]
    scores = HeadScores.load(out / "scores.safetensors")
    np.testing.assert_allclose(HeadProbes.load(out / "probes.safetensors").scores.values, scores.values, atol=1e-6)
    assert (results["n_examples"], results["n_layers"], results["n_heads"]) == (240, 6, 8)
    assert results["max_accuracy"] == scores.values.max() > 0.9
    assert results["mean_accuracy"] == pytest.approx(scores.values.mean())
    assert tuple(results["best_head"]) == scores.best()
    assert results["surface_accuracy"] == pytest.approx(0.5, abs=0.1)
    assert np.array_equal(np.load(out / "scores.npy", allow_pickle=False), scores.values)
    assert np.array_equal(HeadScores.load(out / "scores.csv").values, scores.values)
    assert scores.provenance["model"] == "zoo:llama-base" and scores.provenance["data"] == "zoo:text"
    assert "length and last character" in said and "WARNING" not in said

    record = results_of(out)
    assert record["config"]["limit"] == 240 and record["config"]["seed"] == 0
    assert {"python", "torch", "transformers", "transformer-lens", "lens-truth"} <= set(record["versions"])
    assert set(record["hashes"]) == {"weights", "examples"}

    again = tmp_path / "again"
    assert run(capsys, "probe", "--limit", "240", "--permutations", "200", "--out", again)[0] == 0
    for name in ("scores.safetensors", "scores.npy", "scores.csv", "heatmap.png", "heatmap.pdf"):
        assert (again / name).read_bytes() == (out / name).read_bytes()


def test_probe_holds_heads_beside_their_layers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, said, _ = run(capsys, "probe", "--layers", "--limit", "80", "--permutations", "0", "--out", tmp_path)
    assert code == 0 and "layer  residual stream  best head" in said
    layers = HeadProbes.load(tmp_path / "layers.safetensors")
    assert layers.point == "resid_post" and layers.directions.shape[:2] == (6, 1)
    found = LayerComparison.load(tmp_path)
    assert found.verdict() in said
    run(capsys, "report", "--runs", tmp_path, "--out", tmp_path / "page")
    assert "Heads beside their layers" in next((tmp_path / "page").glob("*.html")).read_text()
    code, _, error = run(capsys, "probe", "--layers", "--scores", "causal", "--out", tmp_path / "other")
    assert code == 2 and "causal scores are no probes" in error


@pytest.mark.usefixtures("no_pdfs")
def test_probe_takes_a_users_model_data_and_estimator(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, tmp_path: Path
) -> None:
    data, out = tmp_path / "mine.jsonl", tmp_path / "out"
    write_examples(data, load_examples("zoo:conflict", limit=60))
    flags = ("--estimator", "centroid", "--folds", "3", "--template", "chat", "--dtype", "bfloat16", "--seed", "3")
    code, _, _ = run(capsys, "probe", "--model", tiny_folder, "--data", data, *flags, "--out", out)
    assert code == 0
    scores = HeadScores.load(out / "scores.safetensors")
    assert scores.values.shape == (3, 4)
    assert scores.folds is not None and len(scores.folds) == 3
    assert scores.provenance["estimator"] == "centroid" and scores.provenance["template"] == "chat"


@pytest.mark.usefixtures("no_pdfs")
@pytest.mark.parametrize("kind", ["causal", "learned"])
def test_probe_computes_causal_and_learned_scores(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, tmp_path: Path, kind: str
) -> None:
    flags = ("--model", tiny_folder, "--data", "zoo:conflict", "--limit", "40", "--scores", kind, "--out", tmp_path)
    assert run(capsys, "probe", *flags)[0] == 0
    scores = HeadScores.load(tmp_path / "scores.safetensors")
    assert scores.kind == results_of(tmp_path)["results"]["kind"] == kind
    assert results_of(tmp_path)["results"]["max_score"] == scores.values.max()


@pytest.mark.usefixtures("no_pdfs")
def test_probe_computes_residual_scores(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    flags = ("--limit", "80", "--estimator", "mass-mean", "--out", tmp_path)
    code, said, _ = run(capsys, "probe", "--scores", "residual", "--layers", *flags)
    assert code == 0
    scores, results = HeadScores.load(tmp_path / "scores.safetensors"), results_of(tmp_path)["results"]
    assert scores.kind == results["kind"] == "residual" and scores.provenance["estimator"] == "mass-mean"
    assert results["max_score"] == scores.values.max() > 0.2 and results["surface_accuracy"] is None
    assert "above_low  above_high" in said and "best surface classifier (" in said and "residual stream" in said
    (sentence,) = results["verdicts"]
    assert sentence == residual_said(scores) and sentence in said
    assert HeadScores.load(tmp_path / "scores.csv").kind == "residual"
    assert (tmp_path / "probes.safetensors").exists() and not scores.metrics.get("matched")
    capsys.readouterr()
    run(capsys, "report", "--runs", tmp_path, "--out", tmp_path / "page")
    text = next((tmp_path / "page").glob("*.html")).read_text()
    assert "residual scores" in text and sentence.split(" (")[0] in text


@pytest.mark.usefixtures("no_pdfs")
def test_probe_scores_matched_rows_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Where four of five right answers are the longer ones."""
    data, rows = tmp_path / "mine.jsonl", load_examples("zoo:text", limit=240)
    grown = [
        replace(its, answer=f"{its.answer}, as I said") if (number % 5 > 0) == its.label else its
        for number, its in enumerate(rows)
    ]
    write_examples(data, grown)
    flags = ("--data", data, "--permutations", "0", "--out", tmp_path / "out")
    code, said, _ = run(capsys, "probe", *flags)
    scores = HeadScores.load(tmp_path / "out" / "scores.safetensors")
    record = scores.provenance["matched"]
    assert code == 0 and record["on"] == ["characters", "last"] and 40 <= record["n"] < record["of"] == 240
    assert scores.metrics["matched"].shape == (6, 8) and "matched_low  matched_high" in said
    assert f"On matched rows the best head, {'.'.join(map(str, scores.best()))}, goes from" in said
    assert matched_said(scores) and matched_said(scores)[1:] in said


def test_gates_by_residual_scores_have_a_name_beside_the_shift(tmp_path: Path) -> None:
    assert ablate_sources.GATED == {
        **{"truth": "truth", "causal": "causal", "learned": "learned", "residual-scores": "residual"}
    }
    config = ablate.Config(scores=("residual", "residual-scores", "truth"))
    assert config.computed == ["residual", "residual-scores", "truth"]
    assert ablate.Config().wanted == ("truth", "causal")
    assert ablate.Config(controls="all").wanted == ("truth", "causal", "learned")
    HeadScores(np.eye(3), "residual").save(tmp_path / "scores.safetensors")
    name, made = ablate_sources.from_file(str(tmp_path / "scores.safetensors"), None, (), config)
    assert name == "residual-scores" and isinstance(made, HeadScores)


@pytest.mark.usefixtures("no_pdfs")
@pytest.mark.published
def test_nobody_misses_that_length_tells_on_halueval(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path
) -> None:
    name = f"halueval:{data / 'halueval' / 'qa_2000.csv'}"
    code, said, _ = run(capsys, "probe", "--data", name, "--limit", "60", "--permutations", "0", "--out", tmp_path)
    assert code == 0
    record = results_of(tmp_path)
    assert record["results"]["n_examples"] == 60
    assert record["results"]["surface_accuracy"] > 0.95
    assert "SURFACE CONFOUND" in said and "SURFACE CONFOUND" in record["warnings"][0]
    assert HeadScores.load(tmp_path / "scores.safetensors").provenance["surface_accuracy"] > 0.95


def test_gate_saves_a_plain_checkpoint_equal_to_the_attached_gate(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, tmp_path: Path
) -> None:
    scores = HeadScores(np.random.default_rng(0).uniform(0.4, 0.9, (3, 4)))
    scores.save(tmp_path / "scores.npy")
    folder = tmp_path / "gated"
    flags = ("--model", tiny_folder, "--scores", tmp_path / "scores.npy", "--lam", "4.5", "--norm", "center")
    code, said, _ = run(capsys, "gate", *flags, "--save", folder)
    assert code == 0 and str(folder) in said

    gate = HeadGate.from_scores(scores, 4.5, "center")
    assert torch.equal(HeadGate.load(folder / GATE).values, gate.values)
    assert results_of(folder)["results"]["negative_gates"] == gate.n_negative
    plain = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    hooked = load(str(tiny_folder))
    inputs = tokenizer("Question: What colour is the heart?\nAnswer:", return_tensors="pt")
    with torch.no_grad(), gate.attach(hooked):
        expected = hooked(inputs["input_ids"], attention_mask=inputs["attention_mask"])
        said_attached = hooked.original_model.generate(**inputs, max_new_tokens=12, do_sample=False)
    with torch.no_grad():
        torch.testing.assert_close(plain(**inputs).logits, expected, rtol=1e-5, atol=1e-5)
        assert torch.equal(plain.generate(**inputs, max_new_tokens=12, do_sample=False), said_attached)
        assert not torch.allclose(hooked(inputs["input_ids"]), expected, atol=1e-2)

    again = run(capsys, "gate", *flags, "--floor", "0.5", "--save", folder)  # its own folder may be replaced
    assert again[0] == 0
    assert float(HeadGate.load(folder / GATE).values.min()) >= 0.5
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_learned_scores_are_a_gate_as_they_are(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, tmp_path: Path
) -> None:
    values = np.random.default_rng(0).normal(size=(3, 4))
    HeadScores(values, "learned").save(tmp_path / "learned.safetensors")
    folder = tmp_path / "empty"
    folder.mkdir()  # an empty folder is as good as none
    flags = ("--model", tiny_folder, "--scores", tmp_path / "learned.safetensors", "--save", folder)
    assert run(capsys, "gate", *flags)[0] == 0
    np.testing.assert_allclose(HeadGate.load(folder / GATE).values.numpy(), 1 + values, rtol=1e-6)
    assert (results_of(folder)["results"]["lam"], results_of(folder)["results"]["norm"]) == (1.0, "none")


def test_a_model_without_a_tokenizer_can_be_gated(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    build("qwen3").save_pretrained(tmp_path / "bare")
    flags = ("--model", tmp_path / "bare", "--scores", flat_scores(tmp_path), "--save", tmp_path / "gated")
    assert run(capsys, "gate", *flags)[0] == 0
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "gated").config.num_hidden_layers == 3


@pytest.mark.usefixtures("no_pdfs")
@pytest.mark.zoo
def test_ablate_on_the_zoo(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    flags = ("--limit", "40", "--questions", "8", "--trials", "2", "--model", "zoo:llama-memory", "--out", tmp_path)
    code, said, _ = run(capsys, "ablate", "--random-gate", *flags)
    assert code == 0
    results = results_of(tmp_path)["results"]
    rows = results["ablation"]["rows"]
    gates = {row["gate"] for row in rows}
    assert {"vanilla", "causal", "random", "permuted", "uniform"} <= gates
    assert ("probe" in gates) != ("zoo:llama-memory, probe: validation wanted no gate" in said)
    assert {row["benchmark"] for row in rows} == {"conflict", "open", "judgement", "presence", "closed-book"}
    assert {row["trials"] for row in rows if row["gate"] == "random"} == {3}
    assert {row["trials"] for row in rows if row["gate"] == "permuted"} <= {1, 2}
    for row in rows:
        assert row["model"] == results["scores_from"] == "zoo:llama-memory"
        assert 0 <= row["ci_low"] <= row["accuracy"] + 1e-9 and row["accuracy"] - 1e-9 <= row["ci_high"] <= 1  # rounded
        assert 0 <= row["f1"] <= 1
    table = (tmp_path / "table.md").read_text()
    for sentence in results["verdicts"]:
        assert sentence in table and sentence in said
    found = Ablation.load(tmp_path)
    assert found.as_dict() == results["ablation"] and found.verdicts() == results["verdicts"]
    assert all(markdown(one) in table for one in found.tables())
    for figure in ("ablation", "search", "random_gate"):
        assert (tmp_path / f"{figure}.png").read_bytes().startswith(b"\x89PNG") and f"{figure}.png" in said
        assert (tmp_path / f"{figure}.pdf").read_bytes().startswith(b"%PDF")
    assert HeadScores.load(tmp_path / "causal.safetensors").kind == "causal"
    (few,) = (its for its in results_of(tmp_path)["warnings"] if "intervals rest on" in its)
    n = {row["benchmark"]: row["n"] for row in rows}
    names = few.partition(": ")[0].split(", ")
    assert set(names) < n.keys() and {n[name] for name in names} == {
        min(n.values())
    }  # which, where others rest on more


@pytest.mark.usefixtures("no_pdfs")
def test_ablate_on_a_users_model_data_and_scores(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, tmp_path: Path
) -> None:
    data, out = tmp_path / "mine.jsonl", tmp_path / "out"
    write_examples(data, load_examples("zoo:text", limit=80))
    HeadScores(np.random.default_rng(0).normal(size=(3, 4)), kind="retrieval").save(tmp_path / "r.safetensors")
    flags = ("--model", tiny_folder, "--data", data, "--scores", tmp_path / "r.safetensors", "--trials", "2")
    code, _, _ = run(capsys, "ablate", *flags, "--controls", "all", "--out", out)
    assert code == 0
    rows = results_of(out)["results"]["ablation"]["rows"]
    gates = {"vanilla", "retrieval", "permuted", "uniform", "inverse", "norm-matched"}
    tested = {row["gate"] for row in rows}
    assert tested == gates or Ablation.load(out).unwanted(tiny_folder.name)
    assert list(dict.fromkeys(row["benchmark"] for row in rows)) == ["choose", "open", "judgement"]
    assert all(len(row["readings"]) >= 2 for row in rows)
    assert results_of(out)["results"]["templates"] == {"scores": "plain", tiny_folder.name: "chat"}


@pytest.mark.parametrize("flags", [("{}",), ("--model", "{}"), ("--device", "cpu", "--model={}")])
def test_check_prints_every_check(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, flags: tuple[str, ...]
) -> None:
    code, said, _ = run(capsys, "check", *(flag.format(tiny_folder) for flag in flags))
    assert code == 0
    assert "4 query heads of width 8 (2 key-value heads)" in said
    assert said.count("ok  ") >= 8 and "FAILED" not in said


@pytest.mark.zoo
def test_zoo_lists_all_models(capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = run(capsys, "zoo")
    assert code == 0
    listed = [line.split()[0] for line in said.splitlines() if line.startswith("zoo:")]
    assert listed == [*(f"zoo:{name}" for name in RECIPES), "zoo:llava", "zoo:llava-memory"]
    assert "presence-adversarial" in said and "black-presence" in said


@pytest.mark.zoo
def test_script_and_function_are_the_same_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Once in a real process, the installed `lens-truth probe`; `python -m lens_truth.gate` is in test_bad_input."""
    script = Path(sys.executable).with_name("lens-truth")
    flags = ["probe", "--limit", "60", "--permutations", "0", "--out"]
    done = subprocess.run([script, *flags, tmp_path / "script"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr
    assert run(capsys, *flags, tmp_path / "here")[0] == 0
    first, second = (HeadScores.load(tmp_path / name / "scores.npy").values for name in ("script", "here"))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("error", [MemoryError("Unable to allocate 9 GiB"), RuntimeError("CUDA out of memory. Tried")])
def test_too_little_memory_is_one_sentence(
    error: Exception, tiny_folder: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("lens_truth.scoring.capturing.captures", fails)
    refused(
        capsys,
        "too small for this model: --dtype bfloat16 takes less",
        "probe",
        "--model",
        tiny_folder,
        "--out",
        tmp_path,
    )
