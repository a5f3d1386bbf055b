"""Whether what the flags of a command name is there: looked at before anything heavy is imported."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

from lens_truth.errors import InputError
from lens_truth.models.names import model_source

_TO_BE_WRITTEN = ("out", "save")
_FILE = re.compile(r"(\w[\w-]*=)?([a-z][a-z-]+:)?(?P<path>.+\.(jsonl|json|csv|npy|safetensors)(\.gz)?)")
"""A file as data and scores name it: NAME=FILE, FORMAT:FILE or FILE."""


def check_arguments(config: Any) -> None:
    """Raises an InputError that names the first file, folder or model of a command's flags that is not there."""
    given = cast("dict[str, object]", vars(config))
    models = ("inputs",) if "inputs" in given else ("model", "base", "child", "unrelated", "scores_from")
    for flag, value in given.items():
        values = cast("tuple[object, ...]", value if isinstance(value, tuple) else (value,))
        for one in values:
            if isinstance(one, Path) and flag not in _TO_BE_WRITTEN:
                _check_there(one)
            elif isinstance(one, str) and (file := _FILE.fullmatch(one)):
                _check_there(Path(file["path"]))
            elif isinstance(one, str) and flag in models and not Path(one).is_file():  # which a command names itself
                model_source(one.rpartition("=")[2] if flag == "inputs" else one)


def _check_there(path: Path) -> None:
    try:
        path.stat()
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file or folder") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
