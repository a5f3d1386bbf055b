"""A shift folded into the biases of a plain model, which loads without this package."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lens_truth.errors import InputError
from lens_truth.models.adapted import merged, plain_model
from lens_truth.models.biases import add_to_biases
from lens_truth.models.folding import check_plain
from lens_truth.models.structure import Attention, attentions, heads_of, mlp_output
from lens_truth.models.twin import shared_copy

_N_WORDS = 6


def folded(model: Any, vectors: Float[Tensor, "L H D"], *, at_heads: bool) -> PreTrainedModel:
    """See `HeadShift.fold_into`."""
    plain = plain_model(model, "shift")
    twin, d_model = merged(shared_copy(plain)), plain.config.get_text_config(decoder=True).hidden_size
    heads = heads_of(plain)
    wanted = (heads.n_layers, heads.n_heads, heads.d_head) if at_heads else (heads.n_layers, 1, d_model)
    if tuple(vectors.shape) != wanted:
        of, its = (" x ".join(map(str, sizes)) for sizes in (vectors.shape, wanted))
        raise InputError(f"the shift is of {of} (layers, heads, width), and the model has {its} there")
    acting = [(attention, vector) for attention, vector in zip(attentions(twin), vectors, strict=True) if vector.any()]
    with torch.no_grad():
        if at_heads:
            add_to_biases(twin, {a.projection: _projected(twin, a, vector) for a, vector in acting})
        else:
            paths = {_mlp_of(twin, attention, d_model): vector[0] for attention, vector in acting}
            add_to_biases(twin, paths)
            _check_stream(plain, twin, acting)
    assert isinstance(twin, PreTrainedModel)
    return twin


def _projected(twin: nn.Module, attention: Attention, vector: Float[Tensor, "H D"]) -> Float[Tensor, " M"]:
    """What the output projection makes of the vectors of a layer, in double precision."""
    projection: Any = twin.get_submodule(attention.projection)
    check_plain(projection, "shift")
    weight = projection.weight
    given = vector[:, : attention.d_head].flatten().to(weight.device, torch.float64)
    return given @ weight.double() if isinstance(projection, Conv1D) else weight.double() @ given


def _mlp_of(twin: nn.Module, attention: Attention, d_model: int) -> str:
    """The path of the map whose bias is added to the residual stream behind a layer."""
    inside = attention.path.removeprefix(f"{attention.block}.")
    found = mlp_output(twin.get_submodule(attention.block), inside, d_model)
    if found is None:
        raise InputError(
            f"{type(twin).__name__}: layer {attention.layer} has no one MLP whose bias could hold a shift of the "
            "residual stream: attach it"
        )
    path = f"{attention.block}.{found}"
    check_plain(twin.get_submodule(path), "shift")
    return path


def _check_stream(plain: Any, twin: Any, acting: list[tuple[Attention, Float[Tensor, "1 M"]]]) -> None:
    """Raises an InputError unless every layer adds to the stream what its MLP's bias has gained: behind some MLPs
    stands a norm, or a factor. Measured on a few random words, each layer on what it is really given."""
    seen: dict[int, tuple[tuple[Any, ...], dict[str, Any], Any]] = {}

    def keep(layer: int, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        seen[layer] = args, dict(kwargs), output

    blocks = {a.layer: plain.get_submodule(a.block) for a, _ in acting}
    handles = [block.register_forward_hook(partial(keep, layer), with_kwargs=True) for layer, block in blocks.items()]
    try:
        ids = _words(plain)
        plain(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    for attention, vector in acting:
        args, kwargs, output = seen[attention.layer]
        before, after = (_first(its).float() for its in (output, twin.get_submodule(attention.block)(*args, **kwargs)))
        wanted = vector[0].to(before)
        rounding = torch.finfo(_first(output).dtype).eps * float(before.abs().max())
        if not (after - before - wanted).abs().max() <= 1e-3 * wanted.abs().max() + 8 * rounding:
            raise InputError(
                f"{type(plain).__name__}: what layer {attention.layer}'s MLP writes is changed (by a norm or a factor) "
                "before it is added to the residual stream, so its bias cannot hold the shift: attach it"
            )


def _first(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


def _words(plain: Any) -> Int[Tensor, "1 T"]:
    """A few random words, of ids that every vocabulary has."""
    drawn = torch.randint(3, 3 + _N_WORDS, (1, _N_WORDS), generator=torch.Generator().manual_seed(0))
    return drawn.to(plain.get_input_embeddings().weight.device)
