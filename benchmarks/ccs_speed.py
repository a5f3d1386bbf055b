"""CCS of all heads at once against the loop over heads and starts that published code is.

    python benchmarks/ccs_speed.py [--pairs 300] [--heads 270] [--width 64] [--tries 10] [--epochs 1500] [--looped 2]

One training set (one fold) of so many pairs. The loop is torch.optim.AdamW and autograd, a head and a start at a time,
from the same starts; it is timed on `--looped` heads and counted for all of them, since every head costs the same.
Rounds are interleaved; medians are printed, and how far the losses of both are apart.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from torch import Tensor

from lens_truth.geometry.ccs_fit import ccs_loss, fit_ccs


def make_pairs(n: int, heads: int, width: int) -> tuple[Tensor, Tensor]:
    """Features that are correlated and differ in scale; a fifth of the heads know the truth, to different degrees."""
    rng = np.random.default_rng(0)
    truth = rng.choice([-1.0, 1.0], size=n)[:, None]
    sides = np.empty((2, n, heads, width), dtype=np.float32)
    for head in range(heads):
        mixing = rng.normal(size=(width, width)) * np.arange(1, width + 1)[:, None] ** -0.7
        signal = rng.normal(size=width) * (0.3 * (head % 5 == 0) * rng.random())
        shared = rng.normal(size=(n, width))
        for side, sign in ((0, 1), (1, -1)):
            sides[side, :, head] = (shared + rng.normal(size=(n, width))) @ mixing + sign * truth * signal
    return torch.from_numpy(sides[0]), torch.from_numpy(sides[1])


def one_head(first: Tensor, second: Tensor, starts: Tensor, n_epochs: int) -> float:
    """The lowest loss of one head, start by start."""
    first, second = first - first.mean(0), second - second.mean(0)
    scale = torch.cat([first, second]).std(0, correction=0)
    first, second = first / scale, second / scale
    losses: list[float] = []
    for start in starts:
        probe = torch.nn.Linear(first.shape[1], 1)
        with torch.no_grad():
            probe.weight.copy_(start[None, :-1])
            probe.bias.copy_(start[-1:])
        optimizer = torch.optim.AdamW(probe.parameters(), lr=0.015, weight_decay=0.01)
        for _ in range(n_epochs):
            loss = ccs_loss(torch.sigmoid(probe(first)), torch.sigmoid(probe(second))).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            losses.append(ccs_loss(torch.sigmoid(probe(first)), torch.sigmoid(probe(second))).mean().item())
    return min(losses)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    settings = {"pairs": 300, "heads": 270, "width": 64, "tries": 10, "epochs": 1500, "looped": 2, "rounds": 3}
    for name, default in settings.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    flags = parser.parse_args()
    first, second = make_pairs(flags.pairs, flags.heads, flags.width)
    drawn = np.random.default_rng(1).uniform(-1, 1, (flags.tries, flags.width + 1)) / np.sqrt(flags.width)
    starts = torch.from_numpy(drawn).float()
    looped = [round(1 + i * (flags.heads - 2) / max(1, flags.looped - 1)) for i in range(int(flags.looped))]
    seconds: dict[str, list[float]] = {"at once": [], "loop": []}
    apart = 0.0
    for _ in range(flags.rounds):
        began = time.perf_counter()
        found = fit_ccs(first, second, starts, flags.epochs)
        seconds["at once"].append(time.perf_counter() - began)
        began = time.perf_counter()
        losses = [one_head(first[:, head], second[:, head], starts, flags.epochs) for head in looped]
        seconds["loop"].append((time.perf_counter() - began) / len(looped) * flags.heads)
        differences = [abs(found.loss[head].item() - loss) for head, loss in zip(looped, losses, strict=True)]
        apart = max(apart, *differences)
    at_once, loop = (float(np.median(its)) for its in seconds.values())
    print(
        f"{flags.heads} heads x {flags.tries} tries x {flags.epochs} epochs, {flags.pairs} pairs of width {flags.width}"
    )
    print(f"all at once {at_once:8.1f} s   loop over heads {loop:8.1f} s   ratio {loop / at_once:.1f}")
    print(f"lowest losses differ by at most {apart:.1e}; threads: {torch.get_num_threads()}")


if __name__ == "__main__":
    main()
