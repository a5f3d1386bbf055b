"""What devices can do at most, by their vendors' data sheets; of this machine's processor by a short measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lens_truth.errors import InputError

CPU = "cpu"
"""This machine's processor, which is measured when it is asked for."""


@dataclass(frozen=True)
class Accelerator:
    """Peak numbers of one device; what a run reaches of them is in `lens_truth.planning.ratios`."""

    name: str
    half_tflops: float
    """TFLOP/s of matrix products in bfloat16 or float16, without sparsity, summed in float32."""
    single_tflops: float
    """TFLOP/s in float32, outside tensor cores (PyTorch's default)."""
    bandwidth: float
    """GB/s between memory and processor."""
    memory: float
    """GB."""
    source: str

    def flops(self, bytes_a_number: int) -> float:
        """FLOP/s in a number format of so many bytes."""
        return 1e12 * (self.single_tflops if bytes_a_number == 4 else self.half_tflops)


DEVICES: Mapping[str, Accelerator] = {
    its.name: its
    for its in (
        Accelerator("h100", 989, 67, 3350, 80, "NVIDIA H100 data sheet, SXM (1,979 TFLOP/s with sparsity)"),
        Accelerator("h100-pcie", 756, 51, 2000, 80, "NVIDIA H100 data sheet, PCIe (1,513 with sparsity)"),
        Accelerator("h200", 989, 67, 4800, 141, "NVIDIA H200 data sheet, SXM (1,979 with sparsity)"),
        Accelerator("a100", 312, 19.5, 2039, 80, "NVIDIA A100 data sheet, SXM, 80 GB"),
        Accelerator("a100-40", 312, 19.5, 1555, 40, "NVIDIA A100 data sheet, SXM, 40 GB"),
        Accelerator("l40s", 362, 91.6, 864, 48, "NVIDIA L40S data sheet (733 with sparsity)"),
        Accelerator("l4", 121, 30.3, 300, 24, "NVIDIA L4 data sheet (242 with sparsity)"),
        Accelerator("a10", 125, 31.2, 600, 24, "NVIDIA A10 data sheet"),
        Accelerator("rtx4090", 165.2, 82.6, 1008, 24, "NVIDIA Ada GPU architecture white paper, RTX 4090"),
        Accelerator("mi300x", 1307, 163.4, 5300, 192, "AMD Instinct MI300X data sheet"),
    )
}
"""By name. Read from memory of the sheets and copies of them: the vendors' pages could not be opened where this was
written."""
_SIDE, _PRODUCTS = 1024, 8
"""Of the matrices that are multiplied, and how often, in one measurement."""
_COPIED = 1 << 26
"""Bytes that are copied: more than caches hold."""
_ROUNDS = 3


def accelerator(name: str) -> Accelerator:
    """A device by its name; `cpu` is measured now, which takes about a second.

    Raises:
        InputError: for an unknown one, naming those that are known.
    """
    if name == CPU:
        return measured_cpu()
    if name not in DEVICES:
        raise InputError(f"there is no device '{name}' in the table; it has {', '.join((*DEVICES, CPU))}")
    return DEVICES[name]


def measured_cpu(clock: Callable[[], float] = time.perf_counter) -> Accelerator:
    """This machine's processor, with as many threads as PyTorch uses: products of float32 and bfloat16 matrices, and a
    copy (which reads and writes each byte); the best of three rounds by a clock."""
    import torch

    def tflops(dtype: torch.dtype) -> float:
        a, b = (torch.ones(_SIDE, _SIDE, dtype=dtype) for _ in range(2))
        return 2e-12 * _PRODUCTS * _SIDE**3 / _least(lambda: [a @ b for _ in range(_PRODUCTS)], clock)

    held, into = (torch.ones(_COPIED, dtype=torch.uint8) for _ in range(2))
    copied = 2e-9 * _COPIED / _least(lambda: into.copy_(held), clock)
    threads = torch.get_num_threads()
    said = f"measured on this machine, {threads} thread{'s' if threads > 1 else ''}"
    return Accelerator(CPU, tflops(torch.bfloat16), tflops(torch.float32), copied, _memory(), said)


def _least(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """Seconds of the fastest round, after one to warm up."""
    work()
    seconds = list[float]()
    for _ in range(_ROUNDS):
        start = clock()
        work()
        seconds.append(clock() - start)
    return min(seconds)


def _memory() -> float:
    """GB of this machine; of one that does not say, so many that nothing is warned of."""
    import os

    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):
        return 1e6
