"""What a run reaches of a device's peak numbers, and how much of what may happen does: each with a low and a high end,
and whether it was measured or is assumed. Nothing that is uncertain is a number without a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Ratio:
    """Between which ends a number lies: `good` is the end that makes a run short."""

    good: float
    bad: float
    known: Literal["measured", "assumed"]
    what: str
    """What it is, and where it comes from."""


GPU: Mapping[str, Ratio] = {
    "forward": Ratio(
        0.55,
        0.3,
        "measured",
        "share of the peak in forward passes of thousands of tokens: .45 on an H200 with Llama 2 7B's shape in "
        "bfloat16 (116,210 tokens in 3.41 s); other GPUs and sizes are assumed to lie around it",
    ),
    "backward": Ratio(
        0.5, 0.25, "assumed", "the same with a backward pass; causal scores took 1.01 of plain passes, on a CPU"
    ),
    "hooks": Ratio(1.02, 1.1, "measured", "time with hooks or gates: 1.02 on an H200 by hand, 1.02 to 1.09 on a CPU"),
    "bandwidth": Ratio(0.8, 0.5, "assumed", "share of the memory's bandwidth that reading weights and keys reaches"),
    "layer": Ratio(
        0.4e-3,
        1.2e-3,
        "assumed",
        "seconds that a layer takes at least in one pass: Python and the launch of some fifteen kernels",
    ),
}
CPU: Mapping[str, Ratio] = {
    "forward": Ratio(
        0.9,
        0.55,
        "measured",
        "share of what matrix products reach: .78 to .88 (SmolLM2 reads 800 to 900 tokens a second where products "
        "alone would allow 1,025, docs/speed.md)",
    ),
    "backward": Ratio(0.9, 0.4, "assumed", "the same with a backward pass"),
    "hooks": Ratio(1.0, 1.09, "measured", "time with hooks or gates: 1.02 to 1.09 (docs/speed.md)"),
    "bandwidth": Ratio(1.0, 0.4, "assumed", "share of the speed of a copy that reading weights and keys reaches"),
    "layer": Ratio(0.15e-3, 0.5e-3, "assumed", "seconds that a layer takes at least in one pass, of Python"),
}
ANY: Mapping[str, Ratio] = {
    "padding": Ratio(
        1.0,
        1.15,
        "measured",
        "tokens with padding, over those without: 1.12 and 1.13 for answers of HaluEval in batches of 2,048 tokens, "
        "1.14 where they are judged (benchmarks/plan_check.py)",
    ),
    "tensor parallel": Ratio(
        0.9, 0.6, "assumed", "speed of devices that share every layer, over that of as many alone"
    ),
    "workers": Ratio(1.0, 0.9, "assumed", "speed of workers that share rows, over that of as many alone"),
    "disk": Ratio(3.0, 0.5, "assumed", "GB/s at which weights are read from disk"),
    "import": Ratio(
        10.0,
        30.0,
        "assumed",
        "seconds until a command has its libraries; TransformerLens alone takes 6 to 12",
    ),
    "probes": Ratio(
        135.0,
        65.0,
        "measured",
        "GFLOP/s of ridge probes: 10.3 s for 2,000 rows x 1,024 heads x 128 and 1,000 permutations on two threads "
        "(docs/speed.md); 5.1 s without permutations in an earlier build",
    ),
    "bootstrap": Ratio(1.0, 2.0, "assumed", "time of probes with metrics, intervals and the fit on matched rows"),
}
"""Whatever the device is."""
