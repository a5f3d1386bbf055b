"""A gate folded into a GGUF file as it is stored: the scales of the output projections' blocks are multiplied.

Blocks lie along a projection's inputs, where heads stand side by side, so a head's gate is a factor on the scales of
its blocks; the codes, all other tensors and the rest of the file stay as they are, to the byte.
"""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.gates.gguf_formats import FORMATS, error_of, scaled_blocks
from lens_truth.io.files import write_file_with
from lens_truth.io.readers import is_list
from lens_truth.io.stages import bar, on_terminal, stage
from lens_truth.models.folding import scaled
from lens_truth.models.gguf_header import Gguf, StoredTensor
from lens_truth.models.hooks import check_gate_shape

_PROJECTION = "attn_output"
_PLAIN = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_REORDERED = ("plamo",)
"""Architectures for which llama.cpp's converter moves the inputs of output projections, so that heads change places."""
_TOO_FAR = 3**-0.5
"""Of half a quantisation step, in the mean square: as far as quantising itself has moved weights."""
_ELSE = "fold it into the model and save that (`lens-truth gate --save FOLDER`), and convert the folder with llama.cpp"


@dataclass(frozen=True)
class GgufFold:
    """What folding a gate into a file has done."""

    formats: dict[str, int]
    """How many output projections are stored in which format."""
    largest: float
    """How far rounding the scales has moved a block's outermost weight, in halves of the block's quantisation step."""
    rms: float
    """The same in the mean square over all blocks (0 where weights are plain numbers)."""


@stage("fold")
def fold_into_file(values: Float[Tensor, "L H"], source: Path, target: Path, *, rows: bool) -> GgufFold:
    """Writes `source` to `target` with the gate in its output projections: on their inputs, or on equal slices of their
    outputs (`rows`). See `HeadGate.fold_into_gguf`."""
    from lens_truth.models.gguf_header import opened_gguf

    if target.exists() and source.exists() and target.samefile(source):
        raise InputError(f"{target}: is the file that the gate is to be folded into; choose another name")
    file = opened_gguf(source)
    layers = _layers(file)
    tensors = [_projection(file, layer) for layer in layers]
    check_gate_shape((len(layers), _number(file, "attention.head_count", layers)), values)
    formats, errors = Counter[str](), list[tuple[float, float, float]]()

    def fill(temporary: Path) -> None:
        shutil.copyfile(source, temporary)
        with temporary.open("r+b") as out:
            pairs = bar(list(zip(values, tensors, strict=True)), "folding", shown=on_terminal())
            for gate, (weight, bias) in pairs:
                formats[_format(weight)] += 1
                factor = _spread(gate, weight.shape[0] if rows else weight.shape[1], weight)
                for tensor in (weight, bias) if rows and bias else (weight,):
                    shape = (-1, 1) if rows and tensor is weight else (-1,)
                    content, error = _scaled(tensor, factor.reshape(shape))
                    errors.extend(error)
                    out.seek(tensor.start)
                    out.write(content)

    write_file_with(target, fill)
    largest, off, half = np.array([*errors, (0, 0, 0)]).T
    return GgufFold(dict(formats), float(largest.max()), float(np.sqrt(off.sum() / half.sum())) if half.any() else 0.0)


