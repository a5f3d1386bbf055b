"""The process that Ray runs in: `python -m lens_truth.engines.driver`, told what to do on stdin, answering on stdout.

Ray ends the process that it is connected from when the cluster goes, without an exception, and prints there what it
likes. So it is not the process whose work is done: that one sees this one end, and says so in a sentence.
"""

from __future__ import annotations

import logging
import os
import pickle
import queue
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from importlib import import_module
from typing import IO, Any

_AHEAD = 2
"""Batches that wait at each worker, so that none waits for the next."""


class Remote:
    """What Ray Data makes on each worker: a `Worker`, which takes torch, and so is imported there."""

    def __init__(self, job: list[Any]) -> None:
        from lens_truth.engines.worker import Worker

        ray: Any = import_module("ray")
        data: Any = ray.get(job[0])
        self._worker = Worker(pickle.loads(data))

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        """A row with the number of a batch becomes one with its report."""
        import numpy as np

        (number,) = rows["number"].tolist()
        return {"report": np.array([pickle.dumps(self._worker.report(number))], dtype=object)}


def main(told: IO[bytes], answers: IO[bytes]) -> None:
    """Connects as the first message says, answers what the cluster has, and runs one pass after the other."""
    commands: queue.Queue[Any] = queue.Queue()

    def listen() -> None:
        try:
            while True:
                commands.put(pickle.load(told))
        except EOFError:  # whoever asked has ended
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=listen, daemon=True).start()

    def answer(number: int, kind: str, what: Any) -> None:
        pickle.dump((number, kind, what), answers)
        answers.flush()

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # a cluster that is gone is not replaced by another
    try:
        ray: Any = import_module("ray")
        ray.data = import_module("ray.data")
        ray.init(**commands.get(), logging_level=logging.CRITICAL, log_to_driver=False)
    except Exception as error:  # of Ray's own kinds, of gRPC's, a package that is missing
        answer(0, "refused", str(error))
        return
    answer(0, "has", _machines(ray))
    while True:
        number, job, batches, how = commands.get()
        try:
            for report in _reports(ray, [ray.put(job)], batches, how):
                answer(number, "report", report)
                if not commands.empty():  # nobody waits for the rest
                    break
            answer(number, "done", "")
        except (ray.exceptions.RayError, ConnectionError, OSError) as error:
            answer(number, "lost", str(error))
        answer(number, "has", _machines(ray))


def _machines(ray: Any) -> list[dict[str, float]]:
    """What each machine of the cluster has."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _reports(ray: Any, job: list[Any], numbers: range, how: dict[str, Any]) -> Iterator[bytes]:
    """Through Ray Data, one batch a block, in their order."""
    data = ray.data
    context = data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.execution_options.preserve_order = True
    workers = min(how.pop("workers"), len(numbers))
    how |= {"compute": data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=_AHEAD)}
    rows = data.from_items([{"number": number} for number in numbers], override_num_blocks=len(numbers))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Ray Data would restart workers without end; this word is to go in 2.64, and there is no other for it yet
        made = rows.map_batches(Remote, batch_size=1, fn_constructor_args=(job,), max_restarts=0, **how)
    for row in made.iter_rows():
        yield row["report"]


if __name__ == "__main__":
    own = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what Ray prints
    from lens_truth.engines import driver  # by this name workers find `Remote`, not in `__main__`

    driver.main(sys.stdin.buffer, own)
