"""Find, compare, test and amplify the attention heads that keep a model truthful to its context.

The public names below are imported when they are first used, so `import lens_truth` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lens_truth.ablate import Ablation as Ablation
    from lens_truth.ablate import ablate as ablate
    from lens_truth.audit import surface_accuracy as surface_accuracy
    from lens_truth.capture import capture as capture
    from lens_truth.causal import causal_scores as causal_scores
    from lens_truth.causal import learned_gate as learned_gate
    from lens_truth.controls import control_gate as control_gate
    from lens_truth.datasets import load_examples as load_examples
    from lens_truth.errors import InputError as InputError
    from lens_truth.evidence import Evidence as Evidence
    from lens_truth.evidence import evidence as evidence
    from lens_truth.examples import Example as Example
    from lens_truth.examples import read_examples as read_examples
    from lens_truth.examples import write_examples as write_examples
    from lens_truth.gate import HeadGate as HeadGate
    from lens_truth.inherit import Heritability as Heritability
    from lens_truth.inherit import inherit as inherit
    from lens_truth.models.load import load as load
    from lens_truth.probe import probe as probe
    from lens_truth.report import report as report
    from lens_truth.scores import HeadScores as HeadScores
    from lens_truth.show import show as show
    from lens_truth.store import HeadActivations as HeadActivations
    from lens_truth.weights import WeightSimilarity as WeightSimilarity
    from lens_truth.weights import compare_weights as compare_weights

_HOME = {
    "Ablation": "ablate",
    "Evidence": "evidence",
    "Example": "examples",
    "HeadActivations": "store",
    "HeadGate": "gate",
    "HeadScores": "scores",
    "Heritability": "inherit",
    "InputError": "errors",
    "WeightSimilarity": "weights",
    "ablate": "ablate",
    "capture": "capture",
    "causal_scores": "causal",
    "compare_weights": "weights",
    "control_gate": "controls",
    "evidence": "evidence",
    "inherit": "inherit",
    "learned_gate": "causal",
    "load": "models.load",
    "load_examples": "datasets",
    "probe": "probe",
    "read_examples": "examples",
    "report": "report",
    "show": "show",
    "surface_accuracy": "audit",
    "write_examples": "examples",
}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lens_truth' has no attribute '{name}'")
    return getattr(import_module(f"lens_truth.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOME]
