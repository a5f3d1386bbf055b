"""The peak memory of every command with its default flags on one model, each in a process of its own.

    python benchmarks/peak_memory.py MODEL DATA [--only probe check ...] [--flags "--limit 64"]

DATA is a file of examples with answers of both labels and evidence. What is named by --only runs; --flags are added to
commands that read rows, to try it on few.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

WAYS = {
    "check": "check {model}",
    "audit": "audit {data} --out {out}",
    "probe": "probe --model {model} --data {data} --out {out}",
    "probe causal": "probe --model {model} --data {data} --scores causal --out {out}",
    "probe learned": "probe --model {model} --data {data} --scores learned --out {out}",
    "evidence": "evidence --model {model} --data {data} --out {out}",
    "evaluate judge": "evaluate judge --model {model} --data {data} --out {out}",
    "evaluate choose": "evaluate choose --model {model} --data {data} --out {out}",
    "evaluate halueval": "evaluate halueval --model {model} --data {data} --out {out}",
    "gate": "gate --model {model} --data {data} --save {out}",
    "weights": "weights --base {model} --child {model} --out {out}",
    "inherit": "inherit one={model} other={model} --data {data} --out {out}",
    "ablate": "ablate --model {model} --data {data} --out {out}",
}
_NO_ROWS = ("check", "weights")


def main() -> None:
    """Prints a line a command."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("model", type=Path)
    flags.add_argument("data", type=Path)
    flags.add_argument("--only", nargs="*", default=list(WAYS), choices=WAYS)
    flags.add_argument("--flags", default="")
    given = flags.parse_args()
    print(f"{'command':<18} {'GB':>6} {'seconds':>8}  where the time went")
    for name in given.only:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out"
            line = WAYS[name].format(model=given.model.resolve(), data=given.data.resolve(), out=out)
            more = "" if name in _NO_ROWS else given.flags
            code, peak = measured([*shlex.split(line), *shlex.split(more)], Path(folder))
            record: dict[str, Any] = json.loads(its.read_text()) if (its := out / "result.json").is_file() else {}
        spent = ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in record.get("seconds_by_stage", {}).items())
        failed = f"  ended with {code}" if code else ""
        print(f"{name:<18} {peak / 1e6:6.2f} {record.get('seconds', 0):8.0f}  {spent}{failed}", flush=True)


def measured(arguments: list[str], folder: Path) -> tuple[int, int]:
    """The exit code of a command, and its peak resident memory in kilobytes."""
    code = "import sys; from lens_truth.cli import main; main(sys.argv[1:])"
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        with (folder / "said").open("w") as said:
            os.dup2(said.fileno(), 1)
        os.execv(sys.executable, [sys.executable, "-c", code, *arguments])
    _, status, usage = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_maxrss


if __name__ == "__main__":
    main()
