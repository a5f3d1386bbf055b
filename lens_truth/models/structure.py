"""Where the heads of a Hugging Face model live: each decoder layer's attention and its output projection, found by
structure. There is no table of architectures; what is found is checked by measurement (`hook_checks`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import gcd
from typing import Any, cast

from torch import nn

from lens_truth.errors import InputError

_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_NO_HEADS = re.compile(
    r"cross|enc(oder)?_?(dec_?)?att|linear_?att|lightning|delta|mamba|recurrent|rwkv|retention|hyper|norm$|pooler",
    re.IGNORECASE,
)
"""Names of what looks at another sequence, or has no softmax over tokens; and of what only bears the name."""
_PROJECTION = re.compile(
    r"((o|out|output|c)_?(proj|lin|projection)|dense|wo|o|out|proj|attention_out)(\.linear)?", re.IGNORECASE
)
_MLP = re.compile(r"(^|[._])(mlp|ffn?|fc\d?|feed_?forward|output)([._]|$)", re.IGNORECASE)
_EXPERTS = re.compile(r"expert|moe|(mlp|ffn|feed_?forward).*router", re.IGNORECASE)
"""Not every router sends tokens to experts: AltUp's (Gemma 3n) mixes streams."""
_NORM = re.compile(r"norm(\.|$)", re.IGNORECASE)
"""A norm may hold an MLP of its own."""
_OTHER_PARTS = re.compile(r"(^|\.)(vision|visual|image|audio|speech|talker|code2wav|perceiver|mtp)", re.IGNORECASE)
_WORD = r"[A-Z][a-z0-9]*"
_KV_NAMES = ("num_key_value_heads", "num_kv_heads", "kv_heads")
_H_NAMES = ("num_heads", "num_attention_heads", "n_heads", "n_head", "nhead")


@dataclass(frozen=True)
class Heads:
    """How many layers with attention, query heads and KV heads a layer (where layers differ, so many that each layer's
    are a multiple), and how wide a head is (the widest)."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int


@dataclass(frozen=True)
class Attention:
    """Softmax attention of one decoder layer; dotted paths in the Hugging Face model."""

    layer: int
    """The decoder layer's number, counted over all layers, those without attention too."""
    block: str
    path: str
    """The attention module."""
    projection: str
    """The last linear map inside it, whose input is what the heads give out, side by side."""
    n_heads: int
    d_head: int


