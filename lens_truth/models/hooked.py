"""`HookedModel`: a Hugging Face model as it is, and TransformerLens's hook points beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformer_lens import ActivationCache, HookedRootModule
from transformer_lens.config import TransformerLensConfig

from lens_truth.errors import InputError
from lens_truth.models import points, structure
from lens_truth.models.batches import pad_rows, tokenizer_of
from lens_truth.models.placing import device_of
from lens_truth.models.points import Point
from lens_truth.models.prompts import Prompt, encode_prompts


class HookedModel(HookedRootModule):
    """A Hugging Face model with TransformerLens's hooks: `model(ids)` for the logits, `hooks`, `run_with_hooks`,
    `run_with_cache`, `hook_dict`, `reset_hooks`, `generate`, `to_tokens`.

    The model inside is left as it is, module by module; torch hooks hand what passes there to hook points of these
    names, the block's number l counted over all decoder layers:

    | name | what |
    |---|---|
    | `blocks.{l}.attn.hook_z` | what the heads give out, [batch, pos, n_heads, d_head], in layers with attention |
    | `blocks.{l}.hook_attn_out` | what the output projection makes of it |
    | `blocks.{l}.attn.hook_pattern` | [batch, head, query, key], under eager attention only; for reading |
    | `blocks.{l}.mlp.hook_post`, `hook_mlp_out` | input and output of the MLP's last map, where it is one MLP |
    | `blocks.{l}.hook_resid_pre`, `hook_resid_post` | the residual stream before and behind the layer |
    | `hook_embed` | token embeddings |

    TransformerLens's own bridge (`load(..., stock=True)`) has the others, `hook_result` among them.
    """

    image_processor: Any = None
    """A multimodal model's Hugging Face image processor; None if it can be shown no images."""
    image_input: Any = None
    """How it is shown images: the `ImageInput` that `images_of` makes when it is first asked."""

    def __init__(self, hf: Any, tokenizer: Any, name: str, loading: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.loading = loading
        """What `load` was given, by which another process makes the same model; None of a model in memory."""
        self.original_model, self.tokenizer = hf, tokenizer
        self.attentions = structure.attentions(hf)
        self.attention_layers = [attention.layer for attention in self.attentions]
        """The decoder layers that have heads, in order: the layers of scores and gates."""
        self.heads = structure.heads_of(hf)
        _, layers = structure.decoder_layers(hf)
        self.cfg = _config(hf, self.heads, len(layers), tokenizer, name)
        self.hook_embed = Point(points.out_of(hf.get_input_embeddings()))
        self.blocks = nn.ModuleList(_block(layer) for layer in layers)
        for attention in self.attentions:
            self._add_heads(attention)
        for number, layer in enumerate(layers):
            self._add_mlp(number, layer)
        self.setup()
        self.training = hf.training  # TransformerLens's analysis tools ask it of every module, points among them
        for part in (self.hook_embed, self.blocks):
            part.train(hf.training)

    def setup(self) -> None:
        """Names the hook points, and none of the modules of the model inside."""
        self.mod_dict, self.hook_dict = {}, {}
        for name, module in structure.modules_of(self):
            if name.startswith(("hook_", "blocks.")):
                self.mod_dict[name] = module
            if isinstance(module, Point):
                module.name = name
                self.hook_dict[name] = module

    def _add_heads(self, attention: structure.Attention) -> None:
        hf, n_heads = self.original_model, attention.n_heads
        projection = hf.get_submodule(attention.projection)
        block: Any = self.blocks[attention.layer]
        block.attn = _group(
            hook_z=Point(points.heads_into(projection, n_heads), always=True),
            hook_pattern=Point(points.pattern_of(hf.get_submodule(attention.path), projection, n_heads)),
        )
        block.hook_attn_out = Point(points.out_of(projection), always=True)

    def _add_mlp(self, number: int, layer: nn.Module) -> None:
        inside = structure.attention_in(layer, self.cfg.d_model)
        if last := structure.mlp_output(layer, inside or "\0", self.cfg.d_model):
            block: Any = self.blocks[number]
            block.mlp = _group(hook_post=Point(points.neurons_into(layer.get_submodule(last)), always=True))
            block.hook_mlp_out = Point(points.out_of(layer.get_submodule(last)))

    @property
    def unembed(self) -> nn.Module:
        """The map from the residual stream to the logits."""
        return self.original_model.get_output_embeddings()

    def forward(
        self,
        input: Int[Tensor, "batch pos"] | str | Sequence[str] | None = None,
        *,
        input_ids: Int[Tensor, "batch pos"] | None = None,
        return_type: str | None = "logits",
        **how: Any,
    ) -> Any:
        """Logits [batch, pos, vocabulary] of token ids or text; the mean `loss` of the next token, `both`, or None.

        All other arguments are those of the Hugging Face model.
        """
        if input is not None:
            input_ids = input if isinstance(input, Tensor) else self.to_tokens(input)
        logits = self.original_model(input_ids, **how).logits
        if return_type is None or return_type == "logits":
            return None if return_type is None else logits
        if input_ids is None or return_type not in ("loss", "both"):
            raise InputError(f"return_type '{return_type}' is not one of logits, loss, both")
        scored = how.get("attention_mask", torch.ones_like(input_ids))[:, 1:].bool()
        loss = nn.functional.cross_entropy(logits[:, :-1][scored].float(), input_ids[:, 1:][scored])
        return loss if return_type == "loss" else (logits, loss)

    def run_with_cache(self, *args: Any, return_cache_object: bool = True, **how: Any) -> tuple[Any, Any]:
        """What the model gives out, and an `ActivationCache` of what passed the hooks (`names_filter`: which ones)."""
        output, cache = cast("tuple[Any, dict[str, Tensor]]", super().run_with_cache(*args, **how))
        if not return_cache_object:
            return output, cache
        return output, ActivationCache(cache, self, has_batch_dim=not how.get("remove_batch_dim", False))

    def generate(self, input: Int[Tensor, "batch pos"] | str, **how: Any) -> Any:
        """What Hugging Face's `generate` writes after token ids or a text: prompt and answer, in the form of the input.

        TransformerLens's `verbose` has no meaning here.
        """
        how.pop("verbose", None)
        if isinstance(input, str):
            return self.to_string(self.original_model.generate(self.to_tokens(input), **how))[0]
        return self.original_model.generate(input, **how)

    def to_tokens(self, text: str | Sequence[str], prepend_bos: bool | None = None) -> Int[Tensor, "batch pos"]:
        """Token ids of a text to be continued, as `encode_prompts` has them; or with a BOS in front, or without one."""
        tokenizer, texts = tokenizer_of(self), [text] if isinstance(text, str) else text
        rows = [row.ids for row in encode_prompts(tokenizer, [Prompt(its, True) for its in texts])]
        bos = tokenizer.bos_token_id
        if prepend_bos is not None and bos is not None:
            rows = [row[1:] if row[:1] == [bos] else row for row in rows]
            rows = [[bos, *row] if prepend_bos else row for row in rows]
        return pad_rows(rows, self)[0]

    def to_string(self, tokens: Int[Tensor, "..."]) -> Any:
        """The text of token ids: of one row, or of each row of a batch."""
        return self.tokenizer.decode(tokens) if tokens.ndim < 2 else self.tokenizer.batch_decode(tokens)

    def to_str_tokens(self, text: str | Int[Tensor, " pos"], prepend_bos: bool | None = None) -> list[str]:
        """The tokens of a text one by one, each as text."""
        ids = self.to_tokens(text, prepend_bos)[0] if isinstance(text, str) else text.flatten()
        return self.tokenizer.batch_decode(ids[:, None])

    def to_single_token(self, text: str) -> int:
        """The id of a text that is one token."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        if len(ids) != 1:
            raise InputError(f"'{text}' is {len(ids)} tokens, not one")
        return ids[0]


def _block(layer: nn.Module) -> nn.Module:
    return _group(hook_resid_pre=Point(points.into(layer)), hook_resid_post=Point(points.out_of(layer)))


def _group(**points: Point) -> nn.Module:
    group = nn.Module()
    for name, point in points.items():
        group.add_module(name, point)
    return group


def _config(hf: Any, heads: structure.Heads, n_layers: int, tokenizer: Any, name: str) -> Any:
    """What TransformerLens's code asks a model for."""
    text = hf.config.get_text_config(decoder=True)
    cfg: Any = TransformerLensConfig(
        d_model=text.hidden_size,
        d_head=heads.d_head,
        n_layers=n_layers,
        n_ctx=next((n for limit in _LIMITS if (n := getattr(text, limit, None))), _NO_LIMIT),
        n_heads=heads.n_heads,
        d_vocab=text.vocab_size,
        device=str(device_of(hf)),
        dtype=next(hf.parameters()).dtype,
        n_key_value_heads=heads.n_kv_heads if heads.n_kv_heads != heads.n_heads else None,
    )
    cfg.model_name, cfg.d_vocab_out = name, text.vocab_size
    if tokenizer is not None:
        ids, bos = tokenizer.encode("a") or [None], tokenizer.bos_token_id
        cfg.default_prepend_bos = cfg.tokenizer_prepends_bos = bos is not None and ids[0] == bos
    return cfg


_LIMITS = ("max_position_embeddings", "max_seq_len", "seq_length")
_NO_LIMIT = 1 << 20
"""Tokens of context where a config states no limit (ALiBi, recurrent layers)."""
