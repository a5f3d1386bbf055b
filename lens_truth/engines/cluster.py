"""A Ray cluster for one run: one that is there already, or one of this machine's cores that ends with the run."""

from __future__ import annotations

import os
import pickle
import select
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from lens_truth.errors import InputError, first_line, needs_package

_GONE = "the Ray cluster is gone; what was finished is kept"
_PATIENCE = 20
"""Seconds in which Ray is to end by itself."""
_ANSWERS = 60
"""Seconds in which a cluster is to answer; Ray itself would try for minutes."""


class WorkersLostError(Exception):
    """Workers died; the cluster is there."""


class Cluster:
    """The end of the pipes to `lens_truth.engines.driver`."""

    def __init__(self, address: str | None, n_cpus: int) -> None:
        self._address = address
        # a session of its own: what stops this process (Ctrl-C) is not for Ray, which is told to end
        command = [sys.executable, "-m", "lens_truth.engines.driver"]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._driver = subprocess.Popen(command, **pipes, env=environment, start_new_session=True)
        here = {"address": "local", "num_cpus": n_cpus, "include_dashboard": False}
        waits = _ANSWERS if address else None
        self._asked = 0
        """Number of the pass that is under way."""
        self._tell({"address": address} if address else here)
        if waits and not select.select([cast("Any", self._driver.stdout)], [], [], waits)[0]:
            self.close()
            raise InputError(_refused(address, f"not within {waits} s"))
        try:
            self.machines: Sequence[Mapping[str, float]] = self._answer()
            """CPUs, GPUs, memory (bytes), ... of each."""
        except InputError as error:
            self.close()
            raise InputError(_refused(address, "Ray ends at once")) if str(error) == _GONE else error from None

    def reports(self, job: bytes, numbers: range, how: Mapping[str, Any]) -> Iterator[Any]:
        """What workers report of batches of a job (a pickled `Job`), in their order.

        Args:
            how: how many `workers` there are to be, and what each takes (`num_cpus`, `num_gpus`, `runtime_env`).

        Raises:
            WorkersLostError: if some died.
            InputError: if the cluster is gone.
        """
        self._asked += 1
        self._tell((self._asked, job, numbers, dict(how)))
        while isinstance(report := self._answer(), bytes):
            yield pickle.loads(report)
        self.machines = self._answer()
        if report:
            raise WorkersLostError(first_line(Exception(report)))

    def close(self) -> None:
        """Ends Ray here, and a cluster that was started for this."""
        for pipe in (self._driver.stdin, self._driver.stdout):
            if pipe is not None:
                try:
                    pipe.close()  # of its stdin the end is what the driver waits for
                except BrokenPipeError:
                    continue
        try:
            self._driver.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._driver.kill()
            self._driver.wait()

    def _tell(self, message: Any) -> None:
        pipe: Any = self._driver.stdin
        try:
            pickle.dump(message, pipe)
            pipe.flush()
        except OSError as error:
            raise InputError(_GONE) from error

    def _answer(self) -> Any:
        """The next message about this pass, not about one that was given up: a report, or why there are no more of them
        ('' where all came), or what the cluster has."""
        pipe: Any = self._driver.stdout
        number, kind, message = -1, "", None
        while number != self._asked:
            try:
                number, kind, message = pickle.load(pipe)
            except (EOFError, OSError, pickle.UnpicklingError) as error:
                raise InputError(_GONE) from error
        if kind == "refused":
            raise InputError(_refused(self._address, first_line(Exception(message))))
        return message


@contextmanager
def cluster(address: str | None, n_cpus: int) -> Generator[Cluster, None, None]:
    """The cluster at an address (`auto`: the one that runs here), or a new one of so many CPUs, which nothing outside
    this machine can reach.

    Raises:
        InputError: if Ray is not installed or no cluster answers.
    """
    needs_package("the engine ray", "ray", "ray")
    its = Cluster(address, n_cpus)
    try:
        yield its
    finally:
        its.close()


def _refused(address: str | None, why: str) -> str:
    if address is None or "pip install" in why:
        return f"a Ray cluster cannot be started here ({why})"
    token = (
        "" if address == "auto" or "RAY_AUTH_MODE" in os.environ else "; if it asks for a token, RAY_AUTH_MODE=token"
    )
    return f"no Ray cluster answers at '{address}' ({why}){token}"
