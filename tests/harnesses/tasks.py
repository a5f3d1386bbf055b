"""Four small tasks of lm-eval, one for each way of asking, and a task of Inspect: files, so that no hub is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lens_truth


def rows(n: int = 6) -> list[dict[str, Any]]:
    """Questions of the zoo, each with a right and a wrong answer."""
    pairs: dict[str, dict[str, Any]] = {}
    for example in lens_truth.load_examples("zoo:conflict", limit=4 * n):
        asked = f"{example.context} {example.question}".strip()
        pairs.setdefault(asked, {"asked": asked})["right" if example.label else "wrong"] = example.answer
    return [{**row, "gold": 0} for row in pairs.values() if len(row) == 3][:n]


def tasks(folder: Path) -> list[dict[str, Any]]:
    """multiple_choice, loglikelihood, loglikelihood_rolling and generate_until, as lm-eval's YAML has them."""
    file = folder / "rows.json"
    file.write_text(json.dumps(rows()))
    common = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(file)}, "cache_dir": str(folder / "datasets")},
        "test_split": "test",
        "metadata": {"version": 1},
    }
    accuracy = {"metric": "acc", "aggregation": "mean", "higher_is_better": True}
    exact = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}
    perplexity = {"metric": "word_perplexity", "aggregation": "weighted_perplexity", "higher_is_better": False}
    asked = {"doc_to_text": "{{asked}}", "doc_to_target": "{{right}}"}
    return [
        {
            **common,
            "task": "choose",
            "output_type": "multiple_choice",
            "doc_to_text": "{{asked}}",
            "doc_to_choice": "{{[right, wrong]}}",  # the templates of a list would be taken for the answers themselves
            "doc_to_target": "gold",
            "metric_list": [accuracy],
        },
        {**common, **asked, "task": "continue", "output_type": "loglikelihood", "metric_list": [accuracy]},
        {
            **common,
            "task": "roll",
            "output_type": "loglikelihood_rolling",
            "doc_to_text": "",
            "doc_to_target": "{{asked}} {{right}}",
            "metric_list": [perplexity],
        },
        {
            **common,
            **asked,
            "task": "write",
            "output_type": "generate_until",
            "generation_kwargs": {"until": ["."], "max_gen_toks": 8, "do_sample": False},
            "metric_list": [exact],
        },
    ]


INSPECT_TASK = """
from inspect_ai import Task, task
from inspect_ai.dataset import json_dataset
from inspect_ai.scorer import includes
from inspect_ai.solver import generate


@task
def read():
    return Task(dataset=json_dataset("questions.jsonl"), solver=generate(), scorer=includes())
"""


def inspect_task(folder: Path) -> Path:
    """task.py of Inspect and its questions."""
    lines = [json.dumps({"input": row["asked"], "target": row["right"]}) for row in rows()]
    (folder / "questions.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "task.py").write_text(INSPECT_TASK)
    return folder / "task.py"
