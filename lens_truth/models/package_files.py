"""Which files pip has installed for a package, by its RECORD, and whether their bytes are still those."""

from __future__ import annotations

import base64
import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lens_truth.errors import InputError
from lens_truth.io.files import sha256_of

if TYPE_CHECKING:
    from importlib.metadata import Distribution

PART = re.compile(r"(?P<whole>.+\.gguf)[-._]?(?:part|chunk|p)?[-._]?(?P<number>\d+)", re.IGNORECASE)
"""How the parts of a file are called that is to be joined."""
LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$")
"""How names end of all but the first file that llama.cpp has split a model into."""


@dataclass(frozen=True)
class PackageFile:
    """A file that a package was installed with, whether it is still there or not."""

    package: str
    """`NAME==VERSION`."""
    path: Path
    said: str
    """`sha256=...` as RECORD writes it, or nothing."""

    @property
    def name(self) -> str:
        """Without its folders."""
        return self.path.name

    def checked(self, cure: str = "") -> Path:
        """Where it lies. An InputError says if it is gone, or not what RECORD says, and what to do about it: the cure,
        or else to install the package anew."""
        cure = cure or f"`pip install --no-deps --force-reinstall {self.package}`"
        if not self.path.is_file():
            raise InputError(f"{self.path}: is gone: {cure}")
        kind, _, value = self.said.partition("=")
        if kind == "sha256" and (found := _as_in_record(sha256_of(self.path))) != value.rstrip("="):
            raise InputError(
                f"{self.path}: is not what {self.package} was installed with (its RECORD says sha256 {value[:8]}..., "
                f"it has {found[:8]}...): {cure}"
            )
        return self.path


def _as_in_record(digest: str) -> str:
    return base64.urlsafe_b64encode(bytes.fromhex(digest)).decode().rstrip("=")


def installed(package: str) -> Distribution | None:
    """The first package of that name that Python finds, if it is whole enough to have a version."""
    from importlib.metadata import distribution  # takes as long as all the rest of help

    try:
        its = distribution(package)
        return its if its.version else None
    except (ImportError, FileNotFoundError, KeyError, ValueError):  # no package; no METADATA, no such entry, no text
        return None


def places(package: str) -> list[str]:
    """The folders in which Python finds a package of that name; it takes the first."""
    from importlib.metadata import distributions

    return list(dict.fromkeys(str(its.locate_file("")) for its in distributions(name=package)))


def in_place(distribution: Distribution) -> bool:
    """Whether pip has only noted where a package lies (`pip install -e`), so that RECORD does not list its files."""
    try:
        return bool(json.loads(distribution.read_text("direct_url.json") or "{}")["dir_info"]["editable"])
    except (ValueError, KeyError, TypeError):
        return False


def gguf_files(distribution: Distribution) -> list[PackageFile] | None:
    """The GGUF files of a package and the parts of such, by its RECORD; None if it has none that can be read, as where
    something else than pip has installed it.

    `distribution.files` would not do: from Python 3.12 on, and wherever the backport `importlib_metadata` is loaded
    (circuitsvis and pygments load it; its finder then answers for `importlib.metadata` too), it passes over files that
    are gone.
    """
    try:
        record = distribution.read_text("RECORD")
        rows = [[*row, ""] for row in csv.reader((record or "").splitlines()) if row]
    except (ValueError, csv.Error):  # it is no text
        return None
    if not rows:
        return None
    package = f"{distribution.name}=={distribution.version}"
    return [
        PackageFile(package, Path(str(distribution.locate_file(path))), said)
        for path, said, *_ in rows
        if path.endswith(".gguf") or PART.fullmatch(path.rpartition("/")[2])
    ]
