"""`ray_engine`: passes of a model on the workers of a Ray cluster, through Ray Data."""

from __future__ import annotations

import os
import pickle
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lens_truth.engines.cluster import Cluster, WorkersLostError, cluster
from lens_truth.engines.passes import Pass, opened
from lens_truth.engines.shipping import packed
from lens_truth.engines.worker import Job
from lens_truth.errors import InputError, notice
from lens_truth.models.hashing import weights_hash
from lens_truth.models.hooked import HookedModel
from lens_truth.models.names import base_and_adapter
from lens_truth.models.packages import CACHE
from lens_truth.models.placing import device_of
from lens_truth.models.provenance import setup_hash
from lens_truth.models.spreading import is_spread, spread_of

_TRIES = 3
"""Times that the same batch may be begun: what kills each worker that takes it kills the next one too."""


@dataclass(frozen=True)
class Cores:
    """What each of so many workers takes."""

    workers: int
    threads: int
    gpus: int


@contextmanager
def ray_engine(
    model: HookedModel, *, workers: int | None = None, address: str | None = None
) -> Generator[Cores, None, None]:
    """While open, batches of `capture`, of detection and of benchmarks (`Asker`) go through the model on the workers of
    a Ray cluster, each of which loads it once a pass. Order, files and, on machines of one kind, every byte are those
    of one process with as many threads as a worker has.

    What comes back is written by this process, so a run that was killed goes on where it stopped, with or without
    workers. A worker or a machine that dies is done without; what it had in hand is run again.

    >>> with lens_truth.ray_engine(model, workers=2):
    ...     lens_truth.capture(model, examples, out="activations")

    Args:
        model: as `load` gives it for a name that every machine can read: an id, a folder on shared storage, `zoo:NAME`.
        workers: how many; by default one a GPU, or, of a model on the CPU, one a core.
        address: of a cluster (`auto` for the one that runs here, else `HOST:6379`); by default one of
            this machine's cores is started, and stopped at the end.

    Raises:
        InputError: if Ray is not installed, no cluster answers, it is too small, or the model is one in memory. Inside,
            if workers cannot load the same model, or die again and again.
    """
    if getattr(model, "loading", None) is None:
        raise InputError(
            "a model in memory, or TransformerLens's own, cannot be loaded by workers: load it by its folder's name"
        )
    if workers is not None and workers < 1:
        raise InputError(f"the number of workers is {workers}; it must be at least 1")
    with cluster(address, os.cpu_count() or 1) as its:
        engine = RayEngine(its, model, _cores(its.machines, model, workers))
        with opened(engine):
            yield engine.cores


class RayEngine:
    """The engine itself."""

    def __init__(self, its: Cluster, model: HookedModel, cores: Cores) -> None:
        self.model, self.cores, self._cluster = model, cores, its

    def over(self, its: Pass[Any, Any]) -> Iterator[tuple[int, Any]]:
        """What every batch made, in order; where workers are lost, from the first batch on that has not come back."""
        if not its.units:
            return
        hashes = weights_hash(self.model), setup_hash(self.model)
        job = Job(
            _loading(self.model), *hashes, self.cores.threads, its.ends(), str(Path.cwd()), packed(self.model, its)
        )
        data, n, place, tries, said = pickle.dumps(job), len(job.ends), 0, 0, set[str]()
        while place < n:
            begun = place
            try:
                for report in self._cluster.reports(data, range(place, n), self._each()):
                    for sentence in report.notices:
                        if sentence not in said:
                            notice(sentence)
                        said.add(sentence)
                    if report.error:
                        raise InputError(report.error)
                    if report.bug:
                        raise RuntimeError(f"a worker failed:\n{report.bug}")
                    yield from report.made
                    place += 1
            except WorkersLostError as error:
                tries = tries + 1 if place == begun else 1
                if tries >= _TRIES:
                    raise InputError(
                        f"workers died {tries} times over the same batch ({error}); what was finished is kept: fewer "
                        "--workers on a machine, a smaller --batch-size or --dtype bfloat16 take less memory"
                    ) from error
                notice("workers were lost, and the others go on with what those had in hand")

    def _each(self) -> dict[str, Any]:
        """How many workers the machines that are left have room for, and what each takes."""
        workers, threads, gpus = self.cores.workers, self.cores.threads, self.cores.gpus
        fits = sum(_fits(its, threads, gpus) for its in self._cluster.machines)
        taken = {"num_cpus": threads, "num_gpus": gpus or None, "runtime_env": {"env_vars": _environment()}}
        return {"workers": max(1, min(workers, fits)), **taken}


def _fits(machine: Mapping[str, float], threads: int, gpus: int) -> int:
    """How many workers one machine has room for: none is on two."""
    cpus = int(machine.get("CPU", 0) / threads)
    return min(cpus, int(machine.get("GPU", 0) / gpus)) if gpus else cpus


def _cores(machines: Sequence[Mapping[str, float]], model: HookedModel, workers: int | None) -> Cores:
    """What each worker takes; an InputError says if the machines have less."""
    device = device_of(model).type
    on_gpu = device == "cuda"
    kind = "GPU" if on_gpu else "CPU"
    n = [int(its.get(kind, 0)) for its in machines]
    if on_gpu and not any(n):
        raise InputError("the model runs on a GPU here, and the Ray cluster has none")
    gpus = (_gpus_of(model) or max(n)) if on_gpu else 0
    by_default = sum(its // gpus for its in n) if on_gpu else 1 if device == "mps" else _in_memory(machines, model)
    wanted = workers or by_default
    threads = 1 if on_gpu else max(1, min(torch.get_num_threads(), sum(n) // max(1, wanted), max(n, default=1)))
    while threads > 1 and sum(_fits(its, threads, 0) for its in machines) < wanted:
        threads -= 1
    if (fits := sum(_fits(its, threads, gpus) for its in machines)) < max(1, wanted):
        each = f" of {gpus} each" if gpus > 1 else ""
        raise InputError(f"{wanted or 1} workers need more than the Ray cluster's {sum(n)} {kind}s ({fits} fit{each})")
    return Cores(wanted, threads, gpus)


def _in_memory(machines: Sequence[Mapping[str, float]], model: HookedModel) -> int:
    """As many workers as there are cores, where each machine's memory holds so many copies of the model, twice."""
    size = 2 * sum(weight.numel() * weight.element_size() for weight in model.parameters())
    return sum(max(1, min(int(its.get("CPU", 0)), int(its.get("memory", size) // size))) for its in machines)


def _gpus_of(model: HookedModel) -> int:
    """How many GPUs one copy of a model takes; 0 for as many as there are for it."""
    spread = spread_of((model.loading or {})["device"])
    if spread is None:
        return 1
    given: Any = spread.device_map
    named: list[Any] = list(spread.max_memory or {}) if isinstance(given, str) else list(given.values())
    return max((its + 1 for its in named if isinstance(its, int)), default=0)


def _loading(model: HookedModel) -> dict[str, Any]:
    """How workers load the model: folders by their whole path, and on the GPU that they are given."""
    loading = dict(model.loading or {})
    parts = [part for part in base_and_adapter(str(loading["model"])) if part]
    whole = [str(Path(part).expanduser().resolve()) if Path(part).expanduser().exists() else part for part in parts]
    device = loading["device"]
    device = device if is_spread(device) else device.split(":")[0]  # a worker sees none but its own
    return loading | {"model": "+".join(whole), "device": device}


def _environment() -> dict[str, str]:
    """Variables of the environment on which a number or a file's place may hang."""
    names = ("MKL_CBWR", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT", CACHE)
    return {name: os.environ[name] for name in names if name in os.environ}
