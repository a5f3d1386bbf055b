"""Which rows probes are fitted on, which choose heads, which judge a detector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lens_truth.data.examples import Example, labels_of, split_groups
from lens_truth.errors import InputError, notice
from lens_truth.scoring.head_probes import HeadProbes
from lens_truth.stats.folds import check_labels

SHARES = (0.4, 0.25, 0.35)
"""Of the groups: those that probes are fitted on, those that the detector is chosen on, those that judge it."""
FOLDS = 5
"""Of probes."""


def detection_parts(
    examples: Sequence[Example], probes: HeadProbes | None, layers: HeadProbes | None, seed: int
) -> list[list[Example]]:
    """Training, validation and test rows."""
    check_labels(np.array(labels_of(examples)))
    if probes is None:
        return _usable(split_groups(examples, SHARES, seed), examples)
    groups = [example.group for example in examples]
    seen = np.array(probes.seen(groups)) | (False if layers is None else np.array(layers.seen(groups)))
    left = [example for example, its in zip(examples, seen, strict=True) if not its]
    train = [example for example, its in zip(examples, seen, strict=True) if its]
    if not left:
        raise InputError(
            f"the probes have seen all {len(set(groups))} groups of these rows; they can be judged on others, "
            "or leave the probes out, so that new ones are fitted on a part of the rows"
        )
    if train:
        n, of = len({example.group for example in train}), len(set(groups))
        notice(f"the probes have seen {n} of the {of} groups (by name); these are neither chosen on nor judged on")
    return [train, *_usable(split_groups(left, SHARES[1:], seed), left)]


def _usable(parts: list[list[Example]], examples: Sequence[Example]) -> list[list[Example]]:
    """An InputError, in numbers of all examples, if a part is too small for probes, heads or a judgement."""
    groups = [len({example.group for example in rows}) for rows in parts]
    both = all(len({*labels_of(rows)}) == 2 for rows in parts)
    if not both or (len(parts) == len(SHARES) and groups[0] < FOLDS) or groups[-2] < 2:
        jobs = ("to fit probes", "to choose heads", "to judge")[-len(parts) :]
        of = ", ".join(f"{n} {job}" for n, job in zip(groups, jobs, strict=True))
        raise InputError(
            f"{len(examples)} examples in {sum(groups)} groups are too few to detect by ({of}): each part needs both "
            f"labels, what fits probes {FOLDS} groups, what chooses heads 2"
        )
    return parts
