"""What work costs on devices: where weights fit, and how long passes take.

A pass takes as long as the longest of three: its arithmetic at what is reached of the peak; the bytes of weights, keys
and values at what is reached of the memory's bandwidth; and what Python and the launch of kernels take for its layers.
Passes that read thousands of tokens are bound by the first, passes that write a token a row by one of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Literal

from lens_truth.planning.devices import CPU as PROCESSOR
from lens_truth.planning.devices import Accelerator
from lens_truth.planning.ratios import ANY, CPU, GPU, Ratio
from lens_truth.planning.shape import DTYPES, ModelShape
from lens_truth.planning.work import Case, Passes, Work

Split = Literal["layers", "tensor"]
USABLE = 0.92
"""Of a device's memory; the rest is the runtime's. Assumed."""
_MOST, _SHORT, _LOGITS = 1 << 15, 64, 1 << 25
"""As in `models/budget.py`: tokens at once that keep any GPU busy, tokens of a row that costs no more than a shorter
one, numbers of logits at once."""
_ROWS, _ROWS_WRITTEN = 32, 128
"""The same: rows of 64 tokens at once on a processor, and where answers are written."""


@dataclass(frozen=True)
class Layout:
    """How a model lies on devices."""

    device: Accelerator
    n_devices: int
    group: int
    """Devices that hold one copy of it."""
    workers: int
    """Copies, each of which has a share of the rows."""
    split: Split
    """How a copy lies on several: `layers` one after the other, as `--device auto` puts them (one works at a time);
    `tensor`: every layer on all of them, which needs an engine that can."""
    fits: bool

    @property
    def ratios(self) -> Mapping[str, Ratio]:
        """What is reached of the device's peak numbers."""
        return CPU if self.device.name == PROCESSOR else GPU

    def speed(self, case: Case) -> float:
        """Of all devices together, in that of one."""
        of_group = 1.0
        if self.split == "tensor" and self.group > 1:
            of_group = self.group * getattr(ANY["tensor parallel"], case)
        return of_group * (self.workers * getattr(ANY["workers"], case) if self.workers > 1 else 1)


def laid_out(
    shape: ModelShape, device: Accelerator, n_devices: int, workers: int | None, split: Split, longest: float
) -> Layout:
    """The smallest group of devices that holds the weights and one row, and as many groups as there are, or `workers`.
    Where all devices are too few, they are one group that does not fit."""
    needed = longest * shape.bytes_per_token()
    for group in range(1, n_devices + 1):
        if shape.weight_bytes / group + needed <= room(device):
            found = n_devices // group
            return Layout(device, n_devices, group, min(found, workers or found), split, fits=True)
    return Layout(device, n_devices, n_devices, 1, split, fits=False)


def room(device: Accelerator) -> float:
    """Bytes of a device that a model and its passes may take."""
    return USABLE * 1e9 * device.memory


def devices_needed(shape: ModelShape, device: Accelerator, longest: float) -> int | None:
    """The least number of such devices that hold a model and a row; None if no number does."""
    left = room(device) - longest * shape.bytes_per_token()
    return None if left <= 0 else ceil(shape.weight_bytes / left)


def at_once(shape: ModelShape, layout: Layout, *, backward: bool = False, writes: bool = False) -> float:
    """Tokens that go through in one pass, as `Budget.of` chooses: on a GPU what fits into half of what is free."""
    short = _SHORT // 2 if backward else _SHORT
    if layout.device.name == PROCESSOR:
        return (_ROWS_WRITTEN if writes else _ROWS) * short
    free = max(0.0, room(layout.device) * layout.group - shape.weight_bytes)
    return min(_MOST, max(_ROWS * short, free / 2 // shape.bytes_per_token(backward=backward)))


@dataclass(frozen=True)
class Cost:
    """Of one stage, at one end of what is uncertain."""

    tokens: float
    """Read and written."""
    flops: float
    moved: float
    """Bytes of weights, keys and values that devices read from their memory."""
    memory: float
    """Bytes on each device."""
    seconds: float
    loading: float
    """Seconds of these until its commands have libraries and weights."""


def cost_of(work: Work, layout: Layout, case: Case) -> Cost:
    """Of a stage on devices."""
    tokens = flops = moved = seconds = 0.0
    memory = work.shape.weight_bytes / layout.group if work.passes else 0.0
    for passes in work.passes:
        read, written = _reading(passes, work.shape, layout, case), _writing(passes, work.shape, layout, case)
        tokens += passes.read + passes.answers * passes.written
        flops += passes.reading_flops(work.shape) + passes.writing_flops(work.shape)
        moved += read[1] + written[1]
        seconds += (read[0] + written[0]) / layout.speed(case)
        held = at_once(work.shape, layout, backward=passes.backward > 0, writes=passes.written > 0)
        held = min(held, max(passes.read, passes.longest))
        own = held * work.shape.bytes_per_token(backward=passes.backward > 0)
        memory = max(memory, (work.shape.weight_bytes + own) / layout.group)
    probing = work.probe_flops / (1e9 * getattr(ANY["probes"], case)) * getattr(ANY["bootstrap"], case)
    loading = work.loads * load_seconds(work.shape, case)
    if work.apart:
        loading /= min(layout.workers, max(1, work.loads))
    return Cost(tokens, flops + work.probe_flops, moved, memory, seconds + probing + loading, loading)


def load_seconds(shape: ModelShape, case: Case) -> float:
    """Until a command has its libraries and its weights; workers that share its rows load at the same time."""
    return getattr(ANY["import"], case) + shape.weight_bytes / (1e9 * getattr(ANY["disk"], case))


def _reading(passes: Passes, shape: ModelShape, layout: Layout, case: Case) -> tuple[float, float]:
    """Seconds of one device, and bytes moved, of the passes that read."""
    if not passes.read:
        return 0.0, 0.0
    one = {name: getattr(its, case) for name, its in layout.ratios.items()}
    n = max(1.0, passes.read / at_once(shape, layout, backward=passes.backward > 0, writes=passes.written > 0))
    n *= 1 + passes.backward
    reached = one["backward" if passes.backward else "forward"] * layout.device.flops(DTYPES[shape.dtype])
    arithmetic = passes.reading_flops(shape) * getattr(ANY["padding"], case) / reached
    moved = n * shape.weight_bytes + passes.read * shape.kv_bytes
    return one["hooks"] * _longest(arithmetic, moved, n, shape, layout, one), moved


def _writing(passes: Passes, shape: ModelShape, layout: Layout, case: Case) -> tuple[float, float]:
    """The same of passes that write a token of each row of a batch."""
    if not passes.written:
        return 0.0, 0.0
    one = {name: getattr(its, case) for name, its in layout.ratios.items()}
    tokens = at_once(shape, layout, writes=True)
    rows = max(1.0, min(tokens // max(_SHORT, passes.longest), _LOGITS // shape.n_vocab))
    n = max(1.0, passes.answers / rows) * passes.written
    arithmetic = passes.writing_flops(shape) / (one["forward"] * layout.device.flops(DTYPES[shape.dtype]))
    keys = passes.begun + passes.rest + passes.written / 2
    moved = n * shape.weight_bytes + passes.answers * passes.written * keys * shape.kv_bytes
    return one["hooks"] * _longest(arithmetic, moved, n, shape, layout, one), moved


def _longest(
    arithmetic: float, moved: float, n: float, shape: ModelShape, layout: Layout, one: Mapping[str, float]
) -> float:
    memory = moved / (1e9 * layout.device.bandwidth * one["bandwidth"])
    return max(arithmetic, memory, n * shape.n_layers * one["layer"])