def attentions(hf: nn.Module) -> tuple[Attention, ...]:
    """The attention of every decoder layer that has one; of a multimodal model, of its language tower.

    Raises:
        InputError: if there is none, or it is none that reads left to right through an output projection.
    """
    path, layers = decoder_layers(hf)
    d_model = _config(hf).hidden_size
    found: list[Attention] = []
    for layer, block in enumerate(layers):
        inside = list(_attentions_in(block, d_model))
        if not inside and (lacking := _without_projection(block)):
            raise InputError(
                f"{type(hf).__name__}: layer {layer} has an attention ({lacking}) that ends in no output projection to "
                f"the residual stream of width {d_model}, so its heads cannot be hooked"
            )
        if len(inside) > 1:
            names = ", ".join(name for name, _ in inside)
            raise InputError(
                f"{type(hf).__name__}: layer {layer} holds several attentions ({names}), and no one is its"
            )
        for name, projection in inside:
            module = block.get_submodule(name)
            width = (linear_shape(module.get_submodule(projection)) or (0, 0))[0]
            n_heads = _n_heads(hf, module)
            if width % n_heads:
                raise InputError(
                    f"{type(hf).__name__}: layer {layer} has attention outputs of width {width}, which is not "
                    f"{n_heads} heads of one width"
                )
            block_path = f"{path}.{layer}"
            at = f"{block_path}.{name}"
            found.append(Attention(layer, block_path, at, f"{at}.{projection}", n_heads, width // n_heads))
    if len({attention.n_heads for attention in found}) > 1:
        raise InputError(f"{type(hf).__name__}: its layers differ in the number of heads, so no gate fits all of them")
    return tuple(found)


def heads_of(hf: nn.Module) -> Heads:
    """The head geometry of a model."""
    found = attentions(hf)
    n_heads = found[0].n_heads
    n_kv = gcd(*(_n_kv_heads(hf, hf.get_submodule(attention.path), n_heads) for attention in found))
    return Heads(len(found), n_heads, n_kv, max(attention.d_head for attention in found))


def heads_in(text_config: Any, n_layers: int) -> Heads:
    """The head geometry that the config of a language tower with Llama's names states."""
    try:
        n_heads = text_config.num_attention_heads
        d_head = getattr(text_config, "head_dim", None) or text_config.hidden_size // n_heads
        return Heads(n_layers, n_heads, getattr(text_config, "num_key_value_heads", None) or n_heads, d_head)
    except RuntimeError as error:  # Transformers refuses to name one value (Gemma 4)
        raise InputError(
            f"{text_config.model_type}: its layers have heads of different width or number, which cannot be compared"
        ) from error


def check_decoder(config: Any, name: str) -> None:
    """Raises an InputError, in which `name` is said, if a config is of an encoder with a decoder."""
    if getattr(config, "is_encoder_decoder", False):
        raise InputError(
            f"{name} is an encoder with a decoder, which attends to another sequence than its own: only decoders by "
            "themselves are hooked"
        )


def decoder_layers(hf: nn.Module) -> tuple[str, nn.ModuleList]:
    """Path and list of the decoder's layers: the longest list of modules with attention outside encoders and towers."""
    check_decoder(hf.config, type(hf).__name__)
    if (d_model := getattr(_config(hf), "hidden_size", None)) is None:
        raise InputError(f"{type(hf).__name__}: its config states no one width of a residual stream (hidden_size)")
    lists = [
        (path, module)
        for path, module in modules_of(hf)
        if isinstance(module, nn.ModuleList)
        and not _OTHER_PARTS.search(path)
        and any(any(_attentions_in(block, d_model)) for block in module)
    ]
    if not lists:
        children = ", ".join(name for name, _ in hf.named_children()) or "nothing"
        raise InputError(
            f"{type(hf).__name__} has no decoder layers whose attention ends in an output projection (it holds "
            f"{children}), so its heads cannot be hooked"
        )
    return max(lists, key=lambda found: ("encoder" not in found[0], len(found[1])))  # BERT's decoder is called one


def _attentions_in(block: nn.Module, d_model: int) -> Iterator[tuple[str, str]]:
    """Paths in a layer of its outermost attentions, each with that of its output projection in it."""
    outer = ""
    for name, module in modules_of(block):
        if (outer and name.startswith(outer)) or not _named(name, module, block):
            continue
        if projection := _projection(module, d_model):
            outer = f"{name}."
            yield name, projection


def _without_projection(block: nn.Module) -> str | None:
    """The path in a layer of something that is called an attention and holds linear maps."""
    called = [name for name, module in modules_of(block) if _named(name, module, block)]
    linear = [name for name, module in modules_of(block) if linear_shape(module)]
    return next((name for name in called if any(other.startswith(f"{name}.") for other in linear)), None)


def _named(name: str, module: nn.Module, block: nn.Module) -> bool:
    """Whether a module of a layer is called an attention, by its owner or by its class. Words that the layer's class
    has too are the model's name (Kimi Linear, Recurrent Gemma) and say nothing."""
    own = re.sub(r"(\.\d+)+$", "", name).rpartition(".")[2]
    known = re.findall(_WORD, type(block).__name__)
    kind = "".join(word for word in re.findall(_WORD, type(module).__name__) if word not in known)
    is_one = (_ATTENTION.search(own) or _ATTENTION.search(kind)) and not isinstance(module, nn.ModuleList)
    return bool(name and is_one) and not (_NO_HEADS.search(own) or _NO_HEADS.search(kind))


def _projection(attention: nn.Module, d_model: int) -> str | None:
    """The path in an attention of the linear map to the residual stream that lies least deep, bears a usual name, and
    is defined last, in this order."""
    found: list[str] = []
    for name, module in modules_of(attention):
        inside = any(name.startswith(f"{other}.") for other in found)  # of an adapter around it
        if name and not inside and (shape := linear_shape(module)) and shape[1] == d_model:
            found.append(name)
    usual = [name for name in found if _PROJECTION.fullmatch(re.sub(r".*\.(?!linear$)", "", name))]
    depth = min((name.count(".") for name in usual), default=0)
    return next((name for name in reversed(usual) if name.count(".") == depth), None)


def attention_in(block: nn.Module, d_model: int) -> str | None:
    """The path in a layer of its attention; None in a layer without one."""
    return next((name for name, _ in _attentions_in(block, d_model)), None)


def has_experts(block: nn.Module) -> bool:
    """Whether a layer sends tokens to experts."""
    return any(_EXPERTS.search(name) for name, _ in modules_of(block))


def mlp_output(block: nn.Module, attention: str, d_model: int) -> str | None:
    """The path in a layer of its MLP's last linear map; None for a mixture of experts, or if there is no such map."""
    if has_experts(block):
        return None
    linear = [
        name
        for name, module in modules_of(block)
        if not name.startswith(attention)
        and _MLP.search(name)
        and not _NORM.search(name)
        and (linear_shape(module) or (0, 0))[1] == d_model
    ]
    outermost = [name for name in linear if not any(name.startswith(f"{other}.") for other in linear)]
    return outermost[-1] if outermost else None


def modules_of(module: nn.Module) -> list[tuple[str, Any]]:
    """Paths and modules, the module itself first (path "")."""
    return list(cast("Iterable[tuple[str, Any]]", module.named_modules()))


def linear_shape(module: Any) -> tuple[int, int] | None:
    """Inputs and outputs of a linear map, of whatever class (quantised, adapted, GPT-2's); None for other modules."""
    sizes = [(getattr(module, a, None), getattr(module, b, None)) for a, b in _SIZES]
    return next(((a, b) for a, b in sizes if isinstance(a, int) and isinstance(b, int)), None)


_SIZES = (("in_features", "out_features"), ("nx", "nf"), ("infeatures", "outfeatures"))


def is_multimodal_config(config: Any) -> bool:
    """Whether a model of this config has a vision tower."""
    return getattr(config, "vision_config", None) is not None


def _config(hf: Any) -> Any:
    return hf.config.get_text_config(decoder=True)


def _n_heads(hf: nn.Module, attention: nn.Module) -> int:
    """The number of query heads, as the attention or one of its parts says, or else the config."""
    for module in attention.modules():
        for name in _H_NAMES:
            if isinstance(value := getattr(module, name, None), int) and value > 0:
                return value
    return _config(hf).num_attention_heads


def _n_kv_heads(hf: nn.Module, attention: Any, n_heads: int) -> int:
    """Of one attention, as it says itself, or else the config; as many as query heads where neither does."""
    if isinstance(groups := getattr(attention, "num_key_value_groups", None), int) and groups > 0:
        return n_heads // groups
    for owner in (attention, _config(hf)):
        for name in _KV_NAMES:
            if isinstance(value := getattr(owner, name, None), int) and value > 0 and n_heads % value == 0:
                return value
    return n_heads
