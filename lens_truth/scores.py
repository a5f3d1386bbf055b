"""`HeadScores`: one number a head, of some kind, with its metrics, folds and provenance; and its file formats."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from lens_truth.errors import InputError
from lens_truth.examples import read_csv
from lens_truth.files import write_text, write_with

Map = Float[np.ndarray, "L H"]

METADATA = "lens_truth"
"""The metadata entry of our safetensors files, a JSON object."""

_PUBLISHED = ("accuracy", "precision", "recall", "f1")  # the columns of TruthProbe's csv files


@dataclass(frozen=True)
class HeadScores:
    """One score for every query head of a model."""

    values: Map
    """The score; for truth scores the out-of-fold accuracy."""
    kind: str = "truth"
    """What is scored: truth, causal, learned, or any name for scores from elsewhere (retrieval, ...)."""
    metrics: Mapping[str, Map] = field(default_factory=dict)
    """Further numbers a head: accuracy, auroc, precision, recall, f1; ci_low and ci_high (95%); null_mean, null_q95,
    p_value and p_familywise (permutation)."""
    folds: Float[np.ndarray, "K L H"] | None = None
    """The score in each fold."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Model, data and settings that the scores come from; empty for files that do not say."""

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or 0 in self.values.shape:
            raise InputError(f"scores have shape {self.values.shape}; they must be (layers, heads)")
        if not np.isfinite(self.values).all():
            layer, head = np.argwhere(~np.isfinite(self.values))[0]
            raise InputError(f"the score of layer {layer}, head {head} is {self.values[layer, head]}, not a number")
        for name, values in self.metrics.items():
            if values.shape != self.values.shape:
                raise InputError(f"metric '{name}' has shape {values.shape}, the scores {self.values.shape}")

    @property
    def n_layers(self) -> int:
        return self.values.shape[0]

    @property
    def n_heads(self) -> int:
        return self.values.shape[1]

    def best(self) -> tuple[int, int]:
        """Layer and head of the highest score (the first of equals)."""
        layer, head = np.unravel_index(int(self.values.argmax()), self.values.shape)
        return int(layer), int(head)

    def save(self, path: str | Path) -> None:
        """Writes `.safetensors` (everything), `.npy` (the (layers, heads) array) or `.csv` (a row a head), the last
        two as TruthProbe publishes them.

        Raises:
            InputError: for another suffix.
        """
        path = Path(path)
        if path.suffix == ".safetensors":
            write_with(path, lambda temporary: save_file(self._tensors(), temporary, self._metadata()))
        elif path.suffix == ".npy":
            write_with(path, lambda temporary: np.save(temporary, self.values, allow_pickle=False))
        elif path.suffix == ".csv":
            write_text(path, self._csv())
        else:
            raise InputError(f"{path}: scores are saved as .safetensors, .npy or .csv")

    @classmethod
    def load(cls, path: str | Path) -> HeadScores:
        """Reads what `save` writes, and TruthProbe's published `.npy` and `.csv` files.

        A `.npy` file says nothing of its kind and is taken for truth scores; `replace(scores, kind=...)` mends that.

        Raises:
            InputError: if the file is missing, damaged, or holds NaN, another shape or not every head once.
        """
        path = Path(path)
        readers = {".safetensors": _load_safetensors, ".npy": _load_npy, ".csv": _load_csv}
        if path.suffix not in readers:
            raise InputError(f"{path}: scores are read from .safetensors, .npy or .csv files")
        if not path.is_file():
            raise InputError(f"{path}: there is no such file")
        try:
            return readers[path.suffix](path)
        except InputError as error:
            raise error if str(path) in str(error) else InputError(f"{path}: {error}") from error

    def _tensors(self) -> dict[str, np.ndarray]:
        tensors = {"values": self.values, **{f"metrics/{name}": value for name, value in self.metrics.items()}}
        if self.folds is not None:
            tensors["folds"] = self.folds
        return {name: np.ascontiguousarray(tensor, dtype=np.float64) for name, tensor in tensors.items()}

    def _metadata(self) -> dict[str, str]:
        # One entry: the order of several would differ from file to file.
        return {METADATA: json.dumps({"kind": self.kind, "provenance": dict(self.provenance)}, sort_keys=True)}

    def _csv(self) -> str:
        columns = {name: self.metrics[name] for name in _PUBLISHED if name in self.metrics}
        if "accuracy" not in columns:
            columns = {"accuracy" if self.kind == "truth" else self.kind: self.values}
        lines = [",".join(["layer", "head", *columns])]
        for layer, head in np.ndindex(*self.values.shape):
            lines.append(",".join([str(layer), str(head), *(repr(float(c[layer, head])) for c in columns.values())]))
        return "\n".join(lines) + "\n"


def _load_safetensors(path: Path) -> HeadScores:
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            metadata = json.loads((file.metadata() or {}).get(METADATA, "{}"))
        return HeadScores(
            values=tensors["values"],
            kind=metadata.get("kind", "truth"),
            metrics={name.removeprefix("metrics/"): t for name, t in tensors.items() if name.startswith("metrics/")},
            folds=tensors.get("folds"),
            provenance=metadata.get("provenance", {}),
        )
    except KeyError as error:
        raise InputError(f"{path}: holds no tensor {error}, so it is not a file of head scores") from error
    except (SafetensorError, ValueError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: is not a readable safetensors file ({error})") from error


def _load_npy(path: Path) -> HeadScores:
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path}: is not a readable .npy array ({error})") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        raise InputError(f"{path}: does not hold an array of numbers")
    return HeadScores(values.astype(np.float64), provenance={"file": path.name})


def _load_csv(path: Path) -> HeadScores:
    heads: dict[tuple[int, int], dict[str, float]] = {}
    for line, row in read_csv(path):
        try:
            layer, head = int(row["layer"]), int(row["head"])
            numbers = {name: float(value) for name, value in row.items() if name not in ("layer", "head")}
        except KeyError as error:
            raise InputError(f"{path}: has no column {error}") from error
        except ValueError as error:
            raise InputError(f"{path}, line {line}: {error}") from error
        if (layer, head) in heads:
            raise InputError(f"{path}, line {line}: layer {layer}, head {head} stands there twice")
        heads[layer, head] = numbers
    if not heads:
        raise InputError(f"{path}: holds no heads")
    layers, width = (max(axis) + 1 for axis in zip(*heads, strict=True))
    first = tuple(min(axis) for axis in zip(*heads, strict=True))
    if first != (0, 0):
        raise InputError(f"{path}: starts at layer {first[0]}, head {first[1]}; both are counted from 0")
    if len(heads) != layers * width:
        missing = next(key for key in np.ndindex(layers, width) if key not in heads)
        raise InputError(f"{path}: lacks layer {missing[0]}, head {missing[1]} of {layers} x {width} heads")
    columns = {
        name: np.array([heads[at][name] for at in np.ndindex(layers, width)]).reshape(layers, width)
        for name in heads[0, 0]
    }
    provenance = {"file": path.name}
    if "accuracy" in columns:
        return HeadScores(columns["accuracy"], metrics=columns, provenance=provenance)
    if len(columns) != 1:
        raise InputError(f"{path}: has no column 'accuracy', nor one single column of scores")
    ((kind, values),) = columns.items()
    return HeadScores(values, kind=kind, provenance=provenance)
