"""lm-eval through its own `hf` and through ours, without a gate and under one: a multiple-choice task, in turns.

Prints medians of seconds and of the ratios of pairs. The model is a folder, by default SmolLM2's in the cache that
`make real` fills.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import statistics
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

import lens_truth
from lens_truth.models.packages import cache_folder


def task_in(folder: Path, n_rows: int) -> dict[str, Any]:
    """A multiple-choice task of facts against their contexts, from a local file."""
    rows: dict[str, dict[str, Any]] = {}
    for example in lens_truth.load_examples("facts:conflict", limit=2 * n_rows):
        asked = f"{example.context} {example.question}"
        row = rows.setdefault(asked, {"asked": asked})
        row["right" if example.label else "wrong"] = example.answer
    whole = [row for row in rows.values() if len(row) == 3]
    (folder / "rows.json").write_text(json.dumps(whole))
    return {
        "task": "conflict",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "rows.json")}, "cache_dir": str(folder)},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{asked}}",
        "doc_to_choice": "{{[right, wrong]}}",
        "doc_to_target": 0,
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }


def main() -> None:
    """Prints a table."""
    flags = argparse.ArgumentParser()
    flags.add_argument("--model", default=str(cache_folder() / "smollm2"))
    flags.add_argument("--rows", type=int, default=12)
    flags.add_argument("--rounds", type=int, default=5)
    given = flags.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)

    lm_eval: Any = import_module("lm_eval")
    own: Any = import_module("lm_eval.models.huggingface").HFLM

    how: dict[str, Any] = {"device": "cpu", "dtype": "float32", "batch_size": 8}
    plain = own(given.model, **how)
    ours: Any = lens_truth.lm_eval_model(given.model, **how)
    n_layers, n_heads = ours.under.model.cfg.n_layers, ours.under.model.cfg.n_heads
    gate = lens_truth.HeadGate(torch.linspace(0.5, 1.5, n_layers * n_heads).reshape(n_layers, n_heads))
    manager = import_module("lm_eval.tasks").TaskManager(include_defaults=False)
    seconds: dict[str, list[float]] = {"hf": [], "lens_truth": [], "lens_truth, gated": []}
    with tempfile.TemporaryDirectory() as folder:
        task = task_in(Path(folder), given.rows)
        for turn in range(given.rounds + 1):
            for name in seconds if turn % 2 else reversed(seconds):
                lm: Any = plain if name == "hf" else ours
                gated = gate.attach(ours.under.model) if "gated" in name else None
                if gated is not None:
                    gated.__enter__()
                gc.collect()
                start = time.perf_counter()
                lm_eval.simple_evaluate(lm, tasks=[task], task_manager=manager, bootstrap_iters=0)
                seconds[name].append(time.perf_counter() - start)
                if gated is not None:
                    gated.__exit__(None, None, None)
    base = seconds["hf"][1:]
    for name, times in seconds.items():
        ratios = [one / other for one, other in zip(times[1:], base, strict=True)]
        print(
            f"{name:20} median {statistics.median(times[1:]):6.2f} s, least {min(times[1:]):6.2f} s; "
            f"to hf: median of pairs {statistics.median(ratios):.3f}, of the least {min(times[1:]) / min(base):.3f}"
        )


if __name__ == "__main__":
    main()
