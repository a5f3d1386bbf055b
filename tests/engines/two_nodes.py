"""Run by test_on_a_cluster.py, as `python two_nodes.py FOLDER`: two Ray nodes on this machine, one worker on each, and
what becomes of passes when workers and a node are killed. Prints one JSON object."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
import torch
from ray.cluster_utils import Cluster

import lens_truth
from lens_truth.engines.passes import batches
from lens_truth.models.budget import Budget

ROWS = lens_truth.load_examples("zoo:conflict", limit=48)
QUESTIONS = lens_truth.benchmark_of("judge", "judge", ROWS)


def workers() -> list[int]:
    """The processes that hold a model."""
    found: list[int] = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if line.read_bytes().startswith(b"ray::MapWorker"):
                found.append(int(line.parent.name))
        except OSError:
            continue
    return found


def when(done: Callable[[], bool], strike: Callable[[], Any]) -> threading.Thread:
    """Strikes once, as soon as something is done."""

    def wait() -> None:
        end = time.monotonic() + 120
        while not done() and time.monotonic() < end:
            time.sleep(0.005)
        strike()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def begun(folder: Path, rows: int) -> Callable[[], bool]:
    """Whether so many rows are on disk."""

    def done() -> bool:
        try:
            return int((folder / "progress.json").read_text()) >= rows
        except (OSError, ValueError):
            return (folder / "z.npy").exists()

    return done


def files(folder: Path) -> dict[str, int]:
    """What lies there, by a number that hangs on every byte."""
    return {path.name: hash(path.read_bytes()) for path in sorted(folder.iterdir())}


def main(folder: Path) -> dict[str, Any]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, logging_level=logging.CRITICAL, log_to_driver=False)
    model = lens_truth.load("zoo:llama-memory-chat")
    said: dict[str, Any] = {"nodes": len([node for node in ray.nodes() if node["Alive"]])}
    plain = folder / "plain"
    lens_truth.capture(model, ROWS, batch_size=1, out=plain)
    gate = lens_truth.HeadGate(1 + torch.rand(model.cfg.n_layers, model.cfg.n_heads, generator=torch.Generator()))

    with (
        warnings.catch_warnings(record=True) as caught,
        lens_truth.ray_engine(model, workers=2, address=cluster.address) as cores,
    ):
        warnings.simplefilter("always")
        said["cores"] = vars(cores)
        killed: list[int] = []

        def kill() -> None:
            killed.extend(workers()[:1])
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

        striking = when(begun(folder / "killed", 4), kill)
        lens_truth.capture(model, ROWS, batch_size=1, out=folder / "killed")
        striking.join()
        said["killed"] = len(killed)
        said["same after a killed worker"] = files(plain) == files(folder / "killed")

        try:
            with gate.attach(model):
                lens_truth.capture(model, ROWS)
        except lens_truth.InputError as error:
            said["attached"] = str(error)

        try:  # given up in the middle; what is still under way is not taken for what comes next
            for _ in batches(model, list(range(24)), lambda *_: 64, Budget(64), lambda units: refuse(units)):
                pass
        except lens_truth.InputError as error:
            said["refused"] = str(error)

        try:  # a batch that no worker survives
            list(batches(model, list(range(4)), lambda unit, _: 64, Budget(128), lambda units: die(model, units)))
        except lens_truth.InputError as error:
            said["died"] = str(error)

        seen: list[Any] = []
        striking = when(lambda: bool(seen), lambda: cluster.remove_node(second, allow_graceful=False))
        for some, made in batches(
            model, list(range(24)), lambda *_: 64, Budget(64), lambda units: slowly(model, units)
        ):
            seen.append((some, made))
        striking.join()
        said["same after a lost node"] = seen == [([unit], [unit * model.cfg.n_layers]) for unit in range(24)]

        gates = {"": None, "gate": gate}
        found = lens_truth.Asker(model, "chat", batch_size=4).run(QUESTIONS, gates, margins=True)
        said["nodes left"] = len([node for node in ray.nodes() if node["Alive"]])
    said["same answers"] = found == lens_truth.Asker(model, "chat", batch_size=4).run(QUESTIONS, gates, margins=True)
    said["gate acts"] = found[""] != found["gate"]
    said["warnings"] = [str(one.message) for one in caught if issubclass(one.category, lens_truth.DataWarning)]
    return said


def die(model: Any, units: Any) -> Any:
    """Ends the worker, unless it is the first batch's."""
    if 0 not in units:
        os._exit(1)
    return model.cfg.n_layers


def refuse(units: Any) -> Any:
    """Complains about one batch."""
    if 2 in units:
        raise lens_truth.InputError("this row is empty")
    return units


def slowly(model: Any, units: Any) -> list[int]:
    """Long enough for a machine to be lost meanwhile."""
    time.sleep(0.5)
    return [unit * model.cfg.n_layers for unit in units]


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
