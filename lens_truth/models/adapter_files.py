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
from itertools import product
from pathlib import Path
from typing import Any, cast

import huggingface_hub
import torch
from jaxtyping import Float
from torch import Tensor, nn

from lens_truth.errors import InputError, first_line
from lens_truth.models.weight_files import OTHER_PARTS

WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
ROOT = "base_model.model."
"""What PEFT puts before the name of every module of the base."""

_PLACE = re.compile(r"(?P<path>.*layers\.(?P<layer>\d+)\.self_attn\.(?P<side>[qkvo])_proj)\.(?P<part>.+)")
_SIZES = re.compile(r"size mismatch for (\S+): .*?Size\(\[(.*?)\]\).*?Size\(\[(.*?)\]\)")
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
        if peft.PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type].uses_shared_state:
            raise InputError(
                f"{folder}: {kind} keeps weights that layers share: load it with peft, and give the PeftModel"
            )
    except InputError:
        raise
    except Exception as error:  # json, dataclasses, hub: whatever a damaged config runs into
        raise InputError(f"{folder}: its adapter_config.json cannot be read ({first_line(error)})") from error
    return config


def weights_in(folder: Path) -> Path:
    """The file of an adapter's tensors."""
    if found := [folder / name for name in WEIGHTS if (folder / name).is_file()]:
        return found[0]
    raise InputError(f"{folder}: holds the config of an adapter, but no {WEIGHTS[0]}")


@contextmanager
def base_of(name: str, base: str, adapter: str) -> Generator[None, None, None]:
    """Inside, the base of an adapter is sought; what is wrong with it is said as the adapter's, where that named it."""
    try:
        yield
    except InputError as error:
        said = (
            f"adapter '{name}' is for '{base}', by its config: {error}; another base is named in front, as BASE+{name}"
        )
        raise (error if name.startswith(f"{base}+") else InputError(said)) from error


def check_kind(config: Any) -> str:
    """The name of an adapter's kind; an InputError refuses those whose hooks would see something else than the text's
    tokens under one set of weights."""
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    if config.is_prompt_learning or config.is_adaption_prompt:
        raise InputError(
            f"{kind} puts virtual tokens before the text, so positions would not be those of its tokens; adapters of "
            "weights, such as LoRA, can be hooked"
        )
    chosen = [name for name in ("alora_invocation_tokens", "arrow_config") if getattr(config, name, None)]
    if kind in _NOT_ONE_BY_ONE or chosen:
        raise InputError(f"{' with '.join([kind, *chosen])} changes with the text, so heads have no fixed weights")
    return kind


@dataclass(frozen=True)
class AdapterFiles:
    """An adapter on disk: the path of each attention projection that it changes, and the names of its tensors there."""

    name: str
    path: Path
    """The file of its tensors."""
    _config: Any
    _places: dict[tuple[int, str], tuple[str, list[str]]]

    @classmethod
    def among(cls, name: str, path: Path, names: Iterable[str], config: Any, n_layers: int) -> AdapterFiles:
        """The adapter whose tensors have these names, on a model of so many layers."""
        if getattr(config, "layer_replication", None):
            raise InputError(f"adapter '{name}' repeats layers of its base, so its heads are not the base's")
        places: dict[tuple[int, str], tuple[str, list[str]]] = {}
        for tensor in names:
            if (found := _PLACE.fullmatch(tensor)) and not OTHER_PARTS.search(found["path"]):
                path_of, tensors = places.setdefault((int(found["layer"]), found["side"]), (found["path"], []))
                if path_of != found["path"]:
                    raise InputError(f"{name}: changes two language towers ({path_of} and {found['path']})")
                tensors += [tensor] if not tensor.endswith(".bias") else []
        if beyond := [layer for layer, _ in places if layer >= n_layers]:
            said = f"it changes layer {max(beyond)}, and the base has {n_layers} layers"
            raise InputError(f"adapter '{name}' does not fit its base: {said}")
        found = cls(name, path, config, places)
        found._check_targets(n_layers)
        return found

    def _check_targets(self, n_layers: int) -> None:
        """Raises an InputError unless the projections with tensors are those that the config names in such a base."""
        from peft.tuners import tuners_utils

        wants = cast("Any", tuners_utils).check_target_module_exists
        if not self._places or not getattr(self._config, "target_modules", None):
            return
        tower = next(iter(self._places.values()))[0].rpartition("layers.")[0]
        for layer, side in product(range(n_layers), "qkvo"):
            path, tensors = f"{tower}layers.{layer}.self_attn.{side}_proj", self.names(layer, side)
            has = bool(tensors) and tensors != [f"{path}.weight"]
            if has != bool(wants(self._config, path.removeprefix(ROOT))):
                said = "its file holds tensors" if has else "its config wants, and its file lacks, tensors"
                raise InputError(f"adapter '{self.name}' does not fit its base: {said} for {path.removeprefix(ROOT)}")

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
    check_loaded(peft.set_peft_model_state_dict(tree, tensors), config)
    layer = tree.get_submodule(path)
    layer.merge()
    return layer.get_base_layer().weight.detach()


@contextmanager
def said_of(adapter: str) -> Generator[None, None, None]:
    """What goes wrong inside, as a sentence about an adapter that does not fit its base."""
    try:
        yield
    except Exception as error:  # of every kind of adapter its own
        sizes = _SIZES.search(str(error))
        why = sizes and f"{sizes[1]} has shape {sizes[2]}, and its place {sizes[3]}"
        why = f"{error} is not in its file" if isinstance(error, KeyError) else why or first_line(error)
        raise InputError(f"adapter '{adapter}' does not fit its base: {why}") from error


def check_loaded(read: Any, config: Any) -> None:
    """Raises an InputError if tensors of an adapter had no place in the base, or places no tensor."""
    from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING

    missing = [name for name in read.missing_keys if PEFT_TYPE_TO_PREFIX_MAPPING[config.peft_type] in name]
    for names, what in ((read.unexpected_keys, "has no place in it"), (missing, "is not in its file")):
        if names:
            raise InputError(f"{names[0]} {what}" + (f" (and {len(names) - 1} more)" if len(names) > 1 else ""))
