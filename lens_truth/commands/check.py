"""Runs the self-test of the hooks on a model: logits equal Hugging Face's, hook shapes, gates equal folded weights,
batches equal single rows, cached generation equals uncached; of multimodal models with images too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from lens_truth.commands.run import Device, OneModel
from lens_truth.errors import InputError
from lens_truth.io.tables import print_table, text_table

if TYPE_CHECKING:
    from lens_truth.models.selftest import Check


@dataclass(frozen=True)
class Config(Device, OneModel):
    """Flags of `check`."""

    model: Annotated[str, tyro.conf.Positional] = "zoo:llama-base"
    """A Hugging Face id, a folder, a GGUF file, or zoo:NAME."""


def run(config: Config) -> None:
    """Prints every check with how far apart the two sides were."""
    from lens_truth.models.hooked import HookedModel
    from lens_truth.models.image_input import with_images
    from lens_truth.models.loading import load_image_processor, load_plain, load_tokenizer
    from lens_truth.models.selftest import batch_checks, finite_check, hook_checks, images_to_check
    from lens_truth.models.structure import is_multimodal_config

    trust = config.trust_remote_code
    hf = load_plain(config.model, device=config.device, dtype=config.dtype, trust_remote_code=trust)
    model = HookedModel(hf, load_tokenizer(config.model, trust_remote_code=trust), config.model)
    heads = model.heads
    if is_multimodal_config(hf.config):
        with_images(model, load_image_processor(config.model, trust_remote_code=trust))
    print(
        f"{config.model}: {type(hf).__name__}, {heads.n_layers} layers x {heads.n_heads} query heads of width "
        f"{heads.d_head} ({heads.n_kv_heads} key-value heads), {hf.dtype}, {_tensors(hf)}".replace("torch.", "")
    )
    for adapter in getattr(hf, "peft_config", {}).values():
        print(f"with an adapter ({adapter.peft_type.value}) of {adapter.base_model_name_or_path or 'an unnamed model'}")
    checks: list[Check] = [finite_check(model)]
    for images in images_to_check(model) if checks[0].passed else ():
        checks += hook_checks(model, images)
        if all(check.passed for check in checks):
            checks += batch_checks(model, images)
    rows = [["ok" if c.passed else "FAILED", c.name, f"{c.difference:.2g}", f"{c.allowed:.2g}"] for c in checks]
    print_table(text_table(["", "check", "difference", "allowed"], rows))
    print(f"\n{_common_gain(model)}")
    if failed := [check.name for check in checks if not check.passed]:
        raise InputError(f"{config.model} fails {len(failed)} of {len(checks)} checks: {'; '.join(failed)}")


def _tensors(hf: Any) -> str:
    from lens_truth.models.whole import tensors_read

    n, tied = tensors_read(hf)
    return f"{n} tensors read" + (f", {tied} more tied" if tied else "")


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
