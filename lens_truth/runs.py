"""What every command leaves behind: `result.json` with results, configuration, versions, hashes and time."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from lens_truth.files import write_json

_PACKAGES = ("lens-truth", "torch", "transformers", "transformer-lens", "numpy", "scikit-learn")


class Run:
    """One run of a command; the clock starts when it is made."""

    def __init__(self, command: str, config: Any) -> None:
        self._command, self._config = command, config
        self._start = time.perf_counter()

    def write(self, out: Path, results: Mapping[str, Any], hashes: Mapping[str, Any], warnings: list[str]) -> Path:
        """Writes `out/result.json`, last of all files of a run, so that it stands for a finished one."""
        record = {
            "command": self._command,
            "results": results,
            "warnings": warnings,
            "config": {name: for_json(value) for name, value in asdict(self._config).items()},
            "hashes": hashes,
            "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
            "seconds": round(time.perf_counter() - self._start, 2),
        }
        path = out / "result.json"
        write_json(path, record)
        return path


def for_json(value: Any) -> Any:
    """The value of a flag as `result.json` says it: paths as text, tuples as lists."""
    if isinstance(value, Path):
        return str(value)
    return [for_json(item) for item in cast("Sequence[Any]", value)] if isinstance(value, list | tuple) else value
