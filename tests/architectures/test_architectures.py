"""A few of what `make architectures` tries on every class."""

from __future__ import annotations

import pytest
import transformers
from architectures.examine import examine
from architectures.sweep import CAUSAL, PAGE, page, types_in
from architectures.tiny import tiny

from lens_truth.errors import InputError
from lens_truth.models.loading import load

RIGHT = {
    "gpt2": ("4 x 16", "plain"),
    "gpt_neox": ("4 x 16", "plain"),
    "gptj": ("4 x 16", "plain"),
    "opt": ("4 x 16", "plain"),
    "bloom": ("4 x 16", "plain"),
    "falcon": ("4 x 16", "plain"),
    "mpt": ("4 x 16", "plain"),
    "phi3": ("4 x 16", "plain"),
    "olmo2": ("4 x 16", "plain"),
    "cohere2": ("4 x 16", "plain"),
    "deepseek_v3": ("4 x 20", "plain"),
    "gpt_oss": ("4 x 16", "plain"),
    "qwen3_next": ("4 x 16", "per head"),
    "gemma4_text": ("4 x 16/32", "plain"),
    "mixtral": ("4 x 16", "plain"),
    "bitnet": ("4 x 16", "norm over heads"),
    "hy_v4": ("4 x 20", "per head"),
}
"""Heads x width, and what z is."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model_type", RIGHT)
def test_a_class_is_accepted_and_right(model_type: str) -> None:
    row = examine(model_type)
    assert (row.refused, row.wrong, row.heads, row.z) == ("", [], *RIGHT[model_type])
    assert len(row.passed) >= 18


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("model_type", "reason", "more"),
    [
        ("bert", "no token sees those behind it", {"is_decoder": False}),
        ("diffllama", "hook_z of a head is what its own attention gives out", {}),
        ("longcat_flash", r"several attentions \(self_attn.0, self_attn.1\)", {}),
        ("mamba", "no decoder layers whose attention ends in an output projection", {}),
        ("hrm_text", "once a pass", {}),
        ("blt", "states no one width of a residual stream", {}),
        ("dots3_note_text", "differ in the number of heads", {}),
    ],
)
def test_a_class_is_refused_with_the_reason(model_type: str, reason: str, more: dict[str, bool]) -> None:
    with pytest.raises(InputError, match=reason):
        load(tiny(model_type, **more))


def test_the_page_names_the_installed_classes() -> None:
    version, types = types_in(PAGE.read_text(encoding="utf-8"))
    if version != transformers.__version__:
        pytest.skip(f"docs/architectures.md is about Transformers {version}")
    assert types >= set(CAUSAL)


def test_the_page_says_what_was_found() -> None:
    made = page([examine("llama")])
    assert types_in(made) == (transformers.__version__, {"llama"})
    assert "| `llama` | LlamaForCausalLM | 3 of 3 | 4 x 16 | attention's output |  |" in made
