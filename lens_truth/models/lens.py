"""What stands between the last layer and the unembedding, so that hidden states of lower layers can go through it too
(the logit lens)."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from lens_truth.errors import InputError
from lens_truth.models.batches import pad_rows, random_words, without_cache
from lens_truth.models.hooks import Hooked, inner_model
from lens_truth.models.structure import decoder_layers

_FOUND: WeakKeyDictionary[Any, nn.Module] = WeakKeyDictionary()


def final_norm(model: Hooked) -> nn.Module:
    """The module that makes the unembedding's input of the last layer's output. There is no table of families: it is
    seen in a pass over a few random words, once a model.

    Raises:
        InputError: if no one module does (streams that are joined, a projection behind the norm).
    """
    if model not in _FOUND:
        _FOUND[model] = _seen(model)
    return _FOUND[model]


def _seen(model: Any) -> nn.Module:
    hf = inner_model(model)
    path, layers = decoder_layers(hf)
    body = hf.get_submodule(path.rpartition(".")[0])
    passed: dict[nn.Module, tuple[Tensor, Tensor]] = {}
    ends: list[Tensor] = []

    def keep(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        given = args[0] if args else next(iter(kwargs.values()), None)
        if isinstance(given, Tensor) and isinstance(output, Tensor):
            passed[module] = (given, output)

    def end(module: nn.Module, args: Any, output: Any) -> None:
        ends.append(output if isinstance(output, Tensor) else output[0])

    def begin(module: nn.Module, args: Any) -> None:
        ends.append(args[0])

    others = [child for child in body.children() if child is not layers]
    handles = [child.register_forward_hook(keep, with_kwargs=True) for child in others]
    handles += [layers[-1].register_forward_hook(end), model.unembed.register_forward_pre_hook(begin)]
    try:
        ids, mask = pad_rows([random_words(model, 4)], model)
        with torch.no_grad():
            model(ids, attention_mask=mask, **without_cache(model))
    finally:
        for handle in handles:
            handle.remove()
    for module, (given, output) in passed.items():
        if len(ends) == 2 and _same(given, ends[0]) and _same(output, ends[1]):
            return module
    raise InputError(
        f"{type(hf).__name__}: no one module stands between its last layer and its unembedding, so lower layers cannot "
        "be read through it"
    )


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool((one.to(other.device) == other).all())
