"""The sizes in which known methods are tried, about as many of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

from lens_truth.ablation.search import Search, contrasts, gates_by, uniform_gains
from lens_truth.ablation.steering import Steering, shifts_along
from lens_truth.decoding.adhh import ADHH
from lens_truth.decoding.context_aware import ContextAware
from lens_truth.decoding.decoder import Decoder
from lens_truth.decoding.decore import DeCoRe
from lens_truth.decoding.dola import DoLa
from lens_truth.decoding.lol import LOL
from lens_truth.decoding.prompted import INSTRUCTIONS, Prompted
from lens_truth.decoding.sibling import Sibling
from lens_truth.decoding.vcd import VCD
from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.gates.neuron_gate import NeuronGate
from lens_truth.gates.rows import Intervention
from lens_truth.gates.shift import HeadShift
from lens_truth.io.numbers import count
from lens_truth.models.common_gain import common_gain_acts
from lens_truth.models.hooks import Hooked
from lens_truth.rivals.rival import Rival, Tried
from lens_truth.scoring.directions import TruthDirections, best_heads
from lens_truth.scoring.scores import HeadScores

STRENGTHS = (0.25, 0.5, 1.0, 2.0)
"""Of contrasts; published ones are .5 or 1."""
SHARES = (0.01, 0.02, 0.05)
"""Of the heads, of those that are silent in a contrast: 10 to 50 of 1,024."""
NO_QUESTION = "a text that asks nothing has no context to take away"


def context_aware() -> Rival:
    """Context-aware decoding, in four strengths."""
    return Rival.of("decoding", sized(ContextAware(a) for a in STRENGTHS), apart=NO_QUESTION)


def instructions() -> Rival:
    """Instructions before the question, one or another."""
    made: list[Tried] = [(Prompted(instruction=text), 1.0, f"“{text}”") for text in INSTRUCTIONS.values()]
    return Rival.of("words", made, apart="a text that asks nothing gets no instruction")


def noised_image(seed: int = 0) -> Rival:
    """VCD, in three strengths under the published noise."""
    made = (VCD(a, seed=seed) for a in STRENGTHS[1:])
    return Rival.of("decoding", sized(made, "500 steps of noise, strength"), apart="a text has no image")


def sibling(other: Hooked) -> Rival:
    """Contrast with a model of the lineage that hallucinates more, in four strengths."""
    return Rival.of("decoding", sized(Sibling(a, other) for a in STRENGTHS))


def fused_layers(other: Hooked) -> Rival:
    """LOL with such a model, in four strengths."""
    return Rival.of("decoding", sized(LOL(a, other) for a in STRENGTHS))


def deactivated_heads(heads: HeadScores | Sequence[tuple[int, int]]) -> Rival:
    """AD-HH with the highest heads of some scores, of three numbers, or with the heads of a list; with two thresholds
    each."""
    made: list[Tried] = [
        (ADHH(1.0, silent, threshold=threshold), threshold, f"{count(len(silent), 'head')}, attention to text above")
        for silent, threshold in product(_lists(heads), (0.2, 0.4))
    ]
    return Rival.of("decoding", made, apart="a text has no image")


def lower_layers(model: Hooked) -> Rival:
    """DoLa with the lower and the higher half of the layers, as far as a shallow model has such, in three strengths
    each."""
    made: list[Tried] = []
    for strength in STRENGTHS[1:]:
        low, high = DoLa(strength, layers="low"), DoLa(strength, layers="high")
        made += [(low, strength, "low layers, strength")] if low.candidates(model) else []
        made += [(high, strength, "high layers, strength")]
    return Rival.of("decoding", made)


def silent_heads(heads: HeadScores | Sequence[tuple[int, int]]) -> Rival:
    """DeCoRe with the highest heads of some scores, of three numbers, or with the heads of a list; in three strengths
    each."""
    made: list[Tried] = [
        (DeCoRe(strength, silent), strength, f"{count(len(silent), 'head')} silent, strength")
        for silent, strength in product(_lists(heads), STRENGTHS[1:])
    ]
    return Rival.of("decoding", made)


def _lists(heads: HeadScores | Sequence[tuple[int, int]]) -> list[Sequence[tuple[int, int]]]:
    if not isinstance(heads, HeadScores):
        return [heads]
    sizes = dict.fromkeys(max(1, round(share * heads.values.size)) for share in SHARES)
    return [best_heads(heads.values, n) for n in sizes]


def head_gate(scores: HeadScores) -> Rival:
    """A gate by scores, in as many sizes as `run_ablation` tries; a learned gate as it is."""
    return Rival.of("heads", gates_by(scores, Search()))


def head_shift(directions: TruthDirections) -> Rival:
    """ITI along directions of truth, in as many sizes as `run_ablation` tries."""
    return Rival.of("heads", shifts_along(Steering.of(directions)))


def common_gain(model: Hooked, seed: int = 0) -> Rival:
    """One gain for all heads; where a norm undoes that, heads told apart at random."""
    acts = common_gain_acts(model)
    return Rival.of("gain", uniform_gains(model) if all(acts) else contrasts(model, acts, seed))


def given_gate(gate: Intervention) -> Rival:
    """A gate or a shift from elsewhere: tested as it is. What does the same to all heads of a layer does not tell heads
    apart.

    Raises:
        InputError: if it acts elsewhere than on heads.
    """
    if isinstance(gate, NeuronGate) or (isinstance(gate, HeadShift) and gate.site == "resid_post"):
        raise InputError("it acts on the residual stream or on neurons; a gate or a shift of heads is compared")
    alike = isinstance(gate, HeadGate) and bool((gate.values == gate.values[..., :1]).all())
    return Rival.of("gain" if alike else "heads", [(gate, 1.0, "as given")], fixed=True)


def sized(decoders: Iterable[Decoder], setting: str = "strength") -> list[Tried]:
    """Decoders of one kind by their strength."""
    return [(decoder, decoder.strength, setting) for decoder in decoders]
