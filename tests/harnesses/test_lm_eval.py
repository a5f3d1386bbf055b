"""lm-eval's model `lens_truth` against lm-eval's own `hf`, logits under an attached gate, and a folded checkpoint."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from harnesses.tasks import rows, tasks

import lens_truth
from lens_truth.errors import InputError

CHOSEN = ("choose", "continue", "roll", "write")


@pytest.fixture(scope="module", autouse=True)
def offline() -> Iterator[None]:
    """What lm-eval and datasets want of the hub, they do not get."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
            patch.setenv(name, "1")
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tasks")


@pytest.fixture(scope="module")
def gate() -> Any:
    return lens_truth.HeadGate(torch.linspace(-1.0, 2.5, 12).reshape(3, 4))


@pytest.fixture(scope="module")
def gate_file(gate: Any, files: Path) -> Path:
    gate.save(files / "gate.safetensors")
    return files / "gate.safetensors"


def answered(model: Any, files: Path, **how: Any) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """What the model answered in each task, sample by sample, and results."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_defaults=False)  # or it reads 14,000 files
    found: Any = lm_eval.simple_evaluate(model, tasks=tasks(files), task_manager=manager, bootstrap_iters=0, **how)
    samples = {name: [sample["resps"] for sample in its] for name, its in found["samples"].items()}
    return samples, found


def own(folder: Path, **how: Any) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(str(folder), **{"device": "cpu", "batch_size": 4, **how})


def ours(model: Any, gate: Any = None, **how: Any) -> Any:
    return lens_truth.lm_eval_model(model, gate, **{"device": "cpu", "batch_size": 4, **how})


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_without_a_gate_it_is_hf_bit_for_bit(tiny_folder: Path, files: Path, dtype: str) -> None:
    plain, its = answered(own(tiny_folder, dtype=dtype), files)
    hooked, found = answered(ours(str(tiny_folder), dtype=dtype), files)
    assert tuple(sorted(plain)) == CHOSEN and all(len(of) == 6 for of in plain.values())
    assert hooked == plain and found["results"] == its["results"]
    assert found["config"]["lens_truth"]["gate"] is None


def test_a_gate_does_what_it_does_attached_and_folded(
    tiny_folder: Path, files: Path, gate: Any, gate_file: Path, tmp_path: Path
) -> None:
    plain, _ = answered(ours(str(tiny_folder)), files)
    gated, found = answered(ours(str(tiny_folder), gate_file), files)
    assert all(gated[name] != plain[name] for name in ("choose", "continue", "roll"))
    identity = found["config"]["lens_truth"]
    assert identity["intervention"] == "HeadGate" and len(identity["gate"]) == 16

    model = lens_truth.load(tiny_folder)
    assert identity["weights"] == ours(model).get_model_info()["lens_truth"]["weights"]
    with gate.attach(model), torch.no_grad():
        by_hand = [
            [log_likelihood(model, row["asked"], f" {row[kind]}") for kind in ("right", "wrong")] for row in rows()
        ]
        written = [greedy(model, row["asked"]) for row in rows()]
    told = [[choice[0][0] for choice in sample] for sample in gated["choose"]]
    torch.testing.assert_close(torch.tensor(told), torch.tensor(by_hand), rtol=1e-5, atol=1e-4)
    assert [sample[0][0] for sample in gated["write"]] == written

    gate.fold_into(model).save_pretrained(tmp_path / "folded")
    model.tokenizer.save_pretrained(tmp_path / "folded")
    folded, _ = answered(own(tmp_path / "folded"), files)
    assert folded["write"] == gated["write"]
    for name in ("choose", "continue", "roll"):
        torch.testing.assert_close(numbers(folded[name]), numbers(gated[name]), rtol=1e-5, atol=1e-4)


def numbers(resps: Any) -> torch.Tensor:
    """The log-likelihoods of a task."""
    flat = [value for sample in resps for choice in sample for value in choice]
    return torch.tensor([float(its[0] if isinstance(its, tuple | list) else its) for its in flat])


def log_likelihood(model: Any, context: str, continuation: str) -> float:
    whole, front = (model.tokenizer(text, return_tensors="pt").input_ids for text in (context + continuation, context))
    with torch.no_grad():
        logits = model(whole).log_softmax(-1)[0, :-1]
    each = logits.gather(1, whole[0, 1:, None])[:, 0]
    return float(each[front.shape[1] - 1 :].sum())


def greedy(model: Any, prompt: str) -> str:
    """Token by token, without `generate`."""
    ids = model.tokenizer(prompt, return_tensors="pt").input_ids
    start = ids.shape[1]
    for _ in range(8):
        ids = torch.cat([ids, model(ids)[:, -1:].argmax(-1)], 1)
        if ids[0, -1] == model.tokenizer.eos_token_id:
            break
    return model.tokenizer.decode(ids[0, start:], skip_special_tokens=True).split(".")[0]


def test_scores_make_the_gate(tiny_folder: Path, files: Path, tmp_path: Path) -> None:
    values = torch.linspace(0.4, 0.9, 12).reshape(3, 4).numpy()
    scores = lens_truth.HeadScores(values, "causal")
    scores.save(tmp_path / "scores.safetensors")
    made = lens_truth.HeadGate.from_scores(scores, 2.0, "minmax")
    asked = {"scores": str(tmp_path / "scores.safetensors"), "lam": 2, "norm": "minmax"}
    by_file = ours(str(tiny_folder), **asked).get_model_info()["lens_truth"]
    assert by_file["gate"] == ours(str(tiny_folder), made).get_model_info()["lens_truth"]["gate"]


@pytest.mark.parametrize("kind", ["shift", "neurons"])
def test_shifts_and_neurons(tiny_folder: Path, files: Path, tmp_path: Path, kind: str) -> None:
    model = lens_truth.load(tiny_folder)
    shift = kind == "shift"
    its: Any = lens_truth.HeadShift(torch.ones(3, 4, 8)) if shift else lens_truth.NeuronGate(torch.full((3, 48), 0.5))
    its.save(tmp_path / "kept.safetensors")
    lm = ours(str(tiny_folder), tmp_path / "kept.safetensors")
    ids = torch.tensor([[5, 6, 7, 8]])
    with its.attach(model):
        expected = model(ids)
    assert torch.equal(lm.model(ids).logits, expected)


def test_a_model_in_memory_is_let_go(tiny_folder: Path, gate: Any) -> None:
    model = lens_truth.load(tiny_folder)
    ids = torch.tensor([[5, 6, 7, 8]])
    before = model(ids)
    lm = ours(model, gate)
    assert not torch.equal(model(ids), before)
    lm.under.close()
    assert torch.equal(model(ids), before)


def test_kept_answers_are_kept_apart_and_used(
    tiny_folder: Path, files: Path, gate_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one file `hf`'s, ours without a gate, and gated ones: lm-eval alone would give the first ones for all."""
    cache = {"use_cache": str(tmp_path / "kept")}
    apart = answered(ours(str(tiny_folder), gate_file), files)[0]
    plain = answered(own(tiny_folder), files, **cache)[0]
    assert answered(ours(str(tiny_folder)), files, **cache)[0] == plain
    assert answered(ours(str(tiny_folder), gate_file), files, **cache)[0] == apart != plain
    assert answered(own(tiny_folder), files, **cache)[0] == plain
    again = ours(str(tiny_folder), gate_file)
    for computed in ("_loglikelihood_tokens", "_model_generate"):
        monkeypatch.setattr(again, computed, None)
    assert answered(again, files, **cache)[0] == apart


