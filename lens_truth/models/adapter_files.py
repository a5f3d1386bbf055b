"""Adapters as PEFT saves them: a config, and tensors that change some of a base model's projections.

PEFT itself merges one projection at a time into the base's weight, so that what it can merge can be compared, whatever
the kind (LoRA with its ranks, scalings and magnitudes, IA3, LoHa, ...), without a merged copy on disk.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from jaxtyping import Float
from torch import Tensor, nn

from lens_truth.errors import InputError, first_line

WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
ROOT = "base_model.model."
"""What PEFT puts before the name of every module of the base."""

_PLACE = re.compile(r"(?P<path>.*layers\.(?P<layer>\d+)\.self_attn\.(?P<side>[qkvo])_proj)\.(?P<part>.+)")
_OTHER_PARTS = re.compile(r"vision|visual|image|audio|speech|talker|code2wav|perceiver|resampler|connector|mtp")
_ELSEWHERE = ("exclude_modules", "modules_to_save", "target_parameters", "trainable_token_indices", "lora_bias")
"""What a config says of other modules than a projection, or of its bias."""
_NOT_ONE_BY_ONE = {"POLY", "XLORA", "SHADOW", "CARTRIDGE"}
"""Kinds that choose among adapters by the text, or act outside of the base's modules."""


def needs_peft() -> Any:
    """The module `peft`; an InputError says what to install."""
    try:
        import peft
    except ImportError as error:
        raise InputError(f"adapters need peft: pip install 'lens-truth[peft]' ({first_line(error)})") from error
    return peft


def adapter_folder(name: str) -> Path:
    """Where an adapter lies, or is fetched to."""
    if Path(name).is_dir():
        return Path(name)
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=["adapter_*"]))
    except (OSError, ValueError) as error:
        raise InputError(f"adapter '{name}' cannot be found: {first_line(error)}") from error


def read_config(folder: Path) -> Any:
    """An adapter's config; an InputError refuses what is none, and kinds that are no change of a model's modules."""
    peft = needs_peft()
    try:
        config = peft.PeftConfig.from_pretrained(str(folder))
        kind = check_kind(config)
    except InputError:
        raise
    except Exception as error:  # json, dataclasses, hub: whatever a damaged config runs into
        raise InputError(f"{folder}: its adapter_config.json cannot be read ({first_line(error)})") from error
    if not any((folder / name).is_file() for name in WEIGHTS):
        raise InputError(f"{folder}: holds the config of an adapter ({kind}), but no {WEIGHTS[0]}")
    return config


def check_kind(config: Any) -> str:
    """The name of an adapter's kind; an InputError refuses those whose hooks would see something else than the text's
    tokens under one set of weights."""
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    if config.is_prompt_learning or config.is_adaption_prompt:
        raise InputError(
            f"{kind} puts virtual tokens before the text, so positions would not be those of its tokens; LoRA and other "
            "adapters of weights can be hooked"
        )
    chosen = [name for name in ("alora_invocation_tokens", "arrow_config") if getattr(config, name, None)]
    if kind in _NOT_ONE_BY_ONE or chosen:
        raise InputError(f"{' with '.join([kind, *chosen])} changes with the text, so heads have no fixed weights")
    return kind


@dataclass(frozen=True)
class AdapterFiles:
    """An adapter on disk: for each attention projection that it changes, the module's path and the names of its tensors.
    """

    name: str
    path: Path
    """The file of its tensors."""
    _config: Any
    _places: dict[tuple[int, str], tuple[str, list[str]]]

    @classmethod
    def among(cls, name: str, path: Path, names: Iterable[str], config: Any, n_layers: int) -> AdapterFiles:
        """The adapter whose tensors have these names, on a model of so many layers."""
        if getattr(config, "layer_replication", None):
            raise InputError(f"{name}: repeats layers of its base, so its heads are not the base's")
        places: dict[tuple[int, str], tuple[str, list[str]]] = {}
        for tensor in names:
            if (found := _PLACE.fullmatch(tensor)) and not _OTHER_PARTS.search(found["path"]):
                path_of, tensors = places.setdefault((int(found["layer"]), found["side"]), (found["path"], []))
                if path_of != found["path"]:
                    raise InputError(f"{name}: changes two language towers ({path_of} and {found['path']})")
                tensors += [tensor] if not tensor.endswith(".bias") else []
        if beyond := [layer for layer, _ in places if layer >= n_layers]:
            raise InputError(f"{name}: is of another base: it changes layer {max(beyond)}, and the base has {n_layers}")
        return cls(name, path, config, places)

    def names(self, layer: int, side: str) -> list[str]:
        """The tensors that change a projection."""
        return self._places.get((layer, side), ("", []))[1]

    def onto(
        self, weight: Float[Tensor, "out in"], layer: int, side: str, tensors: dict[str, Tensor]
    ) -> Float[Tensor, "out in"]:
        """The projection under the adapter, in single precision or better: rounded to half, small changes were lost."""
        path, names = self._places[layer, side]
        if names == [f"{path}.weight"]:  # `modules_to_save`
            return tensors[names[0]]
        config = copy.copy(self._config)
        inner = path.removeprefix(ROOT)
        vars(config).update({name: None for name in _ELSEWHERE if name in vars(config)})
        vars(config).update(target_modules={inner}, bias="none", inference_mode=True)
        with said_of(self.name), warnings.catch_warnings(action="ignore"):  # patterns may match other projections only
            return _merged(config, inner, weight, tensors)


def _merged(config: Any, path: str, weight: Tensor, tensors: dict[str, Tensor]) -> Tensor:
    """A model of this one projection, as PEFT merges it with the adapter's tensors."""
    peft = needs_peft()
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    linear.weight = nn.Parameter(weight.to(torch.promote_types(weight.dtype, torch.float32), copy=True))
    tree = linear
    for name in reversed(path.split(".")):
        tree, inside = nn.Module(), tree
        tree.add_module(name, inside)
    tree = peft.inject_adapter_in_model(config, tree, "default")
    check_loaded(peft.set_peft_model_state_dict(tree, tensors), "default")
    layer = tree.get_submodule(path)
    layer.merge()
    return layer.get_base_layer().weight.detach()


@contextmanager
def said_of(adapter: str) -> Generator[None, None, None]:
    """What goes wrong inside, as a sentence about an adapter that does not fit its base."""
    try:
        yield
    except Exception as error:  # of every kind of adapter its own
        lines = [line.strip() for line in str(error).splitlines() if "size mismatch" in line]
        raise InputError(f"adapter '{adapter}' does not fit its base: {[*lines, first_line(error)][0]}") from error


def check_loaded(read: Any, adapter: str) -> None:
    """Raises an InputError if tensors of an adapter had no place in the base, or places no tensor."""
    missing = [name for name in read.missing_keys if f".{adapter}" in name]
    for names, what in ((read.unexpected_keys, "has no place in it"), (missing, "is not in its file")):
        if names:
            raise InputError(f"{names[0]} {what}" + (f", nor {len(names) - 1} more" if len(names) > 1 else ""))
