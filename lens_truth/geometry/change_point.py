"""Where a curve over checkpoints breaks: one break of its mean, or the middle of an S-shaped rise, by least squares."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from lens_truth.errors import InputError
from lens_truth.io.numbers import count

Shape = Literal["break", "sigmoid"]
FEWEST = 4
"""Checkpoints: with fewer every curve has a break."""
_WIDTHS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Of the rise, in checkpoints."""
_MIDDLES = 8
"""Places of its middle between two checkpoints."""
_FLAT = 1e-12


class ChangePoint(NamedTuple):
    """Of every curve."""

    at: Float[np.ndarray, " P"]
    """In steps; between two checkpoints."""
    explained: Float[np.ndarray, " P"]
    """Share of the curve's variance that the shape explains (R2); 0 of a curve that is flat."""


def change_points(
    steps: Int[np.ndarray, " T"], curves: Float[np.ndarray, "P T"], shape: Shape = "break"
) -> ChangePoint:
    """The least-squares change point of every curve.

    >>> lens_truth.change_points(np.array([0, 100, 200, 300]), accuracies[None]).at

    `break`: the mean is another one from some checkpoint on; the change point lies midway between that and the one
    before it. `sigmoid`: a + b / (1 + exp(-(t - c) / w)) over the number t of the checkpoint, c on a grid of eighths, w
    from 1/8 to 4 checkpoints; the change point is c, in steps.

    Raises:
        InputError: if there are fewer than 4 checkpoints, or their steps do not rise.
    """
    check_steps(steps)
    T = len(steps)
    if T < FEWEST:
        raise InputError(f"{count(T, 'checkpoint')} given; a change point needs at least {FEWEST}")
    number = np.arange(T)
    if shape == "break":
        middles = np.arange(1, T) - 0.5
        forms = (number > middles[:, None]).astype(float)
    else:
        grid = np.arange(0, _MIDDLES * (T - 1) + 1) / _MIDDLES
        middles = np.repeat(grid, len(_WIDTHS))
        widths = np.tile(_WIDTHS, len(grid))
        forms = 0.5 * (1 + np.tanh((number - middles[:, None]) / widths[:, None] / 2))
    forms = forms - forms.mean(1, keepdims=True)
    length = np.linalg.norm(forms, axis=1, keepdims=True)
    forms = np.where(length > 1e-6, forms / np.maximum(length, 1e-6), 0)
    centred = curves - curves.mean(1, keepdims=True)
    total = (centred**2).sum(1)
    explained = (centred @ forms.T) ** 2
    best = explained.argmax(1)
    flat = total <= _FLAT * np.maximum((curves**2).sum(1), 1e-300)
    share = np.where(flat, 0, explained[np.arange(len(curves)), best] / np.where(flat, 1, total))
    return ChangePoint(np.interp(middles[best], number, steps.astype(float)), share)


def check_steps(steps: Int[np.ndarray, " T"]) -> None:
    """Raises an InputError unless the steps rise."""
    for before, after in zip(steps[:-1].tolist(), steps[1:].tolist(), strict=True):
        if after <= before:
            raise InputError(f"the checkpoints are out of order: step {after} comes after step {before}")
