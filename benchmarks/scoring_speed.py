"""What do captures and causal scores cost, against the passes through the model that they rest on?

    python benchmarks/scoring_speed.py MODEL DATA [--questions 16] [--device cpu] [--dtype float32] [--threads 1]

The same rows go through the plain Hugging Face model: for captures a forward pass without cache, each row by itself and
in padded batches; for causal scores a forward and a backward pass with frozen weights, in batches of half the size. All
in one process, in turn; medians of the rounds. `shared` is the share of tokens that are left where each beginning goes
through the model once: the floor of the first ratio. Times are of the processor where the model is on one, so that what
else the machine does counts less, and of the clock elsewhere.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from lens_truth.data.loading import load_examples
from lens_truth.models.batches import pad_rows
from lens_truth.models.budget import Budget, within_budget
from lens_truth.models.loading import load
from lens_truth.models.prefixes import prompt_families
from lens_truth.models.prompts import encode
from lens_truth.scoring.capturing import capture
from lens_truth.scoring.causal import causal_scores

Batch = tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]


def forward(hf: Any, batches: list[Batch]) -> None:
    with torch.no_grad():
        for ids, mask in batches:
            hf(ids, attention_mask=mask, use_cache=False, logits_to_keep=1)


def forward_and_backward(hf: Any, batches: list[Batch]) -> None:
    for ids, mask in batches:
        embedded = hf.get_input_embeddings()(ids).detach().requires_grad_()
        logits = hf(inputs_embeds=embedded, attention_mask=mask, use_cache=False, logits_to_keep=8).logits
        logits.float().log_softmax(-1).amax(-1).sum().backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data")
    for name, default in {"questions": 16, "rounds": 3, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = load(given.model, device=given.device, dtype=given.dtype)
    hf, on_cpu = model.original_model.requires_grad_(False), given.device == "cpu"
    examples = load_examples(given.data)
    kept = list(dict.fromkeys(e.group for e in examples))[: given.questions]
    examples = [e for e in examples if e.group in kept]
    rows = sorted((row.ids for row in encode(model.tokenizer, examples, "plain")), key=len, reverse=True)

    def batches(budget: Budget) -> list[Batch]:
        return [made for _, made in within_budget(rows, lambda row, _: len(row), budget, lambda b: pad_rows(b, model))]

    single, together, half = batches(Budget(1)), batches(Budget.of(model)), batches(Budget.of(model, backward=True))

    def seconds(run: Callable[[], Any]) -> float:
        clock = time.process_time if on_cpu else time.perf_counter
        if not on_cpu:
            torch.accelerator.synchronize()
        start = clock()
        run()
        if not on_cpu:
            torch.accelerator.synchronize()
        return clock() - start

    works: dict[str, Callable[[], Any]] = {
        "row by row": lambda: forward(hf, single),
        "in batches": lambda: forward(hf, together),
        "capture": lambda: capture(model, examples),
        "forward and backward": lambda: forward_and_backward(hf, half),
        "causal scores": lambda: causal_scores(model, examples),
    }
    for work in works.values():
        work()  # warm up
    rounds = [{name: seconds(work) for name, work in works.items()} for _ in range(given.rounds)]
    middle = {name: statistics.median(its[name] for its in rounds) for name in works}
    families = prompt_families(encode(model.tokenizer, examples, "plain"))
    tokens = sum(map(len, rows))
    saved = sum((len(family.rows) - 1) * family.length for family in families)
    print(f"{len(rows)} rows, {tokens} tokens, shared {1 - saved / tokens:.2f}; {given.device}, {given.dtype}")
    for name, its in middle.items():
        print(f"{name:22}{its:8.2f} s")
    for one, other in (("capture", "row by row"), ("capture", "in batches"), ("causal scores", "forward and backward")):
        print(f"{one} / {other}: {middle[one] / middle[other]:.2f}")


if __name__ == "__main__":
    main()
