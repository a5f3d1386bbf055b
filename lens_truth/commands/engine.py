"""`--engine`: where the batches of a command go through the model."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from lens_truth.commands.run import Run
from lens_truth.errors import InputError, needs_package
from lens_truth.io.numbers import count


@dataclass(frozen=True)
class EngineFlags:
    """Flags of commands whose batches can go through the model elsewhere."""

    engine: Literal["local", "ray"] = "local"
    """Where batches go through the model: in this process, or on the workers of a Ray cluster (the extra [ray]); files
    and numbers are the same."""
    workers: int | None = None
    """Of --engine ray: how many processes load the model; by default one a GPU of the cluster, or one a core."""
    address: str | None = None
    """Of --engine ray: a cluster that runs already (auto: here; HOST:6379); by default one of this machine's cores is
    started, and ends with the command."""


@contextmanager
def engine_of(flags: EngineFlags, model: Any, run: Run) -> Generator[None, None, None]:
    """Passes of the model inside go where the flags say."""
    if flags.engine == "local":
        yield
        return
    from lens_truth.engines.on_ray import ray_engine

    with ray_engine(model, workers=flags.workers, address=flags.address) as cores:
        each = count(cores.gpus, "GPU") if cores.gpus else count(cores.threads, "thread")
        print(f"on Ray: {count(cores.workers, 'worker')}, {each} each")
        run.results["engine"] = {"name": flags.engine, **vars(cores)}
        yield


def check_engine(flags: EngineFlags) -> None:
    """Raises an InputError if there are workers without an engine that has some, or that engine is not installed."""
    if flags.engine == "local" and (flags.workers is not None or flags.address is not None):
        raise InputError("--workers and --address are those of a Ray cluster: add --engine ray")
    if flags.engine == "ray":
        needs_package("--engine ray", "ray", "ray")
