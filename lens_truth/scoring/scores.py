"""`HeadScores`: one number a head, of some kind, with its metrics, folds and provenance."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy
from jaxtyping import Float

from lens_truth.errors import InputError, shortened
from lens_truth.io.files import write_bytes, write_text
from lens_truth.io.numbers import count, number, ranges
from lens_truth.io.results import none_for_nan, structured
from lens_truth.io.tables import Table, html, row, table
from lens_truth.scoring.score_files import LARGEST, METADATA, read_parts
from lens_truth.scoring.score_tables import head_columns, heads_csv, save_parquet
from lens_truth.scoring.score_words import matched_said, residual_said
from lens_truth.stats.correlation import Map

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

_PUBLISHED = ("accuracy", "precision", "recall", "f1")  # the columns of TruthProbe's csv files
_KIND = re.compile(r"\w[\w .-]{0,99}")  # part of the names of files
_TOLD = ("ci_low", "ci_high", "auroc", "null_q95", "p_familywise")
"""Metrics that stand beside the best scores in a table."""
_OF_KIND = {
    "truth": ("ci_low", "ci_high", "matched", "matched_low", "matched_high", *_TOLD[2:]),
    "residual": ("ci_low", "ci_high", "above", "above_low", "above_high"),
}
"""The same of kinds that have more (`matched` of causal scores is another thing, on their own scale)."""


@dataclass(frozen=True, repr=False)
class HeadScores:
    """One score for every query head of a model.

    >>> scores = lens_truth.HeadScores.load("scores.safetensors")  # or .parquet, .npy, .csv, retrieval scores as .json
    >>> scores.plot(f"best: {scores.best()}")
    >>> scores.tables()[0]  # the best heads, in numbers
    >>> scores.crop(8, 8).save("corner.csv")
    >>> lens_truth.HeadScores(scores.values ** 2, kind="squared", provenance=scores.provenance).as_dict()
    """

    values: Map
    """The score; for truth scores the out-of-fold accuracy."""
    kind: str = "truth"
    """What is scored: truth, causal, learned, residual, or any name for scores from elsewhere (retrieval, ...)."""
    metrics: Mapping[str, Map] = field(default_factory=dict[str, Map])
    """Further numbers a head: accuracy, auroc, precision, recall, f1; ci_low and ci_high (95%); null_mean, null_q95,
    p_value and p_familywise (permutation); matched, matched_low and matched_high, a truth score on matched rows with
    its interval; above, above_low and above_high (`residual_scores`)."""
    folds: Float[np.ndarray, "K L H"] | None = None
    """Repeated estimates whose mean is the score: one a fold, a trial, or a seed. How well they agree over heads says
    how much of the score is noise."""
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Model, data and settings that the scores come from; empty for files that do not say."""

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or 0 in self.values.shape:
            raise InputError(f"scores have shape {self.values.shape}; they must be (layers, heads)")
        if not _KIND.fullmatch(self.kind):
            raise InputError(
                f"the kind of the scores is {shortened(repr(self.kind))}, not a name of letters, digits, spaces, dots, "
                "dashes and underscores"
            )
        if self.values.dtype.kind not in "fiu":
            raise InputError(f"scores are {self.values.dtype}, not real numbers")
        if not np.isfinite(self.values).all():
            layer, head = np.argwhere(~np.isfinite(self.values))[0]
            raise InputError(f"the score of layer {layer}, head {head} is {self.values[layer, head]}, not a number")
        for name, values in self.metrics.items():
            if values.shape != self.values.shape:
                raise InputError(f"metric '{name}' has shape {values.shape}, the scores {self.values.shape}")
        named = {"a score": self.values, **{f"metric '{name}'": values for name, values in self.metrics.items()}}
        for what, values in {**named, **({} if self.folds is None else {"a fold": self.folds})}.items():
            if (largest := np.nanmax(np.abs(values), initial=0)) > LARGEST:
                raise InputError(f"{what} is {largest:g} in size; beyond {LARGEST:g} nothing can be computed with it")
        if self.folds is not None and (self.folds.ndim != 3 or self.folds.shape[1:] != self.values.shape):
            raise InputError(f"the folds have shape {self.folds.shape}, the scores {self.values.shape}")

        kv = self.provenance.get("n_kv_heads")
        if kv is not None and (type(kv) is not int or kv < 1 or self.values.shape[1] % kv):
            raise InputError(f"{kv} KV heads were named for {self.values.shape[1]} heads, which must share them evenly")

    def __repr__(self) -> str:
        """Kind, shape, the best head and what more is held: all numbers would fill screens."""
        layer, head = self.best()
        more = [*self.metrics, *([] if self.folds is None else [f"{len(self.folds)} folds"])]
        said = (
            f"{self.kind}, {self.n_layers} layers x {self.n_heads} heads, best {layer}.{head}: {self.values.max():.3g}"
        )
        return f"HeadScores({said}{'; with ' if more else ''}{', '.join(more)})"

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

    @property
    def relative_layers(self) -> list[int]:
        """Layers in which causal scores and learned gates tell heads apart only relative to one another, from the
        provenance: a norm behind the projection undoes a gain that all heads share."""
        named = self.provenance.get("relative_layers")
        return [layer for layer in range(self.n_layers) if isinstance(named, list) and layer in named]

    @property
    def relative_said(self) -> str:
        """That in a sentence; empty where there is no such layer."""
        if not (layers := self.relative_layers):
            return ""
        return (
            f"In {count(len(layers), 'layer')} ({ranges(layers)}) a norm stands behind the heads' projection: there "
            f"{self.kind} scores say which heads should be stronger relative to the layer's others."
        )

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
        `ci_high`, the 95% interval of the score; `auroc`; `null_q95` and `p_familywise` of the null; of truth scores
        `matched`, those on matched rows, of residual scores `above`, each with its interval."""
        columns = {"accuracy" if self.kind == "truth" else "score": self.values}
        told = _OF_KIND.get(self.kind, _TOLD)
        columns |= {name: self.metrics[name] for name in told if name in self.metrics}
        best = sorted(np.ndindex(*self.values.shape), key=lambda at: -self.values[at])[:n]
        rows = (row(str(at[0]), str(at[1]), *(number(float(values[at])) for values in columns.values())) for at in best)
        caption = f"The heads with the highest {self.kind} scores, of {self.n_layers} layers x {self.n_heads} heads"
        return (table(caption, ["layer", "head", *columns], rows, self.note),)

    @property
    def note(self) -> str:
        """What stands under a table of them: where they are relative, what matched rows make of truth scores, how many
        heads add to the surface."""
        said = (self.relative_said.rstrip("."), matched_said(self), residual_said(self))
        return " ".join(f"{its[0].upper()}{its[1:]}." for its in said if its)

    def _repr_html_(self) -> str:
        return html(*self.tables())

    def plot(self, title: str = "", warning: str | None = None) -> Figure:
        """Layers down, heads across; a warning stands in red over the map."""
        from lens_truth.plots.heads import heatmap  # matplotlib, which reading scores does without

        labels = {"truth": "out-of-fold accuracy", "residual": "accuracy added to the best surface classifier's"}
        label = labels.get(self.kind, f"{self.kind} score")
        return heatmap(self.values, label, title or f"{self.kind} scores", warning, self.relative_said)

    def to_pandas(self) -> DataFrame:
        """A row a head: layer, head, score, and every metric (accuracy, ci_low, p_familywise, ...); the provenance in
        its `attrs`.

        >>> scores.to_pandas().sort_values("score", ascending=False).head(5)
        """
        from pandas import DataFrame

        frame = DataFrame(head_columns(self.values, self.metrics))
        frame.attrs |= {"kind": self.kind, "provenance": dict(self.provenance)}
        return frame

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
        """What `as_dict` gave, and so without folds: `lens_truth.HeadScores.from_dict(scores.as_dict())`. An InputError
        names the place, from `where` on, of a field that is missing, unknown or of another type."""
        return structured(cls, value, where)

    def save(self, path: str | Path) -> None:
        """Writes `.safetensors` or `.parquet` (everything; the latter as a table, a row a head), `.npy` (the (layers,
        heads) array) or `.csv` (a row a head), the last two as TruthProbe publishes them; an InputError refuses another
        suffix."""
        path = Path(path)
        said = json.dumps({"kind": self.kind, "provenance": dict(self.provenance)}, sort_keys=True)
        if path.suffix == ".safetensors":
            about = {METADATA: said}  # one entry: the order of several would differ from file to file
            maps = {"values": self.values, **{f"metrics/{name}": values for name, values in self.metrics.items()}}
            maps |= {} if self.folds is None else {"folds": self.folds}
            tensors = {name: np.ascontiguousarray(tensor, dtype=np.float64) for name, tensor in maps.items()}
            write_bytes(path, safetensors.numpy.save(tensors, about))
        elif path.suffix == ".parquet":
            save_parquet(path, head_columns(self.values, self.metrics), self.folds, METADATA, said)
        elif path.suffix == ".npy":
            array = BytesIO()
            np.save(array, self.values, allow_pickle=False)
            write_bytes(path, array.getvalue())
        elif path.suffix == ".csv":
            columns = {name: self.metrics[name] for name in _PUBLISHED if name in self.metrics}
            if "accuracy" not in columns:
                columns = {"accuracy" if self.kind == "truth" else self.kind: self.values}
            write_text(path, heads_csv(columns))
        else:
            raise InputError(f"{path}: scores are saved as .safetensors, .parquet, .npy or .csv")

    @classmethod
    def load(cls, path: str | Path) -> HeadScores:
        """Reads what `save` writes, TruthProbe's published `.npy` and `.csv` files, and retrieval-head `.json` (or
        `.json.gz`) files, `{"layer-head": [trial, ...]}` (or one number a head), whose scores are the means over trials
        (Wu et al. 2024). Files that name some of the heads only are for `HeadList.load`.

        A `.npy` file says nothing of its kind and is taken for truth scores; `replace(scores, kind=...)` mends that.

        Raises:
            InputError: if the file is missing, damaged, or holds NaN, another shape or not every head once.
        """
        try:
            return cls(**read_parts(Path(path)))
        except InputError as error:
            raise error if str(path) in str(error) else InputError(f"{path}: {error}") from error
