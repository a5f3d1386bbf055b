"""Roles of heads put to the test: those that are to be sufficient alone, all but those that are to be necessary, all
but those in the way; each beside as many random heads of the same layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float

from lens_truth.ablation.held_out import Judge
from lens_truth.ablation.roles_result import LET_GO, ONLY, WITHOUT, Removal, RoleCheck, as_good
from lens_truth.data.examples import Example
from lens_truth.errors import InputError
from lens_truth.evaluate.asker import Asker
from lens_truth.gates.gate import HeadGate
from lens_truth.io.stages import stage
from lens_truth.io.streams import Stream, stream
from lens_truth.models.budget import Budget
from lens_truth.models.hooks import check_gate_shape, grid_of
from lens_truth.scoring.learned import AnswerRows
from lens_truth.scoring.learned_roles import ROLES, HeadRoles

_Marks = Bool[np.ndarray, "L H"]
_SHUFFLES = 200
_ROLE = {ONLY: "facilitating", WITHOUT: "facilitating", LET_GO: "interfering"}


@stage("role check")
def role_check(
    asker: Asker, roles: HeadRoles, test: Sequence[Example], *, n_random: int = 20, seed: int = 0
) -> RoleCheck:
    """Runs held-out questions with the facilitating heads alone, without them, and without the interfering ones, all
    others at 0 or 1; each beside as many random heads of the same layers.

    >>> roles = lens_truth.head_roles(model, fitted, template="chat")
    >>> found = lens_truth.role_check(lens_truth.Asker(model, "chat"), roles, test)
    >>> found.verdicts()

    Args:
        asker: the model that the roles are of, and how it is asked.
        test: questions on which roles were not fitted.
        n_random: random choices of heads; at least one.

    Raises:
        InputError: if the roles do not have the model's shape, no random choice is asked for, or no question has
            answers of both labels.
    """
    if n_random < 1:
        raise InputError(f"{n_random} random choices of heads were asked for; at least 1 is needed")
    check_gate_shape(grid_of(asker.model), torch.from_numpy(roles.kept))
    chosen = {name: roles.heads(role) for name, role in _ROLE.items()}
    chosen = {name: its for name, its in chosen.items() if its.any() and not its.all()}
    rng = stream(seed, Stream.FRONTIER_HEADS, 1)
    drawn = {name: [_shuffled(its, rng) for _ in range(n_random)] for name, its in chosen.items()}
    gates = {f"{name}, {i}": _gate(name, its) for name in chosen for i, its in enumerate((chosen[name], *drawn[name]))}
    judge = Judge(asker, test, seed)
    margins, log_probs = judge.margins(gates, "roles"), _log_probs(asker, test, gates)

    def removal(name: str) -> Removal:
        its, many = f"{name}, 0", [f"{name}, {1 + i}" for i in range(n_random)]
        random = [(log_probs[one], float(margins[one].mean()), float((margins[one] > 0).mean())) for one in many]
        marks = chosen[name]
        free = marks.any(1) & ~marks.all(1)
        return Removal(
            n=int(marks.sum()),
            n_movable=int(marks[free].sum()),
            held=judge.of([margins[its]], margins[""]),
            log_prob=log_probs[its],
            random=tuple(random),
            p=as_good(name, log_probs[its], [one[0] for one in random]),
        )

    vanilla = margins[""]
    return RoleCheck(
        model=asker.name,
        n_questions=judge.n_questions,
        n_groups=len(set(judge.groups)),
        seed=seed,
        starts=len(roles.kept),
        counts={role: int(roles.heads(role).sum()) for role in ROLES},
        agreement={role: roles.agreement(role) for role in ROLES},
        by_chance=_by_chance(roles, rng),
        kept=roles.kept.mean(0),
        held=roles.held.mean(0),
        log_prob=log_probs[""],
        margin=float(vanilla.mean()),
        accuracy=float((vanilla > 0).mean()),
        removals={name: removal(name) for name in chosen},
    )


def _gate(name: str, marks: _Marks) -> HeadGate:
    return HeadGate(torch.from_numpy(1.0 * (marks if name == ONLY else ~marks)).float())


def _shuffled(marks: Float[np.ndarray, "L H"] | _Marks, rng: np.random.Generator) -> np.ndarray:
    """As many heads of each layer."""
    return rng.permuted(marks, axis=1)


def _by_chance(roles: HeadRoles, rng: np.random.Generator) -> dict[str, float]:
    """How alike starts are whose heads are shuffled inside layers; G+ and G- of a head stay together."""
    found: dict[str, list[float]] = {role: [] for role in ROLES}
    for _ in range(_SHUFFLES if len(roles.kept) > 1 else 0):
        order = rng.random(roles.kept.shape).argsort(2)
        kept, held = (np.take_along_axis(its, order, axis=2) for its in (roles.kept, roles.held))
        its = replace(roles, kept=kept, held=held)
        for role in ROLES:
            found[role].append(its.agreement(role))
    return {role: float(np.mean(its)) if its else float("nan") for role, its in found.items()}


def _log_probs(asker: Asker, test: Sequence[Example], gates: dict[str, HeadGate]) -> dict[str, float]:
    """Of the supported answers, nats a token (mean over questions); as "" without a gate."""
    rows = AnswerRows.likelihoods(asker.model, test, asker.template)
    budget = Budget.of(asker.model, asker.batch_size)
    values = {"": torch.ones(grid_of(asker.model)), **{name: gate.values for name, gate in gates.items()}}
    return {name: float(rows.under(its, budget).mean()) for name, its in values.items()}
