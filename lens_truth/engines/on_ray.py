"""`ray_engine`: passes of a model on the workers of a Ray cluster, through Ray Data."""

from __future__ import annotations

import math
import os
import pickle
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lens_truth.engines.cluster import cluster
from lens_truth.engines.passes import Pass, opened
from lens_truth.engines.shipping import packed
from lens_truth.engines.worker import Job, Report, Worker
from lens_truth.errors import InputError, first_line, notice
from lens_truth.models.hashing import weights_hash
from lens_truth.models.hooked import HookedModel
from lens_truth.models.loading import SPREAD
from lens_truth.models.names import base_and_adapter
from lens_truth.models.packages import CACHE
from lens_truth.models.placing import device_of
from lens_truth.models.provenance import setup_hash

_TRIES = 3
"""Times that the same batch may be begun: what kills each worker that takes it kills the next one too."""
_AHEAD = 2
"""Batches that wait at each worker, so that none waits for the next."""


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
    a Ray cluster, each of which has loaded it once. Order, files and, on machines of one kind, every byte are those of
    one process with as many threads as a worker has.

    What comes back is written by this process, so a run that was killed goes on where it stopped, with or without
    workers. A worker or a machine that dies is done without; what it had in hand is run again.

    >>> with lens_truth.ray_engine(model, workers=2):
    ...     lens_truth.capture(model, examples, out="activations")

    Args:
        model: as `load` gives it for a name that every machine can read: an id, a folder on shared storage, `zoo:NAME`.
        workers: how many; by default one a GPU, or, of a model on the CPU, one a core.
        address: of a cluster (`auto` for the one that runs here, `ray://HOST:10001` from elsewhere); by default one of
            this machine's cores is started, and stopped at the end.

    Raises:
        InputError: if Ray is not installed, no cluster answers, it is too small, or the model is one in memory. Inside,
            if workers cannot load the same model, or die again and again.
    """
    if getattr(model, "loading", None) is None:
        raise InputError("a model in memory cannot be loaded by workers: save it, and load it by its folder's name")
    if workers is not None and workers < 1:
        raise InputError(f"the number of workers is {workers}; it must be at least 1")
    here = len(os.sched_getaffinity(0))
    with cluster(address, max(here, workers or 1)) as ray:
        engine = RayEngine(ray, model, _cores(ray, model, workers))
        with opened(engine):
            yield engine.cores


class RayEngine:
    """The engine itself."""

    def __init__(self, ray: Any, model: HookedModel, cores: Cores) -> None:
        self.model, self.cores, self._ray = model, cores, ray

    def over(self, its: Pass[Any, Any]) -> Iterator[tuple[int, Any]]:
        """What every batch made, in order; where workers are lost, from the first batch on that has not come back."""
        if not its.units:
            return
        loading = _loading(self.model)
        hashes = weights_hash(self.model), setup_hash(self.model)
        job = Job(loading, *hashes, self.cores.threads, its.ends(), packed(self.model, its))
        job_ref, n, place, tries = [self._ray.put(job)], len(job.ends), 0, 0
        said: set[str] = set()
        while place < n:
            begun = place
            try:
                for report in self._reports(job_ref, range(place, n)):
                    for sentence in report.notices:
                        if sentence not in said:
                            notice(sentence)
                        said.add(sentence)
                    if report.error:
                        raise InputError(report.error)
                    yield from report.made
                    place += 1
            except (self._ray.exceptions.RayError, ConnectionError, OSError) as error:
                tries = tries + 1 if place == begun else 1
                self._survive(error, place, tries)

    def _reports(self, job: list[Any], numbers: range) -> Iterator[Report]:
        """Through Ray Data, one batch a block."""
        data: Any = self._ray.data
        context = data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        context.execution_options.preserve_order = True
        workers = min(self.cores.workers, len(numbers), self._fitting())
        pool = data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=_AHEAD)
        rows = data.from_items([{"number": number} for number in numbers], override_num_blocks=len(numbers))
        how: dict[str, Any] = {"num_cpus": self.cores.threads, "num_gpus": self.cores.gpus or None}
        how |= {"runtime_env": {"env_vars": _environment()}, "compute": pool, "fn_constructor_args": (job,)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self._ray.util.annotations.RayDeprecationWarning)
            # Ray Data would restart workers without end; this is to go in 2.64, and there is no other word for it yet
            made = rows.map_batches(Worker, batch_size=1, max_restarts=0, **how)
        for row in made.iter_rows():
            yield pickle.loads(row["report"])

    def _fitting(self) -> int:
        """How many workers the machines that are left have room for."""
        there = self._ray.cluster_resources()
        fits = math.floor(there.get("CPU", 0) / self.cores.threads)
        return max(1, min(fits, math.floor(there.get("GPU", 0) / self.cores.gpus)) if self.cores.gpus else fits)

    def _survive(self, error: Exception, place: int, tries: int) -> None:
        """Says that workers were lost; raises an InputError where going on would lose them again."""
        done = f"{place} of its batches are finished and kept"
        if not self._ray.is_initialized() or not self._alive():
            raise InputError(f"the Ray cluster is gone ({first_line(error)}); {done}") from error
        if tries >= _TRIES:
            raise InputError(
                f"workers died {tries} times over the same batch ({first_line(error)}); {done}: fewer --workers on a "
                "machine, a smaller --batch-size or --dtype bfloat16 take less memory"
            ) from error
        notice("workers were lost, and the others go on with what those had in hand")

    def _alive(self) -> bool:
        """Whether the cluster answers."""
        try:
            return bool(self._ray.nodes())
        except Exception:  # whatever Ray says of a connection that is gone
            return False


def _cores(ray: Any, model: HookedModel, workers: int | None) -> Cores:
    """What each worker takes; an InputError says if the cluster has less."""
    there = ray.cluster_resources()
    n_cpus, n_gpus = int(there.get("CPU", 0)), int(there.get("GPU", 0))
    device = device_of(model).type
    on_gpu = device == "cuda"
    if on_gpu and not n_gpus:
        raise InputError("the model runs on a GPU here, and the Ray cluster has none")
    spread = (model.loading or {}).get("device") == SPREAD
    wanted = workers or ((1 if spread else n_gpus) if on_gpu else n_cpus)
    if wanted > (n_gpus if on_gpu else n_cpus):
        has = f"{n_gpus} GPUs" if on_gpu else f"{n_cpus} CPUs"
        raise InputError(f"{wanted} workers are more than the Ray cluster's {has}")
    threads = 1 if on_gpu else max(1, min(torch.get_num_threads(), n_cpus // wanted))
    return Cores(wanted, threads, (n_gpus // wanted if spread else 1) if on_gpu else 0)


def _loading(model: HookedModel) -> dict[str, Any]:
    """How workers load the model: folders by their whole path, and on the GPU that they are given."""
    loading = dict(model.loading or {})
    parts = [part for part in base_and_adapter(str(loading["model"])) if part]
    whole = [str(Path(part).expanduser().resolve()) if Path(part).expanduser().exists() else part for part in parts]
    device = str(loading["device"])
    return loading | {"model": "+".join(whole), "device": device.split(":")[0]}


def _environment() -> dict[str, str]:
    """Variables of the environment on which a number or a file's place may hang."""
    names = ("MKL_CBWR", "HF_HOME", "HF_HUB_OFFLINE", "HF_ENDPOINT", CACHE)
    return {name: os.environ[name] for name in names if name in os.environ}
