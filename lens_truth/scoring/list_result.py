"""How well known lists of heads agree with scores of all heads, and with one another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lens_truth.errors import InputError
from lens_truth.io.numbers import count, interval, number, p_value, short, significant
from lens_truth.io.results import Result
from lens_truth.io.stages import stage
from lens_truth.io.tables import Cell, Row, Table, row, table
from lens_truth.scoring.head_lists import HeadList
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.correlation import Relation, holm_by_name, relate
from lens_truth.stats.listed import ListedAgainst, Marks, Overlap, listed_against, overlap

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class ListAgreement(Result):
    """Lists by name against scores by name, and every two lists.

    >>> found = lens_truth.ListAgreement.load("runs/heads")
    >>> found.against["hal_heads"].get("truth")
    >>> found.tables()[0], found.verdicts()
    >>> found.plot().savefig("lists.png")
    """

    command: ClassVar[str] = "heads"
    part: ClassVar[str] = "list_agreement"

    n_layers: int
    n_heads: int
    n_kv_heads: int | None
    """KV heads a layer, if known: heads that share one are shuffled and drawn together."""
    lists: Mapping[str, tuple[tuple[int, int], ...]]
    against: Mapping[str, Mapping[str, ListedAgainst]]
    """By list and score; the scores that a list was cut from say nothing of it and are left out."""
    p_holm: Mapping[str, Mapping[str, float]]
    """The p-values of `against`, Holm-adjusted over all of them; NaN where there is none."""
    relations: Mapping[str, Mapping[str, Relation]]
    """Where a list was cut from scores of all heads: these against the others, head by head."""
    overlaps: Mapping[str, Mapping[str, Overlap]]
    """Of every two lists, by the one and then the other."""
    overlaps_p_holm: Mapping[str, Mapping[str, float]]
    """Their p-values, Holm-adjusted over all of them."""

    def tables(self) -> tuple[Table, ...]:
        """A row a list and score; where there are two lists or more, also a row for every two."""
        overlaps = [self._overlap_row(one, other) for one, its in self.overlaps.items() for other in its]
        note = (
            "Expected: of lists with as many heads in each layer; null: the middle 95% when heads are shuffled inside "
            "layers."
        )
        header = ("two lists", "heads", "shared", "expected", "null", "p (Holm)")
        second = (table("Heads that two lists share", header, overlaps, note),) if overlaps else ()
        return (self._against_table(), *second)

    def _against_table(self) -> Table:
        header = ("list", "score", "heads", "AUROC inside layers [95%]", "null", "p (Holm)", "over all layers")
        header += ("mean rank", "in the top", "expected", "r inside layers")
        together = "" if self.n_kv_heads in (None, self.n_heads) else " (those that share keys together)"
        note = (
            "AUROC: how often a listed head has a higher score than an unlisted one of its layer (over all layers: "
            f"than any unlisted one); null: the middle 95% when heads are shuffled inside layers{together}. Mean rank "
            f"of the listed heads in their layers, of {self.n_heads}: {number((self.n_heads + 1) / 2, 1)} by chance. "
            "In the top: listed heads among as many with the highest scores of all. r: of the scores that the list was "
            "cut from, head by head."
        )
        rows = (self._row(name, score) for name, its in self.against.items() for score in its)
        return table("Lists of heads against scores", header, rows, note)

    def _row(self, name: str, score: str) -> Row:
        its, p = self.against[name][score], self.p_holm[name][score]
        relation = self.relations.get(name, {}).get(score)
        return row(
            name,
            score,
            str(len(self.lists[name])),
            f"{number(its.auroc)} {interval(its.interval)}".strip(),
            interval(its.null),
            Cell(p_value(p), strong=significant(p)),
            number(its.auroc_all),
            number(its.mean_rank, 1),
            str(its.n_in_top),
            short(its.expected_in_top),
            "" if relation is None else number(relation.pearson_within_layer, 2),
        )

    def _overlap_row(self, one: str, other: str) -> Row:
        its, p = self.overlaps[one][other], self.overlaps_p_holm[one][other]
        sizes = f"{len(self.lists[one])}, {len(self.lists[other])}"
        null = interval(its.null, 0)
        shown = Cell(p_value(p), strong=significant(p))
        return row(f"{one} and {other}", sizes, str(its.n_shared), short(its.expected), null, shown)

    def verdicts(self) -> list[str]:
        """A sentence a list and score, and one for every two lists."""
        said = [self._said(name, score) for name, its in self.against.items() for score in its]
        return [*said, *(self._overlap_said(one, other) for one, its in self.overlaps.items() for other in its)]

    def _said(self, name: str, score: str) -> str:
        its, p = self.against[name][score], self.p_holm[name][score]
        if np.isnan(its.auroc):
            return f"{name} against {score}: no layer has both listed and unlisted heads, so nothing can be said."
        more = "higher" if its.auroc > 0.5 else "lower"
        found = f"{number(its.auroc)} {interval(its.interval)}, null {interval(its.null)}, p = {p_value(p)} (Holm)"
        if significant(p):
            return f"{name}: its heads have {more} {score} scores than the others of their layers (AUROC {found})."
        return (
            f"{name}: its heads' {score} scores are like those of the others of their layers (AUROC {found}); with "
            f"{count(len(self.lists[name]), 'head')}, what lies inside the null could not be told from chance."
        )

    def _overlap_said(self, one: str, other: str) -> str:
        its, p = self.overlaps[one][other], self.overlaps_p_holm[one][other]
        more = "more" if its.n_shared > its.expected else "fewer"
        than = f"{more} than" if significant(p) else "not clearly another number than"
        return (
            f"{one} and {other} share {count(its.n_shared, 'head')}, {than} the {short(its.expected)} of lists with as "
            f"many heads in each layer (null {interval(its.null, 0)}, p = {p_value(p)}, Holm)."
        )

    def plot(self) -> Figure:
        """AUROC inside layers of every list, a colour a score, over the null."""
        from lens_truth.scoring.list_figures import agreement_dots

        return agreement_dots(self)


@stage("lists of heads")
def list_agreement(
    lists: Mapping[str, HeadList],
    scores: Mapping[str, HeadScores],
    *,
    n_kv_heads: int | None = None,
    n_permutations: int = 9999,
    n_bootstrap: int = 2000,
    seed: int = 0,
) -> ListAgreement:
    """Holds lists of heads against scores of all heads (truth, causal, ...) and against one another.

    >>> lists = {"retrieval": lens_truth.HeadList.load("Llama-2-7b-hf.json.gz", top=20)}
    >>> lens_truth.list_agreement(lists, {"truth": truth}).verdicts()

    Args:
        n_kv_heads: KV heads a layer, by default what the scores' provenance says. Heads that share one are alike, so
            they are shuffled together; where it is not known, heads are shuffled freely, which is too narrow a null if
            they share keys.

    Raises:
        InputError: if there is no list or nothing but its own scores to hold it against, if shapes differ, or if a list
            names a head that is not there.
    """
    if not lists or not (scores or len(lists) > 1):
        raise InputError("there is nothing to compare: it takes a list of heads, and scores or another list")
    if n_permutations < 1:
        raise InputError(f"{n_permutations} permutations were asked for; at least 1 is needed")
    L, H, kv = _shape(lists, scores)
    kv = n_kv_heads or kv
    if kv is not None and H % kv:
        raise InputError(f"{kv} KV heads were named for {H} heads, which must share them evenly")
    how: dict[str, Any] = {"n_kv_heads": kv, "n_permutations": n_permutations, "seed": seed}
    marks = {name: _marks(name, its, L, H) for name, its in lists.items()}
    against: dict[str, dict[str, ListedAgainst]] = {}
    relations: dict[str, dict[str, Relation]] = {}
    for name, its in lists.items():
        others = {score: one for score, one in scores.items() if not _same(one, its.scores)}
        against[name] = {
            score: listed_against(marks[name], one.values, n_bootstrap=n_bootstrap, **how)
            for score, one in others.items()
        }
        if its.scores is not None:
            found = {score: relate(its.scores.values, one.values, **how) for score, one in others.items()}
            relations[name] = {score: relation for score, relation in found.items() if relation is not None}
    if not any(against.values()) and len(lists) < 2:
        raise InputError(f"{next(iter(lists))} was cut from the only scores there are, which say nothing of it")
    overlaps: dict[str, dict[str, Overlap]] = {}
    for one, other in combinations(lists, 2):
        overlaps.setdefault(one, {})[other] = overlap(marks[one], marks[other], **how)
    named = {name: its.heads for name, its in lists.items()}
    return ListAgreement(L, H, kv, named, against, _holm(against), relations, overlaps, _holm(overlaps))


def _holm(
    tests: Mapping[str, Mapping[str, ListedAgainst]] | Mapping[str, Mapping[str, Overlap]],
) -> dict[str, dict[str, float]]:
    """Of all of them together."""
    every = {(one, other): its.p_value for one, of_one in tests.items() for other, its in of_one.items()}
    keys = {f"{n}": key for n, key in enumerate(every)}
    adjusted = holm_by_name({n: None if np.isnan(every[key]) else every[key] for n, key in keys.items()})
    found: dict[str, dict[str, float]] = {one: {} for one in tests}
    for n, (one, other) in keys.items():
        p = adjusted[n]
        found[one][other] = float("nan") if p is None else p
    return found


def _shape(lists: Mapping[str, HeadList], scores: Mapping[str, HeadScores]) -> tuple[int, int, int | None]:
    """Layers, heads and KV heads of all scores; of lists alone, as many as they name."""
    its = dict(_all_scores(lists, scores))
    if not its:
        raise InputError("no file says how many heads there are: scores of the model's heads are needed too")
    first = next(iter(its))
    L, H = its[first].values.shape
    for name, one in its.items():
        if one.values.shape != (L, H):
            raise InputError(f"'{name}' has shape {one.values.shape}, '{first}' {(L, H)}: they are of different models")
    kv = {one.n_kv_heads for one in its.values()} - {None}
    if len(kv) > 1:
        raise InputError(f"the scores are of models with {' and '.join(map(str, sorted(filter(None, kv))))} KV heads")
    return L, H, next(iter(kv), None)


def _all_scores(lists: Mapping[str, HeadList], scores: Mapping[str, HeadScores]) -> Iterator[tuple[str, HeadScores]]:
    yield from scores.items()
    yield from ((name, its.scores) for name, its in lists.items() if its.scores is not None)


def _marks(name: str, heads: HeadList, n_layers: int, n_heads: int) -> Marks:
    try:
        return heads.marks(n_layers, n_heads)
    except InputError as error:
        raise InputError(f"list '{name}': {error}") from error


def _same(one: HeadScores, other: HeadScores | None) -> bool:
    return other is not None and np.array_equal(one.values, other.values)
