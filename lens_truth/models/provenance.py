"""What a number comes from: everything that decides it has a part in what it is kept under."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lens_truth.data.examples import Example, examples_hash
from lens_truth.io.files import hash_of
from lens_truth.io.readers import is_object
from lens_truth.io.runs import version_of
from lens_truth.models.adapted import adapter_states
from lens_truth.models.hashing import weights_hash
from lens_truth.models.hooks import Hooked, name_of
from lens_truth.models.placing import device_of

_NO_MATTER = ("_name_or_path", "transformers_version", "architectures")
"""What a configuration says of its own file; a model that was moved, or saved anew, is the same."""
_PACKAGES = ("lens-truth", "torch", "transformers", "transformer-lens", "tokenizers")
"""A new version of them may compute something else, and if only in the last digits; then it is computed anew."""


def provenance_of(model: Hooked, examples: Sequence[Example], template: str) -> dict[str, Any]:
    """What a number comes from: name, weights, KV heads and setup of the model, the examples, the prompt they were put
    in."""
    return {
        "model": name_of(model),
        "weights": weights_hash(model),
        "setup": setup_hash(model),
        "n_kv_heads": getattr(model.cfg, "n_key_value_heads", None) or model.cfg.n_heads,
        "examples": examples_hash(examples),
        "template": template,
    }


def setup_hash(model: Any) -> str:
    """Of what a model's numbers depend on beside its weights: configuration, number format, attention, kind of device,
    where answers end, which adapters are active, tokenizer and chat template, image processor, and the versions of what
    computes."""
    hf, tokenizer = getattr(model, "original_model", None), model.tokenizer
    processor = getattr(model, "image_processor", None)
    parts: list[Any] = [type(model).__name__, str(next(model.parameters()).dtype), device_of(model).type]
    parts += [f"{package} {version_of(package)}" for package in _PACKAGES]
    if hf is None:  # a HookedTransformer
        parts += [_lasting(vars(model.cfg))]
    else:
        text = hf.config.get_text_config()
        parts += [_lasting(hf.config.to_dict()), hf.config._attn_implementation, text._attn_implementation]
        parts += [hf.generation_config.eos_token_id, *adapter_states(hf)]
    if tokenizer is not None:
        parts += [tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else repr(tokenizer)]
        parts += [tokenizer.chat_template]
    if processor is not None:
        parts += [getattr(processor, "to_json_string", processor.__repr__)()]
    return hash_of(*(json.dumps(part, sort_keys=True, default=str) for part in parts))


def _lasting(config: Any) -> Any:
    if not is_object(config):
        return config
    return {name: _lasting(value) for name, value in config.items() if name not in _NO_MATTER}
