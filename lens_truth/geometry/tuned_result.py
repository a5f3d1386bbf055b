"""`Tuned`: truth directions of a base and of a model tuned from it, each in the other; read back without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from lens_truth.io.numbers import count, interval, number, share
from lens_truth.io.results import Result
from lens_truth.io.tables import Table, row, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WAYS = ("base to tuned", "tuned to base")
Ends = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Way:
    """Probes of one model in the other, in the head that is best where they are from.

    >>> result.ways["base to tuned"].kept
    """

    head: tuple[int, int]
    auroc: float
    auroc_ci: Ends
    accuracy: float
    ceiling: float
    """AUROC of the tested model's own probe in the same head."""
    ceiling_ci: Ends
    home: float
    """AUROC of the probe in the model that it is from."""
    lost: float
    """Ceiling less AUROC."""
    lost_ci: Ends
    kept: float
    """(AUROC - .5) / (ceiling - .5)."""
    kept_ci: Ends
    random: float
    """AUROC that 2.5% of random directions (whichever way they point) exceed there."""
    random_cosine: float
    """Absolute cosine that 2.5% of random directions exceed with the tested model's own."""


@dataclass(frozen=True, eq=False)
class Tuned(Result):
    """What `tuned_directions` found.

    >>> found = lens_truth.Tuned.load("runs/directions-tuned")
    >>> found.tables()[0], found.verdicts()
    >>> found.plot().savefig("tuned.png")
    """

    command = "directions tuned"
    part = "tuned"
    named = True

    names: tuple[str, str]
    """Base and tuned model."""
    point: str
    estimator: str
    n_rows: int
    n_groups: int
    n_folds: int
    n_random: int
    seed: int
    ways: Mapping[str, Way]
    """`base to tuned`, `tuned to base`."""
    aurocs: Float[np.ndarray, "2 2 L H"]
    """Whose probe (base, tuned), in whose activations."""
    accuracies: Float[np.ndarray, "2 2 L H"]
    cosines: Float[np.ndarray, "L H"]
    mahalanobis: Float[np.ndarray, "2 L H"]
    """Under the covariance of the base's rows, and of the tuned model's."""
    random_aurocs: Float[np.ndarray, "2 L H"]
    random_cosines: Float[np.ndarray, "2 L H"]

    def tables(self) -> tuple[Table, ...]:
        """Both ways; all heads together."""
        return self.both_ways(), self.all_heads()

    def both_ways(self) -> Table:
        """The best head's probe in the other model: `result.both_ways()`."""
        header = ("probe", "head", "at home", "AUROC", "95%", "accuracy", "ceiling", "lost", "95%", "kept", "random")
        rows = [
            row(
                name,
                f"{its.head[0]}.{its.head[1]}" if self.point == "z" else f"layer {its.head[0]}",
                number(its.home),
                number(its.auroc),
                interval(its.auroc_ci),
                number(its.accuracy),
                f"{number(its.ceiling)} {interval(its.ceiling_ci)}",
                number(its.lost),
                interval(its.lost_ci, 3, plus=True),
                f"{number(its.kept, 2)} {interval(its.kept_ci)}",
                number(its.random),
            )
            for name, its in self.ways.items()
        ]
        note = (
            f"Base: {self.names[0]}; tuned: {self.names[1]}. Held-out folds of {self.n_rows} rows in "
            f"{self.n_groups} groups. "
            f"Ceiling: the tested model's own probe in that head. Random: exceeded by 2.5% of {self.n_random} random "
            "directions there."
        )
        return table("Truth directions before and after tuning", header, rows, note)

    def all_heads(self) -> Table:
        """Medians over heads: `result.all_heads()`."""
        cosine = float(np.median(self.cosines))
        beyond = [float((np.abs(self.cosines) > its).mean()) for its in self.random_cosines]
        rows = [
            row(
                name,
                number(float(np.median(self.aurocs[i, 1 - i]))),
                number(float(np.median(self.aurocs[1 - i, 1 - i]))),
                number(float(np.median(self.random_aurocs[1 - i]))),
                number(cosine, 2),
                share(beyond[1 - i]),
                number(float(np.nanmedian(self.mahalanobis[1 - i])), 2),
            )
            for i, name in enumerate(WAYS)
        ]
        header = ("probe", "AUROC", "ceiling", "random", "cosine", "beyond random", "Mahalanobis cosine")
        return table("All heads (medians)", header, rows)

    def verdicts(self) -> list[str]:
        """What is left of the directions."""
        sentences: list[str] = []
        for name, its in self.ways.items():
            loss = "loses" if its.lost_ci[0] > 0 else "does not measurably lose"
            against = "above" if its.auroc_ci[0] > its.random else "not told from"
            sentences.append(
                f"From {name} the probe of {its.head[0]}.{its.head[1]} has AUROC {its.auroc:.2f} "
                f"{interval(its.auroc_ci)} "
                f"where the own one has {its.ceiling:.2f}, so it {loss} ({its.lost:+.3f} "
                f"{interval(its.lost_ci, 3, plus=True)}); it is {against} random directions ({its.random:.2f})."
            )
        n = int((np.abs(self.cosines) > self.random_cosines.max(0)).sum())
        sentences.append(
            f"In {n} of {count(self.cosines.size, 'head' if self.point == 'z' else 'layer')} the two "
            "directions are closer "
            f"than 97.5% of random ones; their median cosine is {np.median(self.cosines):.2f}."
        )
        return sentences

    def plot(self) -> Figure:
        """Transfer against ceiling, and cosines, of all heads."""
        from lens_truth.geometry.between_figures import tuned_maps  # takes as long as all the rest

        return tuned_maps(self)