def _scaled(tensor: StoredTensor, factor: Float[Tensor, "..."]) -> tuple[bytes, list[tuple[float, float, float]]]:
    """The tensor times the factor as it is stored; the largest error, and the sums of squares of errors and half steps,
    if it has blocks."""
    stored = np.fromfile(tensor.file, np.uint8, tensor.n_bytes, offset=tensor.start)
    name = _format(tensor)
    if name in _PLAIN:
        numbers = torch.from_numpy(stored).view(_PLAIN[name]).reshape(tensor.shape)
        return scaled(numbers, factor).contiguous().view(torch.uint8).numpy().tobytes(), []
    where, how = f"{tensor.file}: {tensor.name} is stored as {name}", FORMATS.get(name)
    if how is None:
        raise InputError(f"{where}, whose scales are no float16 numbers that a gate could multiply: {_ELSE}")
    n_rows, n_columns, block = *tensor.shape, _block(tensor)
    blocks = stored.reshape(n_rows, n_columns // block, -1)
    each = np.broadcast_to(factor.double().numpy(), (n_rows if factor.ndim > 1 else 1, n_columns))
    each = each.reshape(len(each), -1, block)
    if (done := scaled_blocks(blocks, how, each)) is None:
        raise InputError(
            f"{where}, whose blocks of {block} weights here hold several heads with one scale, or one without a sign: "
            f"{_ELSE}"
        )
    off, half = error_of(blocks, done, how, each)
    squares = float((off**2).sum()), float((half**2).sum() * off.shape[-1])
    if not np.isfinite(squares[0]):
        raise InputError(
            f"{where}, and float16 cannot hold its scales times gates of up to {float(factor.abs().max()):g}"
        )
    if squares[0] > _TOO_FAR**2 * squares[1]:
        raise InputError(
            f"{where}, whose scales would be rounded so that weights move by {np.sqrt(squares[0] / squares[1]):.2f} of "
            f"half a quantisation step (in the mean square): {_ELSE}"
        )
    return done.tobytes(), [(float((off / np.where(half > 0, half, np.inf)).max()), *squares)]


def _layers(file: Gguf) -> list[int]:
    """The layers with attention: with an output projection and KV heads, and not there to predict further tokens."""
    if len(file.files) > 1:
        raise InputError(
            f"{file.path}: is split into {len(file.files)} files; merge them with `llama-gguf-split --merge`"
        )
    if file.architecture in _REORDERED:
        raise InputError(
            f"{file.path}: llama.cpp's files of '{file.architecture}' hold its heads in another order: {_ELSE}"
        )
    n_layers = _number(file, "block_count", [0]) - _number(file, "nextn_predict_layers", [0], 0)
    found = [layer for layer in range(n_layers) if f"blk.{layer}.{_PROJECTION}.weight" in file.tensors]
    n_kv_heads = file.own("attention.head_count_kv")
    if isinstance(n_kv_heads, list):
        found = [layer for layer in found if n_kv_heads[layer : layer + 1] != [0]]
    if not found:
        raise InputError(f"{file.path}: holds no blk.N.{_PROJECTION}.weight that a gate could be folded into")
    return found


def _number(file: Gguf, key: str, layers: list[int], default: int | None = None) -> int:
    """An entry, which must be the same for all these layers if it has a number for each."""
    stated = file.own(key, default)
    numbers: list[object] = [n for layer in layers for n in stated[layer : layer + 1]] if is_list(stated) else [stated]
    if len(set(numbers)) != 1 or not isinstance(number := numbers[0], int):
        raise InputError(f"{file.path}: {file.architecture}.{key} is {stated}, and not one number")
    return number


def _projection(file: Gguf, layer: int) -> tuple[StoredTensor, StoredTensor | None]:
    """A layer's output projection and its bias."""
    begin = f"blk.{layer}.{_PROJECTION}."
    parts = {name.removeprefix(begin): tensor for name, tensor in file.tensors.items() if name.startswith(begin)}
    if more := sorted(set(parts) - {"weight", "bias", "scale", "input_scale"}):
        raise InputError(f"{file.path}: holds {begin}{more[0]} beside the weights, into which no gate can be folded")
    if len(parts["weight"].shape) != 2:
        raise InputError(f"{file.path}: {begin}weight has shape {list(parts['weight'].shape)}, which is no matrix")
    return parts["weight"], parts.get("bias")


def _spread(gate: Float[Tensor, " H"], width: int, tensor: StoredTensor) -> Float[Tensor, " width"]:
    """Each gate repeated over its head, or its slice."""
    if width % len(gate):
        raise InputError(
            f"{tensor.file}: the {width} numbers of {tensor.name} cannot be cut into {len(gate)} equal parts"
        )
    return repeat(gate, "h -> (h d)", d=width // len(gate))


def _format(tensor: StoredTensor) -> str:
    from gguf.constants import GGMLQuantizationType

    return GGMLQuantizationType(tensor.kind).name


def _block(tensor: StoredTensor) -> int:
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    return GGML_QUANT_SIZES[GGMLQuantizationType(tensor.kind)][0]
