"""`HeadScores`: one number a head, of some kind, with its metrics, folds and provenance; and its file formats."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import safetensors.numpy
from jaxtyping import Float
from safetensors import SafetensorError, safe_open

from lens_truth.errors import InputError, shortened
from lens_truth.io.files import DAMAGED_NPY, write_text, write_with
from lens_truth.io.numbers import number
from lens_truth.io.readers import is_list, is_object, read_csv, read_json
from lens_truth.io.results import none_for_nan, structured
from lens_truth.io.tables import Table, html, row, table
from lens_truth.stats.correlation import Map

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METADATA = "lens_truth"
"""The metadata entry of our safetensors files, a JSON object."""

_LAYER_HEAD = re.compile(r"\d+-\d+")
_PLACE = ("layer", "head")
_PUBLISHED = ("accuracy", "precision", "recall", "f1")  # the columns of TruthProbe's csv files
_TOLD = ("ci_low", "ci_high", "auroc", "null_q95", "p_familywise")
"""Metrics that stand beside the best scores in a table."""


@dataclass(frozen=True)
class HeadScores:
    """One score for every query head of a model.

    >>> scores = lens_truth.HeadScores.load("scores.safetensors")  # or .npy, .csv, retrieval scores as .json
    >>> scores.plot(f"best: {scores.best()}")
    >>> scores.tables()[0]  # the best heads, in numbers
    >>> scores.crop(8, 8).save("corner.csv")
    >>> lens_truth.HeadScores(scores.values ** 2, kind="squared", provenance=scores.provenance).as_dict()
    """

    values: Map
    """The score; for truth scores the out-of-fold accuracy."""
    kind: str = "truth"
    """What is scored: truth, causal, learned, or any name for scores from elsewhere (retrieval, ...)."""
    metrics: Mapping[str, Map] = field(default_factory=dict[str, Map])
    """Further numbers a head: accuracy, auroc, precision, recall, f1; ci_low and ci_high (95%); null_mean, null_q95,
    p_value and p_familywise (permutation)."""
    folds: Float[np.ndarray, "K L H"] | None = None
    """Repeated estimates whose mean is the score: one a fold, a trial, or a seed. How well they agree over heads says
    how much of the score is noise."""
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
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
        if self.folds is not None and (self.folds.ndim != 3 or self.folds.shape[1:] != self.values.shape):
            raise InputError(f"the folds have shape {self.folds.shape}, the scores {self.values.shape}")

        kv = self.provenance.get("n_kv_heads")
        if kv is not None and (type(kv) is not int or kv < 1 or self.values.shape[1] % kv):
            raise InputError(f"{kv} KV heads were named for {self.values.shape[1]} heads, which must share them evenly")

    @property
    def n_layers(self) -> int:
        """Layers of the model."""
        return self.values.shape[0]

    @property
    def n_heads(self) -> int:
        """Query heads a layer."""
        return self.values.shape[1]

    @property
    def n_kv_heads(self) -> int | None:
        """KV heads a layer, from the provenance; None where it does not say."""
        return self.provenance.get("n_kv_heads")

    def crop(self, n_layers: int, n_heads: int) -> HeadScores:
        """The first so many layers and heads; whole KV groups only."""
        kv = self.n_kv_heads
        return HeadScores(
            values=self.values[:n_layers, :n_heads],
            kind=self.kind,
            metrics={name: values[:n_layers, :n_heads] for name, values in self.metrics.items()},
            folds=None if self.folds is None else self.folds[:, :n_layers, :n_heads],
            provenance={**self.provenance, "n_kv_heads": None if kv is None else n_heads * kv // self.n_heads},
        )

    def best(self) -> tuple[int, int]:
        """Layer and head of the highest score (the first of equals)."""
        layer, head = np.unravel_index(int(self.values.argmax()), self.values.shape)
        return int(layer), int(head)

    def tables(self, n: int = 5) -> tuple[Table]:
        """The `n` heads with the highest scores (the first of equals), and what is known of them: `ci_low` and
        `ci_high`, the 95% interval of the score; `auroc`; `null_q95` and `p_familywise` of the null."""
        columns = {"accuracy" if self.kind == "truth" else "score": self.values}
        columns |= {name: self.metrics[name] for name in _TOLD if name in self.metrics}
        best = sorted(np.ndindex(*self.values.shape), key=lambda at: -self.values[at])[:n]
        rows = (row(str(at[0]), str(at[1]), *(number(float(values[at])) for values in columns.values())) for at in best)
        caption = f"The heads with the highest {self.kind} scores, of {self.n_layers} layers x {self.n_heads} heads"
        return (table(caption, ["layer", "head", *columns], rows),)

    def _repr_html_(self) -> str:
        return html(*self.tables())

    def plot(self, title: str = "", warning: str | None = None) -> Figure:
        """Layers down, heads across; a warning stands in red over the map."""
        from lens_truth.plots.heads import heatmap  # matplotlib, which reading scores does without

        label = "out-of-fold accuracy" if self.kind == "truth" else f"{self.kind} score"
        return heatmap(self.values, label, title or f"{self.kind} scores", warning)

    def as_dict(self) -> dict[str, Any]:
        """For result.json, whose readers need no other file to draw the heads: everything but the folds."""
        return {
            "kind": self.kind,
            "values": none_for_nan(self.values),
            "metrics": {name: none_for_nan(values) for name, values in self.metrics.items()},
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_dict(cls, value: Any, where: str = "scores") -> HeadScores:
        """What `as_dict` gave, and so without folds: `lens_truth.HeadScores.from_dict(scores.as_dict())`.

        Raises:
            InputError: names the place, from `where` on, of a field that is missing, unknown or of another type.
        """
        return structured(cls, value, where)

    def save(self, path: str | Path) -> None:
        """Writes `.safetensors` (everything), `.npy` (the (layers, heads) array) or `.csv` (a row a head), the last
        two as TruthProbe publishes them.

        Raises:
            InputError: for another suffix.
        """
        path = Path(path)
        if path.suffix == ".safetensors":
            write_with(path, lambda at: safetensors.numpy.save_file(self._tensors(), at, self._metadata()))
        elif path.suffix == ".npy":
            write_with(path, lambda temporary: np.save(temporary, self.values, allow_pickle=False))
        elif path.suffix == ".csv":
            write_text(path, self._csv())
        else:
            raise InputError(f"{path}: scores are saved as .safetensors, .npy or .csv")

    @classmethod
    def load(cls, path: str | Path) -> HeadScores:
        """Reads what `save` writes, TruthProbe's published `.npy` and `.csv` files, and retrieval-head `.json` (or
        `.json.gz`) files, `{"layer-head": [trial, ...]}`, whose scores are the means over trials (Wu et al. 2024).

        A `.npy` file says nothing of its kind and is taken for truth scores; `replace(scores, kind=...)` mends that.

        Raises:
            InputError: if the file is missing, damaged, or holds NaN, another shape or not every head once.
        """
        path = Path(path)
        reader = _reader(path)
        if reader is None:
            raise InputError(f"{path}: scores are read from {', '.join(_READERS)} files")
        if not path.is_file():
            raise InputError(f"{path}: there is no such file")
        try:
            return reader(path)
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
        return heads_csv(columns)


def heads_csv(columns: Mapping[str, Map], undefined: str = "nan") -> str:
    """A comma-separated row a head: layer, head, and each column's number there."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["layer", "head", *columns])
    for at in np.ndindex(*next(iter(columns.values())).shape):
        cells = [undefined if np.isnan(values[at]) else repr(float(values[at])) for values in columns.values()]
        writer.writerow([*at, *cells])
    return table.getvalue()


