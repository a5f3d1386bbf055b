"""What does reading every neuron cost? `neuron_activity` beside the plain forward pass over the same rows.

    python benchmarks/neuron_capture.py MODEL [--rows 200] [--rounds 7] [--others]

Both go through the same batches (what `neuron_activity` would run without its hooks). Medians of interleaved rounds in
one process; and its largest memory after reading N and 4 N rows to a folder, which must not grow.
"""

from __future__ import annotations

import argparse
import resource
import time
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

import lens_truth
import lens_truth.models.hashing
from lens_truth.models.batches import run_body
from lens_truth.neurons import capturing


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--others", action="store_true")
    flags = parser.parse_args()
    model = lens_truth.load(flags.model)
    lens_truth.models.hashing.weights_hash(model)  # which is remembered
    examples = lens_truth.load_examples("facts:text", limit=flags.rows)
    replies = lens_truth.whole_replies(examples)

    class Bare(capturing.CettReader):
        def averaged(self, batch: Any, rows: Any) -> Any:
            run_body(self.model, batch.rest, batch.mask, given=batch.given)
            return torch.zeros(len(rows), 1 + self.others, *self.shape)

    ours = capturing.CettReader
    spent: dict[str, list[float]] = {"neurons": [], "plain": []}
    for number in range(flags.rounds + 1):
        for name, reader in (("neurons", ours), ("plain", Bare)):
            capturing.CettReader = reader
            start = time.perf_counter()
            lens_truth.neuron_activity(model, replies, others=flags.others)
            if number:  # the first round warms up
                spent[name].append(time.perf_counter() - start)
    capturing.CettReader = ours
    ratios = [a / b for a, b in zip(spent["neurons"], spent["plain"], strict=True)]
    print(", ".join(f"{name} {median(its):.2f} s" for name, its in spent.items()), f"ratio {median(ratios):.3f}")
    print("rounds:", " ".join(f"{ratio:.3f}" for ratio in ratios))
    for times in (1, 4):
        many = lens_truth.whole_replies(lens_truth.load_examples("facts:text", limit=times * flags.rows))
        with TemporaryDirectory() as folder:
            lens_truth.neuron_activity(model, many, others=flags.others, out=f"{folder}/a")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{len(many)} rows to a folder: peak {peak:.0f} MB")


if __name__ == "__main__":
    main()
