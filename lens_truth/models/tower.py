"""Where the heads of a Hugging Face model live: the layers of its language tower and their projections."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedConfig

from lens_truth.errors import InputError

TOWERS = ("model.language_model", "model")
"""Paths of the language tower, in order of preference: inside a multimodal model; a text model itself."""

_IN_TOWER = ("embed_tokens", "layers", "norm")
_SIDES = [f"self_attn.{side}_proj" for side in "qkvo"]
_IN_LAYER = (*_SIDES, "post_attention_layernorm", "mlp")


@dataclass(frozen=True)
class Heads:
    """How many layers, query heads and KV heads a layer, and how wide a head is."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int


def is_multimodal_config(config: Any) -> bool:
    """Whether a model of this config has a vision tower."""
    return getattr(config, "vision_config", None) is not None


def tower_path(hf: nn.Module) -> str:
    """Path of the language tower, whose modules have Llama's names; an InputError names those that are lacking."""
    path = next((path for path in TOWERS if _find(hf, f"{path}.layers") is not None), None)
    if path is None:
        children = ", ".join(name for name, _ in hf.named_children()) or "nothing"
        raise InputError(
            f"{type(hf).__name__} has no decoder layers at {' or '.join(f'{p}.layers' for p in TOWERS)} "
            f"(it holds {children}), so its heads cannot be hooked"
        )
    wanted = [f"{path}.{name}" for name in _IN_TOWER] + ["lm_head"]
    wanted += [f"{path}.layers.{i}.{name}" for i in range(len(_find(hf, f"{path}.layers"))) for name in _IN_LAYER]
    missing = [name for name in wanted if _find(hf, name) is None]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise InputError(f"{type(hf).__name__} lacks {', '.join(missing[:3])}{more}, so its heads cannot be hooked")
    return path


def heads_of(hf: nn.Module) -> Heads:
    """The head geometry that the config states, checked against every layer's output projection."""
    config: Any = hf.config
    projections = output_projections(hf)
    heads = heads_in(config.get_text_config(), len(projections))
    for layer, projection in enumerate(projections):
        width = projection.weight.shape[1]
        if width != heads.n_heads * heads.d_head:
            raise InputError(
                f"{type(hf).__name__}: layer {layer} has attention outputs of width {width}, "
                f"which is not {heads.n_heads} heads x {heads.d_head}"
            )
    return heads


def heads_in(text_config: Any, n_layers: int) -> Heads:
    """The head geometry that the config of a language tower states."""
    try:
        n_heads = text_config.num_attention_heads
        d_head = getattr(text_config, "head_dim", None) or text_config.hidden_size // n_heads
        return Heads(n_layers, n_heads, getattr(text_config, "num_key_value_heads", None) or n_heads, d_head)
    except RuntimeError as error:  # Transformers refuses to name one value (Gemma 4)
        raise InputError(
            f"{text_config.model_type}: its layers have heads of different width or number, so no gate fits all of them"
        ) from error


def output_projections(hf: nn.Module) -> list[nn.Linear]:
    """The `o_proj` of every layer, whether the model is wrapped in hooks or not; none may be quantised."""
    projections = [_find(layer, "self_attn.o_proj") for layer in _layers(hf)]
    for layer, projection in enumerate(projections):
        weight = projection.weight
        if weight.ndim != 2 or not weight.is_floating_point():
            raise InputError(f"{type(hf).__name__}: the output projection of layer {layer} is not a plain matrix")
    return projections


def has_gated_mlp(hf: nn.Module) -> bool:
    """Whether every layer has Llama's gated MLP, which TransformerLens can hook."""
    return all(in_every_layer(hf, f"mlp.{part}_proj") for part in ("gate", "up", "down"))


def in_every_layer(hf: nn.Module, path: str) -> bool:
    """Whether every layer has a module of this name."""
    return all(_find(layer, path) is not None for layer in _layers(hf))


def _layers(hf: nn.Module) -> list[nn.Module]:
    return list(_find(hf, f"{tower_path(hf)}.layers"))


