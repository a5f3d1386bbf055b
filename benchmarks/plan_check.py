"""Does `lens-truth plan` foretell what runs take? The same rows, predicted and measured.

    python benchmarks/plan_check.py MODEL DATA [--limit 200] [--judged 40] [--device cpu] [--rounds 2] [--threads 1]

`capture` and `judge` (each answer judged, yes or no) run on a model that is here, without loading; of the rounds the
fastest. On a CPU its speed is measured just before each round, as `plan` does, and with one thread both are in
time of the processor, so that what else the machine does counts less. Tokens are those that went through the model,
counted by a hook; bytes are those of the file of activations.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import lens_truth
from lens_truth.planning.costing import Cost, cost_of, laid_out
from lens_truth.planning.devices import accelerator, measured_cpu
from lens_truth.planning.sizes import counted_size
from lens_truth.planning.study import JUDGE, scoring_works
from lens_truth.planning.work import Passes, Work


def seen(hf: Any) -> Any:
    """Counts tokens that go through the model, with padding: a list that grows, and the handle of its hook."""
    tokens: list[int] = []

    def count(module: Any, given: Any, made: Any) -> None:
        tokens.append(given[0].numel())

    return tokens, hf.get_input_embeddings().register_forward_hook(count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data")
    for name, default in {"limit": 200, "judged": 40, "rounds": 2, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu", help="cpu, or the name of a GPU in the table of `plan`")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    place = "cpu" if given.device == "cpu" else "cuda"
    model = lens_truth.load(given.model, device=place)
    examples = lens_truth.load_examples(given.data, limit=given.limit)
    shape = lens_truth.model_shape(given.model)
    size = counted_size(given.data, examples, model.tokenizer)
    few = examples[: given.judged]
    n, begun, rest = counted_size(given.data, few, model.tokenizer).shared
    judge = lens_truth.benchmark_of("judge", "judge", few)
    asker = lens_truth.Asker(model, "plain")
    n_new = 1 + 4  # yes or no, and the room that `Benchmark.n_new` leaves
    asked = Passes(n, begun, len(few) / n, rest + JUDGE, written=n_new)
    real = sum(weight.numel() for weight in model.original_model.parameters())
    print(f"{given.model}: {shape.n_parameters:,} weights predicted, {real:,} there")
    with tempfile.TemporaryDirectory() as folder:
        kept = lens_truth.capture(model, examples, out=folder).z
        stored = (Path(folder) / "z.npy").stat().st_size
    print(f"activations: {shape.activation_bytes(len(examples)):,} bytes predicted, {stored:,} in z.npy, {kept.shape}")
    runs: dict[str, tuple[Work, Callable[[], Any]]] = {
        "capture": (scoring_works(shape, size, "", "")[0], lambda: lens_truth.capture(model, examples)),
        "judge": (Work("judge", "", shape, (asked,)), lambda: asker.one(judge)),
    }
    for name, (work, run) in runs.items():
        rows = [one_round(run, work, given.device, model, size.longest) for _ in range(given.rounds)]
        seconds, tokens, good, bad = min(rows, key=lambda its: its[0])
        print(
            f"{name}: {good.tokens:,.0f} tokens predicted, {tokens:,} seen (with padding); "
            f"{good.seconds:.1f} to {bad.seconds:.1f} s predicted, {seconds:.1f} measured"
        )


def one_round(
    run: Callable[[], Any], work: Work, device: str, model: Any, longest: int
) -> tuple[float, int, Cost, Cost]:
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    on = measured_cpu(clock) if device == "cpu" else accelerator(device)
    layout = laid_out(work.shape, on, 1, None, "layers", longest)
    print(f"  {layout.device.single_tflops:.3f} TFLOP/s in float32, {layout.device.bandwidth:.1f} GB/s", flush=True)
    without = Work(work.name, "", work.shape, work.passes)
    tokens, handle = seen(model.original_model)
    start = clock()
    run()
    if device != "cpu":
        torch.accelerator.synchronize()
    seconds = clock() - start
    handle.remove()
    return seconds, sum(tokens), cost_of(without, layout, "good"), cost_of(without, layout, "bad")


if __name__ == "__main__":
    main()
