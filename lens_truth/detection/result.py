"""`Detection`: what a detector of hallucinations is worth on rows that nothing was chosen on, beside everything else
that might tell them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float

from lens_truth.data.surface import CONFOUNDED
from lens_truth.detection.metrics import COVERAGES
from lens_truth.detection.texts import ScoredAnswer
from lens_truth.io.numbers import count, interval, number, signed
from lens_truth.io.results import Result
from lens_truth.io.tables import Cell, Row, Table, row, table
from lens_truth.scoring.detector import Detector

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DETECTOR, SURFACE = "detector", "length and last character"
LIKELY = "log-probability"


@dataclass(frozen=True)
class Measured:
    """A number with its 95% interval over groups."""

    value: float
    low: float
    high: float

    def said(self, plus: bool = False) -> str:
        """In print."""
        return f"{(signed if plus else number)(self.value)} {interval((self.low, self.high), 3, plus=plus)}".strip()


@dataclass(frozen=True)
class Part:
    """Of the rows."""

    rows: int
    groups: int
    supported: int


@dataclass(frozen=True)
class Worth:
    """What one way to score answers is worth on the test rows (means over its trials)."""

    trials: int
    threshold: float
    """Of its (first) scores, from validation rows."""
    measures: Mapping[str, Measured]
    """`auroc`; `auprc`, of finding hallucinated answers; `accuracy` at the threshold; `brier` and `ece` of
    probabilities by Platt scaling on validation rows; `aurc`, the area under risk against coverage; `kept 25`, `kept
    50`, `kept 75`: the share of supported answers among so many percent with the highest scores."""
    behind: Mapping[str, Measured]
    """How much better the detector is, by the same draws of groups: `auroc`, `accuracy`, `aurc` (the detector's minus
    its own; for `aurc`, where less is better, its own minus the detector's)."""


@dataclass(frozen=True, eq=False)
class Detection(Result):
    """What a detector is worth: `Detection.load("runs/detect").worth["detector"].measures["auroc"].value`."""

    command: ClassVar[str] = "detect"
    part: ClassVar[str] = "detection"

    detector: Detector
    parts: Mapping[str, Part]
    """`train` (rows that the probes were fitted on; none where they are of other data), `validation`, `test`."""
    worth: Mapping[str, Worth]
    """By name, the detector first."""
    tried: Mapping[str, float]
    """AUROC on validation rows, while held out, of each kind and number of heads."""
    reliability: Float[np.ndarray, "bins 3"]
    """Of the detector's probabilities on test rows, in bins of equal width: mean probability, share of supported
    answers, and how many; NaN in an empty bin."""
    coverage: Float[np.ndarray, " n"]
    risk: Mapping[str, tuple[float, ...]]
    """Share of hallucinated answers among those kept, at each coverage, by name."""
    roc: Mapping[str, tuple[float, ...]]
    """Share of supported answers that are kept where the share `coverage` of the hallucinated ones is kept too."""
    shown: tuple[ScoredAnswer, ...]
    """Some test answers, token by token."""
    provenance: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def measures(self) -> Mapping[str, Measured]:
        """The detector's."""
        return self.worth[DETECTOR].measures

    @property
    def majority_share(self) -> float:
        """Of the test rows' larger class."""
        test = self.parts["test"]
        return max(test.supported, test.rows - test.supported) / test.rows

    def tables(self) -> list[Table]:
        """Every way to score answers on the same test rows; calibration; selective answering; what was tried.

        >>> lens_truth.Detection.load("runs/detect").tables()[0]
        """
        test = self.parts["test"]
        note = (
            f"{test.rows} test answers in {test.groups} groups, {test.supported} of them supported; 95% intervals over "
            "groups. AUPRC is of finding hallucinated answers. Thresholds are those of the best accuracy on "
            f"validation rows; the larger class is {number(self.majority_share)} of the test rows. better by: AUROC of "
            "the detector minus that of the row, over the same draws of groups."
        )
        rows = [
            row(self._name(name), *(its.measures[it].said() for it in ("auroc", "auprc", "accuracy")), _behind(its))
            for name, its in self.worth.items()
        ]
        header = ("scored by", "AUROC", "AUPRC", "accuracy", "detector better by")
        return [
            table("Is the answer supported?", header, rows, note),
            self._kept_table(),
            self._calibration_table(),
            self._tried_table(),
        ]

    def verdicts(self) -> list[str]:
        """What it says in words: `print(*detection.verdicts(), sep="\\n")`."""
        test, n = self.parts["test"], self.detector.n_heads
        how = (
            "one head"
            if n == 1
            else {"mean": "the mean of", "logistic": "a logistic regression on"}[self.detector.kind]
        )
        by = how if n == 1 else f"{how} {n} heads"
        auroc = self.measures["auroc"].said()
        said = [f"By {by}, AUROC is {auroc} on {test.rows} answers in {count(test.groups, 'group')}."]
        compared: dict[str, list[str]] = {"does better than": [], "cannot be told from": [], "does worse than": []}
        for name in self.worth:
            if name != DETECTOR:
                behind = self.worth[name].behind["auroc"]
                verdict = ("cannot be told from", "does better than", "does worse than")[
                    (behind.low > 0) - (behind.high < 0)
                ]
                compared[verdict].append(f"{self._name(name)} ({behind.said(plus=True)})")
        return said + [f"It {verdict} {', '.join(names)}." for verdict, names in compared.items() if names]

    def warnings(self) -> list[str]:
        """A sentence if the surface of the answers tells them apart: `detection.warnings()`."""
        surface = self.worth[SURFACE].measures["accuracy"].value
        if surface <= self.majority_share + CONFOUNDED:
            return []
        best = self.measures["accuracy"].value
        return [
            f"SURFACE CONFOUND: the answer's length and last character alone separate the test answers with accuracy "
            f"{surface:.3f} (the detector: {best:.3f}). What it detects need not be hallucination."
        ]

    def plot(self) -> Figure:
        """ROC, risk against coverage, and reliability.

        >>> lens_truth.Detection.load("runs/detect").plot().savefig("detection.png")
        """
        from lens_truth.detection.figures import detection_curves

        return detection_curves(self)

    def _name(self, name: str) -> str:
        trials = self.worth[name].trials
        return f"{name} (mean of {trials} draws)" if trials > 1 else name

    def _kept_table(self) -> Table:
        names = [f"kept {round(100 * its)}" for its in COVERAGES]
        rows = [
            row(self._name(name), its.measures["aurc"].said(), *(its.measures[it].said() for it in names))
            for name, its in self.worth.items()
        ]
        test = self.parts["test"]
        note = (
            "Answers with the highest scores are kept. AURC: the share of hallucinated answers among those kept, "
            f"averaged over all coverages; by chance {number(1 - test.supported / test.rows)}, and at best "
            f"{number(_least_area(test))}. Then the share of supported answers among the best so many percent."
        )
        header = ("scored by", "AURC", *(f"best {its.removeprefix('kept ')}%" for its in names))
        return table("Answering selectively", header, rows, note)

    def _calibration_table(self) -> Table:
        rows: list[Row] = []
        for k, (mean, supported, n) in enumerate(self.reliability.tolist()):
            low, high = k / len(self.reliability), (k + 1) / len(self.reliability)
            rows.append(row(f"{low:.1f} to {high:.1f}", Cell(f"{n:.0f}"), number(mean), number(supported)))
        ece, brier = (self.measures[it].said() for it in ("ece", "brier"))
        note = f"Expected calibration error {ece}; Brier score {brier}. Probabilities by Platt scaling on validation."
        return table("Are its probabilities right?", ("P(supported)", "answers", "mean P", "supported"), rows, note)

    def _tried_table(self) -> Table:
        sizes = dict.fromkeys(name.split()[1] for name in self.tried)
        rows = [
            row(size, *(number(self.tried.get(f"{kind} {size}")) for kind in ("mean", "logistic"))) for size in sizes
        ]
        note = (
            "AUROC on validation rows, each scored by heads that were ranked without its fold; the fewest heads within "
            ".005 of the best were taken."
        )
        return table("How many heads?", ("heads", "mean", "logistic regression"), rows, note)


def _behind(its: Worth) -> str:
    return its.behind["auroc"].said(plus=True) if its.behind else ""


def _least_area(test: Part) -> float:
    """AURC of scores that rank every supported answer first."""
    kept = np.arange(1, test.rows + 1)
    return float((np.maximum(0, kept - test.supported) / kept).mean())
