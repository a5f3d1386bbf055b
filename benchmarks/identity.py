"""Seconds that the hash of a model's weights takes: against one plain pass over the bytes, and against what earlier
builds did, SHA-256 of all bytes on the CPU. Interleaved in one process, medians of --rounds.

    python benchmarks/identity.py --gigabytes 13.5 --device cuda
    python benchmarks/identity.py --model FOLDER
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

import lens_truth
from lens_truth.models import hashing

_ROWS, _COLUMNS = 4096, 11008


def main() -> None:
    """Prints a table of seconds."""
    flags = argparse.ArgumentParser()
    flags.add_argument("--model", help="instead of made-up matrices of bfloat16")
    flags.add_argument("--gigabytes", type=float, default=1.0)
    flags.add_argument("--device", default="cpu")
    flags.add_argument("--rounds", type=int, default=5)
    given = flags.parse_args()
    if given.model:
        model: nn.Module = lens_truth.load(given.model, device=given.device).original_model
    else:
        n = max(1, round(given.gigabytes * 1e9 / (2 * _ROWS * _COLUMNS)))
        made = (torch.randn(_ROWS, _COLUMNS, device=given.device, dtype=torch.bfloat16) for _ in range(n))
        model = nn.ParameterList([nn.Parameter(each, requires_grad=False) for each in made])
    on = torch.device(given.device)
    size = sum(tensor.nbytes for tensor in model.parameters()) / 1e9

    def plain() -> None:
        for tensor in model.parameters():
            tensor.detach().view(-1).view(torch.int16).max()

    works: dict[str, Callable[[], object]] = {
        "a plain pass over the bytes (max)": plain,
        "the hash": lambda: hashing._hashed(model),  # pyright: ignore[reportPrivateUsage]
        "asked again": lambda: hashing.weights_hash(model),
        "SHA-256 of all bytes, as before": lambda: hashing._sha256(model),  # pyright: ignore[reportPrivateUsage]
    }
    hashing.weights_hash(model)
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(given.rounds):
        for name, work in works.items():
            _wait(on)
            start = time.perf_counter()
            work()
            _wait(on)
            seconds[name].append(time.perf_counter() - start)
    card = torch.cuda.get_device_name(on) if on.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{size:.2f} GB on {given.device} ({card}), {hashing.weights_hash(model)}")
    for name, taken in seconds.items():
        middle = statistics.median(taken)
        print(f"| {name} | {middle:.4f} s | {size / middle:.1f} GB/s |")


def _wait(on: torch.device) -> None:
    if on.type == "cuda":
        torch.cuda.synchronize(on)


if __name__ == "__main__":
    main()
