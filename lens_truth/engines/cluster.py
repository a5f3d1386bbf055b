"""A Ray cluster for one run: one that is there already, or one of this machine's cores that ends with the run."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from lens_truth.errors import InputError, first_line

_LOGGERS = ("ray", "ray.data")


@contextmanager
def cluster(address: str | None, n_cpus: int) -> Generator[Any, None, None]:
    """The package `ray`, connected: to the cluster that the caller has open already, to the one at an address (`auto`:
    the one that runs here), or to a new one of so many CPUs, which nothing outside this machine can reach.

    Raises:
        InputError: if Ray is not installed or no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # a cluster that is gone is not replaced by another
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise InputError(
            f"the engine ray needs the Python package {error.name}, which is not installed: pip install "
            "'lens-truth[ray]'"
        ) from error
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what fails is said in one sentence, or done again
    ray_: Any = ray
    if ray_.is_initialized():
        yield ray_
        return
    quiet: dict[str, Any] = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    where = {"address": address} if address else {"address": "local", "num_cpus": n_cpus, "include_dashboard": False}
    try:
        ray_.init(**where, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        what = f"no Ray cluster answers at '{address}'" if address else "a Ray cluster cannot be started here"
        raise InputError(f"{what} ({first_line(error)})") from error
    try:
        yield ray_
    finally:
        ray_.shutdown()
