"""What the length of answers makes of causal scores and learned gates, which sum over an answer's tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from lens_truth.data.surface import CONFOUNDED
from lens_truth.io.numbers import number
from lens_truth.io.tables import Table, row, table
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.correlation import Map

_ALIKE = 1.25
"""Answers whose numbers of tokens differ by less than this factor are as long."""
ENOUGH = 10
"""Fewer questions with answers as long say nothing."""
Pairs = Sequence[tuple[list[int], list[int]]]
"""Rows of the supported and of the hallucinated answers of every question."""


def length_record(pairs: Pairs, tokens: Float[np.ndarray, " N"]) -> dict[str, Any]:
    """How the answers of the questions differ in length: `shorter`, the share of questions whose supported answer has
    fewer tokens (half of those with as many; .5 says nothing); `length_ratio`, how many times as many the hallucinated
    answer has (geometric mean); of several answers to a question, their mean counts."""
    supported, hallucinated = _lengths(pairs, tokens)
    shorter = (1 + np.sign(hallucinated - supported)) / 2
    ratio = np.exp(np.log(hallucinated / supported).mean())
    return {"shorter": float(shorter.mean()), "length_ratio": float(ratio)}


def length_controls(
    pairs: Pairs,
    tokens: Float[np.ndarray, " N"],
    values: Map,
    slopes: Float[np.ndarray, "Q L H"],
    per_token: Float[np.ndarray, "Q L H"],
) -> tuple[dict[str, Map], dict[str, Any]]:
    """Causal maps on which length has less hold, from the slopes of every question's margin, and how they agree with
    the scores over heads (Pearson's r): `per_token`, of margins of log-probabilities divided by the answers' tokens;
    and over the questions whose answers differ by a factor below 1.25 in tokens, if there are ten of them, `matched`.
    """
    supported, hallucinated = _lengths(pairs, tokens)
    alike = np.maximum(supported, hallucinated) < _ALIKE * np.minimum(supported, hallucinated)
    maps = {"per_token": per_token.mean(0)}
    if alike.sum() >= ENOUGH:
        maps["matched"] = slopes[alike].mean(0)
    agreement: dict[str, Any] = {f"r_{name}": agreement_of(values, its) for name, its in maps.items()}
    return maps, {"n_matched": int(alike.sum()), **agreement}


def agreement_of(one: Map, other: Map) -> float | None:
    """Pearson's r over all heads; None where a map is constant."""
    if min(one.std(), other.std()) < 1e-12:
        return None
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


_AGREE = {
    "r_per_token": "those per token",
    "r_matched": "those of answers about as long",
    "r_moved": "those of the same answers moved to other questions",
}


def length_table(surface: Mapping[str, Any]) -> Table:
    """What is known of the answers' length and of what it makes of the scores."""
    rows = [
        row("supported answer the shorter one", number(surface["shorter"])),
        row("tokens of the hallucinated over those of the supported", number(surface["length_ratio"])),
        *(row(f"r with {what}", number(surface[name])) for name, what in _AGREE.items() if name in surface),
    ]
    return table("", ("length of the answers", ""), rows)


def length_warning(kind: str, surface: Mapping[str, Any] | None) -> str | None:
    """A sentence for whoever might take causal scores or a learned gate at face value, from their record of surface
    (`provenance["surface"]`), or None."""
    if not surface or abs(surface["shorter"] - 0.5) <= CONFOUNDED:
        return None
    which, share, times = "shorter", surface["shorter"], surface["length_ratio"]
    if share < 0.5:
        which, share, times = "longer", 1 - share, 1 / times
    agree = [f"{number(r)} with {what}" for name, what in _AGREE.items() if (r := surface.get(name)) is not None]
    correlate = f"; the scores correlate {', '.join(agree)}" if agree else ""
    return (
        f"SURFACE CONFOUND: the supported answer is the {which} one in {number(share)} of the questions (the tokens of "
        f"the two differ {times:.1f} times), and margins are sums over tokens{correlate}. These {kind} scores need not "
        "be about support."
    )


def warning_of(scores: HeadScores) -> str | None:
    """That of scores with what their provenance says; None for truth scores, which do not sum over tokens."""
    return length_warning(scores.kind, scores.provenance.get("surface"))


def _lengths(pairs: Pairs, tokens: Float[np.ndarray, " N"]) -> tuple[Float[np.ndarray, " Q"], Float[np.ndarray, " Q"]]:
    supported, hallucinated = (np.array([tokens[pair[side]].mean() for pair in pairs]) for side in (0, 1))
    return supported, hallucinated
