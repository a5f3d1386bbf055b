"""`StatementPairs`: statements beside what contradicts them, as the activations of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.geometry.compounds import one_name
from lens_truth.io.streams import Stream, stream
from lens_truth.scoring.activations import HeadActivations


@dataclass(frozen=True)
class StatementPairs:
    """Pairs of which exactly one side is true.

    >>> pairs = lens_truth.pairs_in_set(activations)  # a lens_truth.StatementPairs
    >>> pairs = lens_truth.StatementPairs(first, second, labels, groups, ids, None, {"sides": "statement, negation"})
    """

    first: Float[Tensor, "P L H D"]
    second: Float[Tensor, "P L H D"]
    labels: Int[np.ndarray, " P"]
    """1 where the first side is the true one."""
    groups: tuple[str, ...]
    """A group is never split between folds."""
    ids: tuple[str, ...]
    """Of the first sides' rows."""
    partner: Int[np.ndarray, " P"] | None
    """The pair about the opposite statement, where sides are a statement's two answers; None where they are a statement
    and its negation."""
    provenance: Mapping[str, Any]
    """Of the activations; `sides` says what stands on which side."""

    @property
    def point(self) -> str:
        """Where the activations were read."""
        return str(self.provenance.get("point", "z"))


def pairs_in_set(
    activations: HeadActivations, rows: Sequence[tuple[int, int]] | None = None, *, seed: int = 0
) -> StatementPairs:
    """Pairs of one set: a true statement and what contradicts it, or a right and a wrong answer to one question.

    Which of the two stands first is drawn: if the true ones stood first, as in many files, centring the sides would
    take truth away.

    >>> pairs = lens_truth.pairs_in_set(lens_truth.capture(model, lens_truth.load_examples("claims.csv")))

    Args:
        rows: of the true and the false side of every pair; by default the two rows of each group.

    Raises:
        InputError: counts the groups that are no pairs, or the given pairs that have the same label on both sides.
    """
    labels = activations.labels.cpu().numpy()
    if rows is None:
        of_group: dict[str, list[int]] = {}
        for row, group in enumerate(activations.groups):
            of_group.setdefault(group, []).append(row)
        lonely = [group for group, its in of_group.items() if sorted(labels[its].tolist()) != [0, 1]]
        if lonely:
            raise InputError(
                f"pairs without partner: {len(lonely)} of {len(of_group)} groups do not hold one true and one false "
                f"statement (the first: '{lonely[0]}')"
            )
        sides = np.array(list(of_group.values()))
    else:
        sides = np.array(rows, dtype=np.int64).reshape(-1, 2)
    turned = stream(seed, Stream.PAIR_SIDES).random(len(sides)) < 0.5
    sides[turned] = sides[turned, ::-1]
    return _pairs(activations, activations, sides, None, {"sides": "drawn"})


def pairs_of_sets(
    first: HeadActivations,
    second: HeadActivations,
    partners: Sequence[int | None],
    *,
    sides: str = "statement, negation",
) -> StatementPairs:
    """Pairs of the rows of two sets: statements, and their negations (or the same statements with another answer).

    >>> pairs = lens_truth.pairs_of_sets(cities, neg_cities, range(len(cities.labels)))

    Args:
        partners: for every row of `first` its partner's row in `second`; None where it has none.

    Raises:
        InputError: counts the rows without partner, and those whose partner has the same label; or says how the two
            differ in model, weights, read position or shape.
    """
    check_same(first, second)
    if len(partners) != len(first.labels):
        raise InputError(f"{len(partners)} partners were given for {len(first.labels)} statements")
    if lonely := [row for row, its in enumerate(partners) if its is None]:
        raise InputError(
            f"pairs without partner: {len(lonely)} of {len(partners)} statements have no negation (the first: "
            f"'{first.ids[lonely[0]]}')"
        )
    rows = np.array([[row, its] for row, its in enumerate(partners)], dtype=np.int64).reshape(-1, 2)
    return _pairs(first, second, rows, None, {"sides": sides})


