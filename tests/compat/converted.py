"""A Hugging Face model as TransformerLens 3.9's HookedTransformer, its weights converted by TransformerLens.

`HookedTransformer.from_pretrained` takes models by the names in TransformerLens's table only; the tests need tiny ones
and the zoo's.
"""

from __future__ import annotations

from typing import Any

import pytest

try:
    from transformer_lens import HookedTransformer, HookedTransformerConfig, loading_from_pretrained
except ImportError:  # what TransformerLens 4 raises for a name that it has removed
    pytest.skip("TransformerLens 4 has no HookedTransformer; `make compat-oldest` runs this", allow_module_level=True)

PROCESSING = ("fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases")
"""What `HookedTransformer.from_pretrained` does to the weights by default, and `from_pretrained_no_processing` not."""


def convert(hf: Any, tokenizer: Any = None, *, processed: bool = False) -> Any:
    """The same weights in a HookedTransformer."""
    config = hf.config
    d_head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    cfg = HookedTransformerConfig(
        n_layers=config.num_hidden_layers,
        d_model=config.hidden_size,
        n_ctx=config.max_position_embeddings,
        d_head=d_head,
        n_heads=config.num_attention_heads,
        n_key_value_heads=config.num_key_value_heads,
        d_mlp=config.intermediate_size,
        d_vocab=config.vocab_size,
        act_fn=config.hidden_act,
        eps=config.rms_norm_eps,
        normalization_type="RMS",
        final_rms=True,
        gated_mlp=True,
        positional_embedding_type="rotary",
        rotary_dim=d_head,
        rotary_base=config.rope_parameters["rope_theta"],
        use_local_attn=bool(window),
        attn_types=["local"] * config.num_hidden_layers if window else None,
        window_size=window,
        original_architecture=type(hf).__name__,
        dtype=hf.dtype,
        init_weights=False,
        device="cpu",
    )
    weights = getattr(loading_from_pretrained, f"convert_{config.model_type}_weights")(hf, cfg)
    model = HookedTransformer(cfg, tokenizer)
    model.load_and_process_state_dict(weights, **dict.fromkeys(PROCESSING, processed))
    return model.eval()
