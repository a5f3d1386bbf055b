"""Inspect's provider `lens_truth/NAME` against Inspect's own `hf/`, greedy by hand under a gate, and a folded model."""

from __future__ import annotations

import gc
import tomllib
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from harnesses.tasks import inspect_task, rows

import lens_truth
from lens_truth.errors import InputError

ROOT = Path(__file__).parents[2]
MAX_TOKENS = 6


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Inspect's batches wait two seconds for more rows; here they come at once. Its cache and hub stay out of this."""
    import inspect_ai.model._providers.hf as hf

    drain = hf._drain_batches
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hf, "_drain_batches", lambda queue, timeout: drain(queue, 0.3))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(scope="module")
def gate() -> Any:
    return lens_truth.HeadGate(torch.linspace(-1.0, 2.5, 12).reshape(3, 4))


@pytest.fixture(scope="module")
def task_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return inspect_task(tmp_path_factory.mktemp("inspect"))


@pytest.fixture
def evaluated(task_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Inspect's log of the task."""
    import inspect_ai

    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))

    def run(model: Any, **how: Any) -> Any:
        monkeypatch.chdir(task_file.parent)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Inspect leaves open
            (log,) = inspect_ai.eval(
                task_file.name,
                model=model,
                display="none",
                log_dir=str(tmp_path / "logs"),
                max_tokens=MAX_TOKENS,
                **how,
            )
            gc.collect()
        assert log.status == "success", log.error
        return log

    return run


def answers(log: Any) -> list[str]:
    return [sample.output.completion for sample in log.samples]


def likelihoods(log: Any) -> list[list[tuple[str, float]]]:
    """Each token that was written with its log-probability."""
    return [[(its.token, its.logprob) for its in sample.output.choices[0].logprobs.content] for sample in log.samples]


def greedy(model: Any, asked: str) -> str:
    """Token by token, without `generate`, on the prompt of the chat template."""
    chat = [{"role": "user", "content": asked}]
    prompt = model.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    ids = model.tokenizer(prompt, return_tensors="pt").input_ids
    start = ids.shape[1]
    with torch.no_grad():
        for _ in range(MAX_TOKENS):
            ids = torch.cat([ids, model(ids)[:, -1:].argmax(-1)], 1)
            if ids[0, -1] == model.tokenizer.eos_token_id:
                break
    return model.tokenizer.decode(ids[0, start:], skip_special_tokens=True)


def test_without_a_gate_it_is_hf_token_by_token(tiny_folder: Path, evaluated: Callable[..., Any]) -> None:
    how = {"logprobs": True, "top_logprobs": 2}
    local = {"model_path": str(tiny_folder), "device": "cpu", "do_sample": False}
    plain = evaluated("hf/local", model_args=local, **how)
    hooked = evaluated(f"lens_truth/{tiny_folder}", model_args={"device": "cpu"}, temperature=0, **how)
    assert answers(hooked) == answers(plain) and len(set(answers(plain))) > 1
    assert likelihoods(hooked) == likelihoods(plain) and len(likelihoods(plain)[0]) == MAX_TOKENS
    assert hooked.samples[0].output.metadata["lens_truth"]["gate"] is None


def test_a_gate_does_what_it_does_attached_and_folded(
    tiny_folder: Path, gate: Any, evaluated: Callable[..., Any], tmp_path: Path
) -> None:
    gate.save(tmp_path / "gate.safetensors")
    asked = {"gate": str(tmp_path / "gate.safetensors"), "device": "cpu", "batch_size": 2}
    gated = evaluated(f"lens_truth/{tiny_folder}", model_args=asked, temperature=0)
    identity = gated.samples[0].output.metadata["lens_truth"]
    assert identity["intervention"] == "HeadGate" and len(identity["gate"]) == 16

    model = lens_truth.load(tiny_folder)
    plain = [greedy(model, row["asked"]) for row in rows()]
    with gate.attach(model):
        by_hand = [greedy(model, row["asked"]) for row in rows()]
    assert answers(gated) == by_hand != plain

    gate.fold_into(model).save_pretrained(tmp_path / "folded")
    model.tokenizer.save_pretrained(tmp_path / "folded")
    local = {"model_path": str(tmp_path / "folded"), "device": "cpu", "do_sample": False}
    assert answers(evaluated("hf/local", model_args=local)) == by_hand


def test_kept_answers_are_kept_apart(tiny_folder: Path, gate: Any, evaluated: Callable[..., Any]) -> None:
    """Inspect's cache does not look at a model's arguments."""
    how: dict[str, Any] = {"temperature": 0, "cache": True}
    model = lens_truth.load(tiny_folder)
    plain = answers(evaluated(lens_truth.inspect_model(tiny_folder, device="cpu"), **how))
    under = lens_truth.inspect_model(model, gate)
    assert answers(evaluated(under, **how)) != plain
    under.api.close()
    again = lens_truth.inspect_model(tiny_folder, device="cpu")
    again.api.model = None  # so these are kept ones
    assert answers(evaluated(again, **how)) == plain


def test_stops_and_samples(tiny_folder: Path, evaluated: Callable[..., Any]) -> None:
    """Sampled by default, as `hf/` does, from the seed on; a stop is the last thing that is written."""
    drawn = [
        answers(evaluated(lens_truth.inspect_model(tiny_folder, device="cpu"), seed=seed, temperature=5.0))
        for seed in (1, 2)
    ]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"gate": "none.safetensors"}, "none.safetensors"),
        ({"gate": lens_truth.HeadGate(torch.ones(2, 2) * 2)}, "the gate has 2 layers x 2 heads, the model 3 x 4"),
        ({"temperature": 0}, "Inspect's model lens_truth has no argument 'temperature'; it has attn_implementation, "),
    ],
)
def test_a_mistake_is_one_sentence(tiny_folder: Path, asked: dict[str, Any], complaint: str) -> None:
    from inspect_ai._util.error import PrerequisiteError
    from inspect_ai.model import get_model

    with pytest.raises(InputError) as error:
        lens_truth.inspect_model(tiny_folder, **asked)
    assert complaint in str(error.value)
    with pytest.raises(PrerequisiteError) as shown:  # of which Inspect prints the sentence alone
        get_model(f"lens_truth/{tiny_folder}", **asked)
    assert complaint in str(shown.value.message)


def test_the_entry_point_leads_to_the_provider() -> None:
    """It is loaded whatever model Inspect is asked for, so without anything heavy."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["inspect_ai"]
    assert list(points) == ["lens_truth"]
    module = import_module(points["lens_truth"])
    assert module.lens_truth_provider.__name__ == "model_wrapper"  # Inspect's, around the class