def _load_safetensors(path: Path) -> HeadScores:
    try:
        with cast("Any", safe_open(path, framework="numpy")) as file:
            tensors: dict[str, np.ndarray] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            entries: dict[str, str] = file.metadata() or {}
        metadata = json.loads(entries.get(METADATA, "{}"))
        if not is_object(metadata) or not is_object(metadata.get("provenance", {})):
            raise InputError(f"{path}: its metadata is not lens_truth's")
        return HeadScores(
            values=tensors["values"],
            kind=metadata.get("kind", "truth"),
            metrics={name.removeprefix("metrics/"): t for name, t in tensors.items() if name.startswith("metrics/")},
            folds=tensors.get("folds"),
            provenance=metadata.get("provenance", {}),
        )
    except KeyError as error:
        raise InputError(f"{path}: holds no tensor {error}, so it is not a file of head scores") from error
    except (SafetensorError, ValueError, TypeError, OSError) as error:  # TypeError: bfloat16, which NumPy lacks
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: is not a readable safetensors file ({error})") from error


def _load_npy(path: Path) -> HeadScores:
    try:
        values = np.load(path, allow_pickle=False)
    except DAMAGED_NPY as error:
        raise InputError(f"{path}: is not a readable .npy array ({error})") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        raise InputError(f"{path}: does not hold an array of numbers")
    return HeadScores(cast("np.ndarray", values).astype(np.float64), provenance={"file": path.name})


