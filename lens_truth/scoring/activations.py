"""Activations on disk: written batch by batch, resumable after a kill at any moment, read back lazily.

A folder holds `rows.json` (what the rows are) and `z.npy` (float32, [N, L, H, D]). While it is being written the
array is called `z.partial.npy` and `progress.json` counts the rows that are safely in it.
"""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.io.files import DAMAGED_NPY, OF_WEIGHTS, remove_leftovers, write_json, writing
from lens_truth.io.readers import is_list, is_object

Point = Literal["z", "resid_post"]
"""Where activations are read: each head's output, or the residual stream behind every layer with heads."""


@dataclass(frozen=True)
class HeadActivations:
    """What every head writes at the last answer token of every example; or the residual stream behind every layer, as
    one wide head (H = 1, D = d_model).

    >>> lens_truth.capture(model, examples).save("activations")
    >>> activations = lens_truth.HeadActivations.load("activations")
    >>> activations.z[:, 5, 3]  # of head 5.3: [N, D]
    """

    z: Float[Tensor, "N L H D"]
    """`hook_z` at that position, float32; or `hook_resid_post`."""
    labels: Int[Tensor, " N"]
    """1 = the context supports the answer, 0 = hallucinated."""
    groups: tuple[str, ...]
    """The group of every row; groups are never split between folds."""
    ids: tuple[str, ...]
    """The id of every row's example."""
    provenance: dict[str, Any]
    """Model, weights, data and settings they were captured with."""

    @property
    def point(self) -> Point:
        """Where they were read, from the provenance."""
        return "resid_post" if self.provenance.get("point") == "resid_post" else "z"

    def save(self, folder: str | Path) -> None:
        """Writes the folder that `load` reads, whole or not at all; one that holds others is refused (InputError)."""
        rows = rows_record(self.labels.numpy().tolist(), self.groups, self.ids, self.provenance)
        writer = ActivationWriter(Path(folder), tuple(self.z.shape), rows)
        if not writer.complete:
            writer.write(range(len(self.z)), self.z)
            writer.finish()

    @classmethod
    def load(cls, folder: str | Path) -> HeadActivations:
        """Activations whose array stays on disk until it is read.

        Raises:
            InputError: if the folder is missing, unfinished or damaged.
        """
        folder = Path(folder)
        if (folder / "z.partial.npy").exists() and not (folder / "z.npy").exists():
            raise InputError(f"{folder}: the capture was interrupted; run it again to finish it")
        try:
            labels, groups, ids, provenance = _rows(json.loads((folder / "rows.json").read_text(encoding="utf-8")))
            array: Any = np.load(folder / "z.npy", mmap_mode="c", allow_pickle=False)
        except (KeyError, *DAMAGED_NPY) as error:
            raise InputError(f"{folder}: holds no readable activations ({error})") from error
        if getattr(array, "dtype", None) != np.float32:
            raise InputError(f"{folder}: holds no readable activations (z.npy is not an array of float32)")
        if array.ndim != 4 or not len(array) == len(labels) == len(groups) == len(ids):
            raise InputError(f"{folder}: z.npy has shape {array.shape}, but rows.json names {len(labels)} rows")
        return cls(torch.from_numpy(array), torch.tensor(labels), groups, ids, provenance)


def rows_record(
    labels: Sequence[int], groups: Sequence[str], ids: Sequence[str], provenance: dict[str, Any]
) -> dict[str, Any]:
    """What `rows.json` holds."""
    return {"labels": list(labels), "groups": list(groups), "ids": list(ids), "provenance": provenance}


def _rows(record: Any) -> tuple[list[int], tuple[str, ...], tuple[str, ...], dict[str, Any]]:
    """Labels, groups, ids and provenance of what `rows_record` gave; whatever is wrong with it raises something."""
    labels, groups, ids, provenance = (record[name] for name in ("labels", "groups", "ids", "provenance"))
    if not all(label in (0, 1) and type(label) is int for label in labels):
        raise ValueError("rows.json: a label is neither 0 nor 1")
    if not (is_list(groups) and is_list(ids) and all(isinstance(name, str) for name in (*groups, *ids))):
        raise ValueError("rows.json: groups and ids are not lists of texts")
    if not is_object(provenance):
        raise ValueError("rows.json: its provenance is not an object")
    return list(labels), tuple(groups), tuple(ids), provenance


class ActivationWriter:
    """Fills a folder batch by batch; opened again, it goes on where it stopped (so rows must come in the same order
    again), and refuses other rows."""

    def __init__(self, folder: Path, shape: tuple[int, ...], rows: dict[str, Any]) -> None:
        self._final, self._partial = folder / "z.npy", folder / "z.partial.npy"
        self._progress = folder / "progress.json"
        record = folder / "rows.json"
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        if record.exists():
            try:
                held = json.loads(record.read_text(encoding="utf-8"))
            except ValueError:
                held = None
            if held != rows:
                raise InputError(f"{folder}: holds the activations of {_whose(held)}; choose another folder")
        else:
            write_json(record, rows)
        remove_leftovers(folder)
        self.complete = self._final.exists()
        self.rows_done = 0
        self._header, self._row = _npy_header(shape), 4 * math.prod(shape[1:])
        size = len(self._header) + shape[0] * self._row
        if self.complete:
            self._progress.unlink(missing_ok=True)
            return
        done = self._counted()
        if done is not None and self._partial.is_file() and self._partial.stat().st_size == size:
            self.rows_done = done
        else:
            self._begin(size)

    def write(self, rows: Sequence[int], z: Float[Tensor, "B L H D"]) -> None:
        """Stores one batch; only when its numbers are on disk does it count as done."""
        with writing(self._partial), self._partial.open("r+b") as file:
            for row, numbers in zip(rows, z.numpy().astype("<f4"), strict=True):
                file.seek(len(self._header) + row * self._row)
                file.write(numbers.tobytes())
            file.flush()
            os.fsync(file.fileno())
        self.rows_done += len(rows)
        write_json(self._progress, self.rows_done)

    def finish(self) -> None:
        """Gives the array its name: from now on the folder can be loaded."""
        self._partial.replace(self._final)
        self._progress.unlink(missing_ok=True)

    def _counted(self) -> int | None:
        """How many rows an interrupted run has finished; None if none, or if its count is damaged."""
        try:
            done = json.loads(self._progress.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        return done if type(done) is int and done >= 0 else None

    def _begin(self, size: int) -> None:
        """A file of zeros. It takes all its room where the system can do that, so that a disk that is too full says so
        before the first batch rather than in the middle."""
        with writing(self._partial), self._partial.open("wb") as file:
            try:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):  # file systems that cannot
                    self._partial.unlink()
                    raise
            file.truncate(size)
            file.write(self._header)


def _whose(held: Any) -> str:
    """What is to be said of a record that is not the one wanted."""
    try:
        earlier = not held["provenance"]["weights"].startswith(OF_WEIGHTS)
    except (LookupError, TypeError, AttributeError):
        earlier = False
    return "an earlier build, whose hash of the weights is of another kind" if earlier else "another run"


def _npy_header(shape: tuple[int, ...]) -> bytes:
    """What a `.npy` file of little-endian float32 begins with."""
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return header.getvalue()