@pytest.mark.parametrize("add", [True, False])
def test_the_first_token_is_added_as_hf_adds_it(tiny_folder: Path, add: bool) -> None:
    plain, hooked = own(tiny_folder, add_bos_token=add), ours(str(tiny_folder), add_bos_token=add)
    text = rows()[0]["asked"]
    assert hooked.tok_encode(text) == plain.tok_encode(text)
    assert torch.equal(hooked.tok_batch_encode([text, text])[0], plain.tok_batch_encode([text, text])[0])
    assert hooked.max_length == plain.max_length and ours(str(tiny_folder), max_length=9).max_length == 9


def test_chat_templates_are_the_tokenizers(tiny_folder: Path, files: Path) -> None:
    plain, _ = answered(own(tiny_folder), files, apply_chat_template=True)
    assert answered(ours(str(tiny_folder)), files, apply_chat_template=True)[0] == plain


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"gate": "none.safetensors"}, "none.safetensors"),
        ({"gate": "GATE", "scores": "s.npy"}, "leave scores away"),
        ({"scores": "s.npy"}, "scores and lam belong together"),
        ({"scores": "s.npy", "lam": "much"}, "lam is 'much'; it must be a number"),
        ({"norm": "center"}, "norm goes with scores and lam"),
        ({"gates": "x"}, "lm-eval's model lens_truth has no argument 'gates'; it has add_bos_token, "),
        ({"dtype": "int3"}, "dtype 'int3' is not one of"),
        ({"gate": lens_truth.HeadGate(torch.ones(2, 2) * 2)}, "the gate has 2 layers x 2 heads, the model 3 x 4"),
        (
            {"gate": lens_truth.HeadGate(torch.ones(1, 3, 4) * 2)},
            "a gate with a batch axis cannot be used in a harness",
        ),
    ],
)
def test_a_mistake_is_one_sentence(tiny_folder: Path, asked: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError) as error:
        ours(str(tiny_folder), **asked)
    assert complaint in str(error.value)


