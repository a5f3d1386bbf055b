"""`HeadList`: heads that somebody named, the most important first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from lens_truth.errors import InputError
from lens_truth.scoring.list_files import read_list
from lens_truth.scoring.scores import HeadScores

SHARE = 0.05
"""Of all heads, where a file has a score for each and nobody says how many are meant: fewer are retrieval heads in
every model of Wu et al. (2024)."""


@dataclass(frozen=True, repr=False)
class HeadList:
    """Heads of a model by layer and number, both from 0, in the order of the file: the most important first.

    >>> heads = lens_truth.HeadList.load("attribution.json", part="hal_heads")  # AD-HH's
    >>> lens_truth.HeadList.load("Llama-2-7b-hf.json.gz", top=20)  # the best of a file of retrieval scores
    >>> heads.first(10).marks(32, 32)
    """

    heads: tuple[tuple[int, int], ...]
    scores: HeadScores | None = None
    """Those that the heads were chosen by, where a file has one for every head."""
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The file, and what the list is called in it."""

    def __post_init__(self) -> None:
        if not self.heads:
            raise InputError("a list of heads is empty")
        if wrong := next((head for head in self.heads if min(head) < 0), None):
            raise InputError(f"layer {wrong[0]}, head {wrong[1]} is on the list; both are counted from 0")
        if len(set(self.heads)) < len(self.heads):
            layer, head = next(head for head in self.heads if self.heads.count(head) > 1)
            raise InputError(f"layer {layer}, head {head} stands there twice")

    def __repr__(self) -> str:
        """How many, and the first few."""
        first = ", ".join(f"{layer}.{head}" for layer, head in self.heads[:5])
        return f"HeadList({len(self.heads)} heads: {first}{', ...' if len(self.heads) > 5 else ''})"

    def __len__(self) -> int:
        return len(self.heads)

    def first(self, n: int) -> HeadList:
        """The `n` that stand first: `heads.first(20)`; an InputError if there are fewer."""
        if not 1 <= n <= len(self.heads):
            raise InputError(f"the first {n} heads were asked for of a list of {len(self.heads)}")
        return HeadList(self.heads[:n], self.scores, self.provenance)

    def marks(self, n_layers: int, n_heads: int) -> Bool[np.ndarray, "L H"]:
        """True where a head is on the list: `heads.marks(scores.n_layers, scores.n_heads)`.

        Raises:
            InputError: if a head is on it that a model of this shape does not have.
        """
        marked = np.zeros((n_layers, n_heads), dtype=bool)
        for layer, head in self.heads:
            if layer >= n_layers or head >= n_heads:
                raise InputError(
                    f"layer {layer}, head {head} is on the list, but there are {n_layers} layers of {n_heads} heads, "
                    "counted from 0"
                )
            marked[layer, head] = True
        return marked

    @classmethod
    def from_scores(cls, scores: HeadScores, n: int | None = None) -> HeadList:
        """The `n` heads with the highest scores (of equals the first); by default 5% of all, the most that Wu et al.
        (2024) find to be retrieval heads.

        >>> lens_truth.HeadList.from_scores(lens_truth.causal_scores(model, examples), 10)
        """
        n = max(1, round(SHARE * scores.values.size)) if n is None else n
        order = np.argsort(-scores.values, axis=None, kind="stable")
        ordered = tuple((int(at) // scores.n_heads, int(at) % scores.n_heads) for at in order)
        return cls(ordered, scores, scores.provenance).first(n)

    @classmethod
    def load(cls, path: str | Path, *, part: str | None = None, top: int | None = None) -> HeadList:
        """Reads a list of heads as others publish them, in any of these forms:

        - `.json` or `.json.gz`: `[[16, 29], [17, 0]]` or `["16-29", "17-0"]`, also with scores, `[[[16, 29], 0.94]]`;
          an object that has such lists by name, as AD-HH (`hal_heads`; Yang et al., ICLR 2025) and ReDeEP
          (`select_heads`) publish them; or `{"16-29": 0.94}` with a number or a list of trials a head, as
          retrieval heads are published (Wu et al. 2024), highest mean first;
        - `.txt`: a head a line, `16-29`, `16.29`, `16 29`, `16,29` or `L16H29`; what stands behind `#` is passed over;
        - `.csv`: columns layer and head alone, in order;
        - `.npy`: whole numbers of shape (heads, 2), as ITI's top heads can be saved;
        - every file of scores of all heads that `HeadScores.load` reads (ITI's accuracies as `.npy`, ...): the `top`
          heads, by default 5%.

        Args:
            part: which of several lists in an object.
            top: only so many heads, the first of the list.

        Raises:
            InputError: if the file is missing or damaged, holds no list, a head twice, or fewer heads than `top`.
        """
        path = Path(path)
        found = read_list(path, part)
        try:
            if not isinstance(found, list):
                scores = HeadScores(**found)
                return cls.from_scores(scores, top)
            listed = cls(tuple(found), None, {"file": path.name} | ({} if part is None else {"part": part}))
            return listed if top is None else listed.first(top)
        except InputError as error:
            raise error if str(path) in str(error) else InputError(f"{path}: {error}") from error
