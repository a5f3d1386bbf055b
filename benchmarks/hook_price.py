"""What hooks cost: a tiny model on one core, whose forward pass is all overhead, as a large one's is on a GPU.

Ratios to the plain Hugging Face model of the same weights, interleaved in one process, medians of --rounds. Run it from
another build's source tree (`PYTHONPATH=TREE`) for the build to compare with.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import lens_truth


def main() -> None:
    """Prints a table of ratios."""
    flags = argparse.ArgumentParser()
    flags.add_argument("--rounds", type=int, default=15)
    flags.add_argument("--layers", type=int, default=2)
    rounds, n_layers = (vars(flags.parse_args())[name] for name in ("rounds", "layers"))
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    plain = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=256, hidden_size=64, intermediate_size=128, num_hidden_layers=n_layers, num_attention_heads=4
        )
    ).eval()
    model = lens_truth.load(copy.deepcopy(plain))
    hooked = model.original_model
    gate = lens_truth.HeadGate(1 + 0.1 * torch.rand(n_layers, 4))
    ids = torch.randint(3, 256, (1, 64))
    mask = torch.ones_like(ids)

    def forwards(hf: torch.nn.Module) -> None:
        with torch.no_grad():
            for _ in range(100):
                hf(ids, attention_mask=mask, use_cache=False)

    def written(hf: Any) -> None:
        hf.generate(ids, attention_mask=mask, max_new_tokens=50, min_new_tokens=50, do_sample=False, pad_token_id=0)

    def gated(run: Callable[[], None]) -> Callable[[], None]:
        def under_gate() -> None:
            with gate.attach(model):
                run()

        return under_gate

    works: dict[str, Callable[[], None]] = {
        "forward, plain": lambda: forwards(plain),
        "forward, hooked": lambda: forwards(hooked),
        "forward, called through the hooked model": lambda: forwards(model),
        "forward, gated": gated(lambda: forwards(hooked)),
        "generate, plain": lambda: written(plain),
        "generate, hooked": lambda: written(hooked),
        "generate, gated": gated(lambda: written(hooked)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    for name, median in medians.items():
        base = medians[f"{name.partition(',')[0]}, plain"]
        print(f"{name:42} {median * 1000:8.1f} ms {median / base:6.2f}")


if __name__ == "__main__":
    main()