def _load_csv(path: Path) -> HeadScores:
    heads: dict[tuple[int, int], dict[str, float]] = {}
    for line, cells in read_csv(path):
        names = [name for name in cells if name not in _PLACE]
        score = "accuracy" if "accuracy" in names else names[0] if len(names) == 1 else None
        if missing := [name for name in _PLACE if name not in cells]:
            raise InputError(f"{path}, line 1: the header has no column '{missing[0]}', only {', '.join(cells)}")
        if score is None:
            raise InputError(f"{path}, line 1: the header has no column 'accuracy', nor one single column of scores")
        numbers = {name: _number(cells[name], f"{path}, line {line}, column '{name}'", name == score) for name in names}
        layer, head = (_whole(cells[name], f"{path}, line {line}, column '{name}'") for name in _PLACE)
        if (layer, head) in heads:
            raise InputError(f"{path}, line {line}: layer {layer}, head {head} stands there twice")
        heads[layer, head] = numbers
    L, H = _complete_grid(path, heads)
    columns = {
        name: np.array([heads[at][name] for at in np.ndindex(L, H)]).reshape(L, H)
        for name in next(iter(heads.values()))
    }
    provenance = {"file": path.name}
    if "accuracy" in columns:
        return HeadScores(columns["accuracy"], metrics=columns, provenance=provenance)
    ((kind, values),) = columns.items()
    return HeadScores(values, kind=kind, provenance=provenance)


def _number(cell: str, where: str, finite: bool) -> float:
    """Of a score; where a metric is not defined, `nan` stands."""
    try:
        value = float(cell)
    except ValueError:
        raise InputError(f"{where}: {_said(cell)}, not a number") from None
    if not math.isfinite(value) and (finite or not math.isnan(value)):
        raise InputError(f"{where}: the cell is '{cell}', not a finite number")
    return value


def _whole(cell: str, where: str) -> int:
    try:
        return int(cell)
    except ValueError:
        raise InputError(f"{where}: {_said(cell)}, not a whole number") from None


def _said(cell: str) -> str:
    return f"the cell is '{shortened(cell)}'" if cell.strip() else "the cell is empty"


def _load_retrieval(path: Path) -> HeadScores:
    record = read_json(path)
    if not is_object(record) or not all(_LAYER_HEAD.fullmatch(key) for key in record):
        raise InputError(f'{path}: is not an object of trials by head, {{"layer-head": [trial, ...]}}')
    heads: dict[tuple[int, int], list[float]] = {}
    for key, trials in record.items():
        layer, head = (int(part) for part in key.split("-"))
        if (layer, head) in heads:
            raise InputError(f"{path}: layer {layer}, head {head} stands there twice")
        if not is_list(trials) or not trials or not all(type(trial) in (int, float) for trial in trials):
            raise InputError(f"{path}: head '{key}' does not hold a list of numbers, one a trial")
        heads[layer, head] = trials
    L, H = _complete_grid(path, heads)
    try:
        ordered = [np.array(heads[at], dtype=np.float64) for at in np.ndindex(L, H)]
    except OverflowError as error:
        raise InputError(f"{path}: a number is too large ({error})") from error
    values = np.array([trials.mean() for trials in ordered]).reshape(L, H)
    folds, lengths = None, {len(trials) for trials in ordered}
    if len(lengths) == 1:
        folds = np.array(ordered).T.reshape(-1, L, H)
    elif min(lengths) > 1:  # no trial has all heads; halves do
        folds = np.array([[trials[half::2].mean() for trials in ordered] for half in (0, 1)]).reshape(2, L, H)
    return HeadScores(values, kind="retrieval", folds=folds, provenance={"file": path.name})


def _complete_grid(path: Path, heads: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Layers and heads, when every head of every layer is there, counted from 0."""
    found = set(heads)
    if not found:
        raise InputError(f"{path}: holds no heads")
    first = tuple(min(axis) for axis in zip(*found, strict=True))
    for start, name in zip(first, _PLACE, strict=True):
        if start != 0:
            counted = f"its {name}s are counted from 1" if start == 1 else f"its first {name} is {start}"
            raise InputError(f"{path}: {counted}, but {name}s are counted from 0 here; renumber them")
    L, H = (max(axis) + 1 for axis in zip(*found, strict=True))
    if len(found) != L * H:
        layer, head = next(at for at in np.ndindex(L, H) if at not in found)
        raise InputError(f"{path}: lacks layer {layer}, head {head} of {L} x {H} heads")
    return L, H


_READERS = {
    ".safetensors": _load_safetensors,
    ".npy": _load_npy,
    ".csv": _load_csv,
    ".json": _load_retrieval,
    ".json.gz": _load_retrieval,
}


def is_score_file(name: str) -> bool:
    """Whether a name ends as score files do."""
    return _reader(Path(name)) is not None


def _reader(path: Path) -> Callable[[Path], HeadScores] | None:
    return next((reader for suffix, reader in _READERS.items() if path.name.endswith(suffix)), None)
