"""`PreIntervention`: probes read first what a model would write; where they object it is written anew, steered."""

from __future__ import annotations

from typing import Any

from lens_truth.decoding.dynamic import DynamicGate
from lens_truth.decoding.head_rules import DraftProbeBelow
from lens_truth.gates.shift import HeadShift
from lens_truth.scoring.detector import Detector
from lens_truth.scoring.head_probes import HeadProbes


class PreIntervention(DynamicGate):
    """Pre-intervention guided by probes (after Duan et al. 2025, TruthPrInt, arXiv 2503.10602): a probe is read at each
    token while the model writes; where it falls under a threshold, what was written is rejected, and the answer is
    written anew under a shift towards truth.

    The paper goes back to an early point of the text and steers hidden states from there, by a truthful direction that
    classifiers of hidden states gave it. Here the way back goes to the start of the answer, heads are read and shifted
    (`HeadShift`), and the whole draft is read before anything is decided; answers of the benchmarks are short. So it is
    a `DynamicGate` with the rule `DraftProbeBelow`, from the prompt's last token on. Given answers are ranked with the
    shift where the draft behind their prompt asks for it: all answers to a question by one model.

    >>> shift = lens_truth.HeadShift.from_probes(probes, alpha=15, heads=48)
    >>> rejected = lens_truth.PreIntervention.of(probes, shift, threshold=0.0)
    >>> rejected.rates.of_rows
    """

    @classmethod
    def of(
        cls,
        probes: HeadProbes,
        shift: HeadShift,
        threshold: float | None = None,
        *,
        strength: float = 1.0,
        look_ahead: int = 16,
        **rule: Any,
    ) -> PreIntervention:
        """From probes and a shift.

        Args:
            threshold: of the probes' score; by default the one of their detector.
            strength: how much of the shift is added.
            look_ahead: tokens of the draft, at most.
            rule: what else `DraftProbeBelow` takes (`heads`, `descendant`).
        """
        if threshold is None:
            threshold = Detector.of(probes, rule.get("heads")).threshold
        asked = DraftProbeBelow(threshold, probes=probes, look_ahead=look_ahead, **rule)
        return cls(strength, switched=shift, rule=asked, positions="answer")
