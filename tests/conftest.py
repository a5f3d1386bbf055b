"""Shared fixtures. Shapes and types are checked while the tests run: every annotation of the package counts.

What is heavy is imported where it is used: pytest-xdist reads this file once more, before it starts its processes.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
from hypothesis import settings

os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # as the commands set it; a test reads what they print
os.environ["OMP_NUM_THREADS"] = "1"  # of PyTorch too: the tests run in two processes on two cores, and start others

jaxtyping.install_import_hook("lens_truth", "checked.checked")

import numpy as np  # noqa: E402

from lens_truth.cli import main  # noqa: E402

pytest_plugins = ["tiers"]
settings.register_profile("tests", derandomize=True, deadline=None, database=None, max_examples=50)
settings.load_profile("tests")

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {"num_key_value_heads": 4}),
    "llama-gqa-head-dim": ("LlamaConfig", {"num_key_value_heads": 2, "head_dim": 12}),
    "llama-bias-tied": ("LlamaConfig", {"attention_bias": True, "tie_word_embeddings": True}),
    "mistral": ("MistralConfig", {"num_key_value_heads": 2, "sliding_window": None}),
    "qwen2": ("Qwen2Config", {"num_key_value_heads": 2}),
    "qwen3": ("Qwen3Config", {"num_key_value_heads": 2, "head_dim": 16}),
}


def build(family: str, vocab_size: int = 60, **more: Any) -> Any:
    """A tiny random Hugging Face model with weights large enough for its heads to matter."""
    import torch
    import transformers

    config_class, shape = FAMILIES[family]
    torch.manual_seed(7)
    config = getattr(transformers, config_class)(
        **{
            "vocab_size": vocab_size,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "max_position_embeddings": 128,
            "initializer_range": 0.3,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        }
        | shape
        | more
    )
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def output_projections(hf: Any) -> list[Any]:
    """The output projection of every layer's attention."""
    from lens_truth.models.structure import attentions

    return [hf.get_submodule(attention.projection) for attention in attentions(hf)]


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As users have it, whose shapes and types nobody checks before the package does."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture
def no_pdfs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures without their PDFs, half a second each: for tests of commands, whose figures have tests of their own."""
    from matplotlib.figure import Figure

    save = Figure.savefig

    def savefig(self: Figure, file: Any, **how: Any) -> None:
        file.write(b"%PDF") if how.get("format") == "pdf" else save(self, file, **how)

    monkeypatch.setattr(Figure, "savefig", savefig)


@pytest.fixture(params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    from lens_truth.zoo.tokenizer import build_tokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer(chat=True).save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def tiny(tokenizer: Any) -> Any:
    """A hooked random Llama that speaks the zoo's tokens."""
    from lens_truth.models.loading import load

    return load(build("llama-gqa-head-dim", len(tokenizer)), tokenizer=tokenizer)


@pytest.fixture(scope="session")
def zoo() -> Callable[[str], Any]:
    """Loads a model of the zoo once."""
    from lens_truth.models.loading import load

    loaded: dict[str, Any] = {}

    def get(name: str) -> Any:
        return loaded.setdefault(name, loaded.get(name) or load(f"zoo:{name}"))

    return get


@pytest.fixture(scope="session")
def data() -> Path:
    """The real data, where it is there."""
    folder = os.environ.get("LENS_TRUTH_DATA")
    if not folder:
        pytest.skip("LENS_TRUTH_DATA is not set: real data is not here")
    return Path(folder)


def real_folder(name: str) -> Path:
    """Where a real model lies: in LENS_TRUTH_REAL, by default the cache that `make real` fills. Skips where it is not
    there."""
    from lens_truth.models.packages import cache_folder

    folder = Path(os.environ.get("LENS_TRUTH_REAL") or cache_folder())
    if not (folder / name).exists():
        pytest.skip(f"{name} is neither in LENS_TRUTH_REAL nor in the cache of `make real`: the real model is not here")
    return folder / name


@pytest.fixture(scope="session")
def real() -> Callable[[str], Any]:
    """Loads a real model (`smollm2`, `gemma3-270m`) once, where it is there."""
    from lens_truth.models.loading import load

    loaded: dict[str, Any] = {}

    def get(name: str) -> Any:
        folder = str(real_folder(name))
        return loaded.setdefault(name, loaded.get(name) or load(folder))

    return get


@pytest.fixture(scope="session")
def tiny_folder(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random Qwen2 with a tokenizer, as a user's own checkpoint."""
    folder = tmp_path_factory.mktemp("tiny")
    build("qwen2", len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def flat_scores(folder: Path) -> Path:
    """A score file of the tiny folder's shape."""
    np.save(folder / "good.npy", np.full((3, 4), 0.5))
    return folder / "good.npy"


def killed(work: Callable[[], object]) -> None:
    """Does something in a process of its own, which dies of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forks beside threads
        child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `lens-truth ARGUMENTS`."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    code = stop.value.code
    assert isinstance(code, int)
    return code, printed.out, printed.err


def refused(capsys: pytest.CaptureFixture[str], complaint: str, *arguments: str | Path) -> None:
    """Exit code 2 and one sentence, which holds the complaint."""
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert err.startswith("error: ") and err.count("\n") == 1 and complaint in err