def scale_heads(weight: Float[Tensor, "M HD"], gate: Float[Tensor, " H"]) -> Float[Tensor, "M HD"]:
    """The output projection with gate folded in: the columns of head h times gate[h]."""
    return scaled(weight, gate.repeat_interleave(weight.shape[1] // len(gate)))


def scaled(x: Float[Tensor, "*shape"], factor: Float[Tensor, "..."]) -> Float[Tensor, "*shape"]:
    """x times factor, rounded once to x's dtype: a factor near 1 would itself be rounded to 1 in half precision."""
    return (x * factor.to(x.device, torch.promote_types(x.dtype, torch.float32))).to(x.dtype)


def plain_twin(hf: nn.Module) -> nn.Module:
    """A plain Hugging Face model with the parameters and buffers of `hf`, wrapped in hooks or not.

    The tensors are the same objects (nothing is copied), the modules are new: wrapping them or replacing their
    parameters leaves `hf` as it is. An InputError refuses modules that the config does not describe (adapters,
    quantisation).
    """
    config: Any = hf.config
    config = copy.deepcopy(config)
    if getattr(config, "quantization_config", None) is not None and _is_gguf(config.quantization_config):
        del config.quantization_config  # the weights are floats since they were read
    with torch.device("meta"):
        twin = type(hf)(config)
    for name, module in cast("Iterable[tuple[str, Any]]", twin.named_modules()):
        source = _find(hf, name) if name else _unwrapped(hf)
        kind = cast("Any", type(module))
        more = {"bias"} if kind is nn.Linear else set[str]()  # which may have been added
        if source is None or type(source) is not kind or not _held(module) <= _held(source) <= _held(module) | more:
            raise InputError(f"{type(hf).__name__}: module '{name}' is not what the model's config describes")
        for parameter in source._parameters.values():
            _check_plain(hf, name, parameter)
        module._parameters.update({name: source._parameters[name] for name in _held(source)})
        module._buffers.update({name: source._buffers[name] for name in module._buffers})
    if hasattr(hf, "generation_config"):
        twin.generation_config = copy.deepcopy(hf.generation_config)
    return twin.train(hf.training)


def _check_plain(hf: nn.Module, name: str, parameter: Any) -> None:
    """Raises an InputError if a weight is not here, or not as plain numbers."""
    if parameter is None:
        return
    if parameter.is_meta:
        raise InputError(f"{type(hf).__name__}: the weights of '{name}' are not in memory: load it without offloading")
    if type(parameter.data) is not Tensor:
        kind = type(parameter.data).__name__
        raise InputError(f"{type(hf).__name__}: the weights of '{name}' are a {kind}, not plain numbers")


def _is_gguf(quantisation: Any) -> bool:
    """Of an entry of a config, which is an object until it has been saved once."""
    method = quantisation.get("quant_method") if hasattr(quantisation, "get") else quantisation.quant_method
    return getattr(method, "value", method) == "gguf"


def _held(module: Any) -> set[str]:
    return {name for name, parameter in module._parameters.items() if parameter is not None}


def _find(module: Any, path: str) -> Any:
    """The Hugging Face module at a dotted path, looking through TransformerLens's wrappers; None if absent."""
    for name in path.split("."):
        module = _unwrapped(module)._modules.get(name)
        if module is None:
            return None
    return _unwrapped(module)


def _unwrapped(module: Any) -> Any:
    while isinstance(inner := module._modules.get("_original_component"), nn.Module):
        module = inner
    return module


_KNOWN: WeakKeyDictionary[Any, tuple[bytes, str]] = WeakKeyDictionary()
_GLANCE = 4096


def weights_hash(model: Any) -> str:
    """A hash of all parameters, names and shapes included; the same for a model with and without hooks.

    It takes a second for half a gigabyte, so it is remembered until the weights look different (`_look`).
    """
    plain = getattr(model, "original_model", model)
    look = _look(plain)
    if plain not in _KNOWN or _KNOWN[plain][0] != look:
        _KNOWN[plain] = look, _hashed(plain)
    return _KNOWN[plain][1]


def _hashed(plain: Any) -> str:
    if isinstance(getattr(plain, "config", None), PreTrainedConfig):
        plain = plain_twin(plain)
    digest = hashlib.sha256()
    for name, parameter in sorted(plain.named_parameters()):
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}".encode())
        digest.update(_bytes(parameter))
    return digest.hexdigest()[:16]


def _look(plain: Any) -> bytes:
    """Where every parameter lies and how often PyTorch saw it change. PyTorch sees no change through `.data`, so some
    of the numbers too, at an odd distance, which hits every head of a projection."""
    digest = hashlib.sha256()
    for parameter in plain.parameters():
        numbers = parameter.detach().reshape(-1)
        digest.update(f"{parameter.data_ptr()} {parameter._version} {parameter.shape} {parameter.dtype}".encode())
        digest.update(_bytes(numbers[:: len(numbers) // _GLANCE | 1]))
    return digest.digest()


def _bytes(numbers: Tensor) -> Any:
    return numbers.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data
