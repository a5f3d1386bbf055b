"""How long does an ablation of a real model take, against an older build, and do both give the same answers?

    python benchmarks/ablation_real.py --data rows.jsonl --model MODEL --old FOLDER [--questions 16] [--flags "..."]

Runs `lens_truth.ablate` on the first questions of a file, in a process of its own with the build that this file belongs
to and with the one in FOLDER (a checkout; both use this Python). Answers that both asked for (same benchmark, question
and gate) have to be the same texts. Builds search and draw differently, so one asks for less; where they chose another
lambda for a gate, that gate's answers are not compared.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).resolve().parents[1]


def first_questions(data: Path, n: int, to: Path) -> None:
    """The rows of the first n questions of a file; all rows for 0."""
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    kept = list(dict.fromkeys(row["question"] for row in rows))[: n or None]
    rows = [row for row in rows if row["question"] in kept]
    to.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def seconds_of(build: Path, folder: Path, *flags: str | Path) -> float:
    """Of one run of the command in a folder without a package."""
    start = time.perf_counter()
    command, env = (
        [sys.executable, "-m", "lens_truth.ablate", *map(str, flags)],
        {**os.environ, "PYTHONPATH": str(build)},
    )
    subprocess.run(command, check=True, cwd=folder, env=env, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def answers_in(out: Path) -> dict[tuple[Any, ...], str]:
    """By model, benchmark, example, gate, and the lambda and normalisation that were chosen for it."""
    tested = json.loads((out / "result.json").read_text(encoding="utf-8"))["results"]["ablation"]["rows"]
    chosen = {
        (r["model"], f"{r['gate']} of {r['of']}" if r["of"] else r["gate"]): (r["lam"], r["norm"]) for r in tested
    }
    rows = [json.loads(line) for line in (out / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    arms = [(row["model"], re.sub(r" \d+$", "", row["gate"])) for row in rows]  # without the number of its draw
    found: dict[tuple[Any, ...], dict[str, str]] = {}
    for row, arm in zip(rows, arms, strict=True):
        key = (*(row[name] for name in ("model", "benchmark", "id", "gate")), chosen.get(arm))
        found.setdefault(key, {})[row["key"]] = row["answer"]
    return {key: next(iter(its.values())) for key, its in found.items() if len(its) == 1}  # no two gates of one name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", nargs="+", required=True)
    parser.add_argument("--old", type=Path, required=True)
    parser.add_argument("--questions", type=int, default=16)
    parser.add_argument("--flags", default="--controls all --random-gate")
    arguments = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        first_questions(arguments.data, arguments.questions, folder / "rows.jsonl")
        models = [str(Path(model).resolve()) if Path(model).is_dir() else model for model in arguments.model]
        flags = ["--data", folder / "rows.jsonl", "--model", *models, *shlex.split(arguments.flags)]
        seconds: dict[str, float] = {}
        answers: dict[str, dict[tuple[Any, ...], str]] = {}
        for build, path in (("old", arguments.old.resolve()), ("new", HERE)):
            seconds[build] = seconds_of(path, folder, *flags, "--out", folder / build)
            answers[build] = answers_in(folder / build)
            print(f"{build}: {seconds[build]:.1f} s, {len(answers[build])} answers", flush=True)
    both = answers["old"].keys() & answers["new"].keys()
    differ = [key for key in both if answers["old"][key] != answers["new"][key]]
    print(f"new / old: {seconds['new'] / seconds['old']:.3f} of the time; {len(both)} answers are in both", end="")
    print(f", {len(differ)} of them differ: {differ[:5]}" if differ else ", all the same")
    if differ:
        raise SystemExit("the answers differ")


if __name__ == "__main__":
    main()