def answer_pairs(yes: HeadActivations, no: HeadActivations, partners: Sequence[int | None]) -> StatementPairs:
    """Pairs of a statement's two answers, with the pair of the statement that contradicts it: what polar consistency
    needs. A row's label is whether its statement is true, in both sets; a pair and its partner stay in one fold.

    >>> pairs = lens_truth.answer_pairs(yes, no, partners)
    >>> lens_truth.ccs_scores(pairs).polar_consistency

    Args:
        yes: of every statement with the answer yes; `no`: of the same statements, in the same order, with no.
        partners: for every statement the row of the one that contradicts it.

    Raises:
        InputError: counts the statements without partner, and those whose partner has the same label; or if the two
            sets are not of the same statements.
    """
    check_same(yes, no)
    labels = yes.labels.cpu().numpy()
    if yes.groups != no.groups or not np.array_equal(labels, no.labels.cpu().numpy()):
        raise InputError("the two answers are not to the same statements: groups or labels differ")
    lonely = [row for row, its in enumerate(partners) if its is None or partners[its] != row]
    if lonely or len(partners) != len(labels):
        n = len(lonely) or abs(len(partners) - len(labels))
        raise InputError(f"pairs without partner: {n} of {len(labels)} statements have none that contradicts them")
    partner = np.array(partners, dtype=np.int64)
    if n := int((labels == labels[partner]).sum()):
        raise InputError(f"{n} of {len(labels)} statements have the same label as the one that contradicts them")
    rows = np.stack([np.arange(len(labels))] * 2, axis=1)
    return _of(yes, no, rows, labels, partner, {"sides": "yes, no"})


def check_same(first: HeadActivations, second: HeadActivations) -> None:
    """Raises an InputError unless two sets are of the same model, read position and shape."""
    if first.z.shape[1:] != second.z.shape[1:]:
        here, there = (" x ".join(map(str, its.z.shape[1:])) for its in (first, second))
        raise InputError(f"the two sides differ: {here} activations a row against {there}")
    for what in ("weights", "template", "point"):
        here, there = first.provenance.get(what), second.provenance.get(what)
        if here != there:
            raise InputError(f"the two sides differ in {what}: {here} against {there}")


def _pairs(
    first: HeadActivations,
    second: HeadActivations,
    rows: Int[np.ndarray, "P 2"],
    partner: Int[np.ndarray, " P"] | None,
    about: Mapping[str, Any],
) -> StatementPairs:
    """Of which one side is true."""
    labels = first.labels.cpu().numpy()[rows[:, 0]]
    alike = np.flatnonzero(labels == second.labels.cpu().numpy()[rows[:, 1]])
    if len(alike):
        raise InputError(
            f"{len(alike)} of {len(rows)} pairs have the same label on both sides (the first: "
            f"'{first.ids[rows[alike[0], 0]]}'); one side of a pair must be true"
        )
    return _of(first, second, rows, labels, partner, about)


def _of(
    first: HeadActivations,
    second: HeadActivations,
    rows: Int[np.ndarray, "P 2"],
    labels: Int[np.ndarray, " P"],
    partner: Int[np.ndarray, " P"] | None,
    about: Mapping[str, Any],
) -> StatementPairs:
    one, other = (torch.from_numpy(np.ascontiguousarray(its)) for its in rows.T)
    order, there = (cast("list[int]", its.tolist()) for its in rows.T)
    links = [[first.groups[row], second.groups[its]] for row, its in zip(order, there, strict=True)]
    if partner is not None:
        opposite = cast("list[int]", partner.tolist())
        links += [[first.groups[row], first.groups[its]] for row, its in zip(order, opposite, strict=True)]
    name = one_name(links)  # a negation may be grouped under another subject than its statement
    groups, ids = tuple(name[first.groups[row]] for row in order), tuple(first.ids[row] for row in order)
    return StatementPairs(
        first.z[one].float(), second.z[other].float(), labels, groups, ids, partner, {**first.provenance, **about}
    )
