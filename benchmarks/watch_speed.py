"""What it costs to score every token while a model writes, and every answer of many.

    python benchmarks/watch_speed.py --model zoo:llama-base --rows 256 [--rounds 15]
    python benchmarks/watch_speed.py --model FOLDER --data FILE --rows 64 --tokens 48 --rounds 7

Writing: Hugging Face's greedy `generate` of one row, alone and inside `watch`, by 16 heads and by all. Reading: forward
passes over the rows' prompts and answers (without logits, as `capture` makes them), without hooks, and with all heads'
probes applied to the last token where activations pass; 10,000 rows cost as many times more as there are more rows.
Rounds are interleaved; medians of this process's CPU milliseconds are printed, and the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

import lens_truth
from lens_truth.detection.reading import Projection
from lens_truth.models.batches import pad_rows, run_body, without_cache
from lens_truth.models.prompts import encode


def timed(run: Callable[[], Any]) -> float:
    """CPU seconds of this process: others may be running."""
    start = time.process_time()
    run()
    return time.process_time() - start


def rounds_of(work: dict[str, Callable[[], float]], rounds: int, unit: float, name: str) -> None:
    """Each in every round, in turn; the first is what the others are compared with."""
    for run in work.values():
        run()
    seconds = {its: list[float]() for its in work}
    for number in range(rounds):
        order = list(work) if number % 2 else list(reversed(work))
        for its in order:
            seconds[its].append(work[its]())
    plain = np.array(next(iter(seconds.values())))
    print(f"\n{name:36}{'ms':>10}{'ratio':>9}{'of minima':>11}")
    for its, spent in seconds.items():
        ratio, least = float(np.median(np.array(spent) / plain)), min(spent) / float(plain.min())
        print(f"{its:36}{1e3 * float(np.median(spent)) / unit:10.3f}{ratio:9.3f}{least:11.3f}")


def writing(model: Any, probes: lens_truth.HeadProbes, tokens: int, rounds: int) -> None:
    ids = model.to_tokens("Question: What is known of the heart?\nAnswer:")
    how: dict[str, Any] = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False, "pad_token_id": 0}
    how["attention_mask"] = torch.ones_like(ids)
    L, H = probes.intercepts.shape
    heads: dict[str, Sequence[tuple[int, int]] | None] = {"all": [divmod(head, H) for head in range(L * H)], "16": None}

    def plain() -> float:
        return timed(lambda: model.original_model.generate(ids, **how))

    def watched(wanted: Sequence[tuple[int, int]] | None) -> Callable[[], float]:
        def run() -> float:
            with lens_truth.watch(model, probes, on_token=lambda token: None, heads=wanted):
                return plain()

        return run

    def opened() -> None:
        with lens_truth.watch(model, probes, on_token=lambda token: None):
            pass

    work: dict[str, Callable[[], float]] = {"generate": plain}
    work |= {f"generate, watched by {name} heads": watched(its) for name, its in heads.items()}
    rounds_of(work, rounds, tokens, f"writing, a token (of {tokens})")
    print(f"{'opening it, once':36}{1e3 * float(np.median([timed(opened) for _ in range(rounds)])):10.3f}")


def reading(model: Any, probes: lens_truth.HeadProbes, examples: list[lens_truth.Example], rounds: int) -> None:
    rows = [row.shown for row in encode(model.tokenizer, examples, "plain")]
    rows.sort(key=lambda row: -len(row.ids))
    batches = [rows[start : start + 32] for start in range(0, len(rows), 32)]
    padded = [(*pad_rows([row.ids for row in batch], model), [len(row.ids) - 1 for row in batch]) for batch in batches]

    def plain() -> None:
        with torch.no_grad():
            for ids, mask, _ in padded:
                run_body(model, ids, mask, given=without_cache(model))

    projection = Projection(model, "z", probes)  # made once, however many rows there are

    def probed() -> None:
        with torch.no_grad():
            for ids, mask, last in padded:
                row, position, kept = torch.arange(len(last)), torch.tensor(last), dict[int, Tensor]()
                with model.hooks(fwd_hooks=projection.hooks(row, position, kept)):
                    run_body(model, ids, mask, given=without_cache(model))
                torch.stack([kept[layer] for layer in range(len(kept))], dim=1)

    work: dict[str, Callable[[], float]] = {"forward pass": lambda: timed(plain)}
    work["all heads' probes applied"] = lambda: timed(probed)
    rounds_of(work, rounds, len(rows), "reading, a row")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="zoo:llama-base")
    parser.add_argument("--data", default="zoo:text")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=15)
    flags = parser.parse_args()
    model = lens_truth.load(flags.model)
    examples = lens_truth.load_examples(flags.data, limit=flags.rows)
    probes = lens_truth.HeadProbes.fit(lens_truth.capture(model, examples))
    writing(model, probes, flags.tokens, flags.rounds)
    reading(model, probes, examples, flags.rounds)


if __name__ == "__main__":
    main()