def test_lm_eval_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lens_truth.errors.find_spec", lambda _: None)
    with pytest.raises(InputError, match="needs the Python package lm_eval, which is not installed: pip install"):
        lens_truth.lm_eval_model("zoo:llama-base")
    with pytest.raises(InputError, match=r"inspect_ai, which is not installed: pip install 'lens-truth\[inspect\]'"):
        lens_truth.inspect_model("zoo:llama-base")


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """`python -m lens_truth.lm_eval ARGUMENTS` in this process, without reading lm-eval's 14,000 files of tasks."""
    import lm_eval.tasks

    from lens_truth.harnesses.lm_eval_cli import launch

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")  # which lm-eval sets
    monkeypatch.setattr(lm_eval.tasks, "TaskManager", partial(lm_eval.tasks.TaskManager, include_defaults=False))

    def run(*arguments: str, module: str = "__main__") -> None:
        monkeypatch.setattr(sys, "argv", ["lm_eval", "--model", "lens_truth", *arguments])
        launch(module)

    return run


def test_the_command_line(
    launched: Callable[..., None], tiny_folder: Path, files: Path, gate_file: Path, tmp_path: Path
) -> None:
    """lm-eval's own, which finds the model by its name."""
    (tmp_path / "choose.yaml").write_text(yaml.safe_dump(tasks(files)[0]))
    args = f"pretrained={tiny_folder},gate={gate_file},dtype=float32"
    launched("--model_args", args, "--tasks", "choose.yaml", "--output_path", "out", "-s", "--batch_size", "4")
    (result,) = (tmp_path / "out").rglob("results_*.json")
    (samples,) = (tmp_path / "out").rglob("samples_choose_*.jsonl")
    told = [[float(its[0]) for its in json.loads(line)["filtered_resps"]] for line in samples.read_text().splitlines()]
    lm = ours(str(tiny_folder), gate_file)
    assert json.loads(result.read_text())["config"]["lens_truth"] == lm.get_model_info()["lens_truth"]
    expected = [[choice[0][0] for choice in sample] for sample in answered(lm, files)[0]["choose"]]
    torch.testing.assert_close(torch.tensor(told), torch.tensor(expected), rtol=1e-5, atol=1e-4)  # in other batches


def test_a_mistake_on_the_command_line(launched: Callable[..., None], files: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "choose.yaml").write_text(yaml.safe_dump(tasks(files)[0]))
    arguments = ("--model_args", "pretrained=zoo:nobody", "--tasks", "choose.yaml")
    launched(*arguments, module="lens_truth.lm_eval")  # only imported: nothing happens
    with pytest.raises(SystemExit) as stop:
        launched(*arguments)
    said = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code == 2 and said.startswith("error: there is no model 'zoo:nobody' in the zoo")


def test_python_runs_the_launcher() -> None:
    line = [sys.executable, "-m", "lens_truth.lm_eval", "run", "--help"]
    assert "--model_args" in subprocess.run(line, capture_output=True, text=True, check=True).stdout
