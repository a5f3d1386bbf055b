"""Files and folders that are either whole or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from tokenize import TokenError
from typing import Any

from lens_truth.errors import InputError

DAMAGED_NPY = (OSError, ValueError, EOFError, TypeError, SyntaxError, TokenError)
"""What `np.load` raises for a file that is missing, damaged or something else: its header is a line of Python."""


def write_with(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write(temporary)` and renames the temporary file to `path`; on failure nothing stays behind. The temporary
    name keeps the suffix, since many writers choose their format by it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        write(temporary)
        temporary.chmod(mode)  # some writers make files that only their owner can read
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_folder_with(path: Path, fill: Callable[[Path], None]) -> None:
    """Calls `fill(temporary folder)`, which makes it, and puts it in the place of `path`; on failure `path` is as it
    was and nothing else stays behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        fill(temporary)
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """A UTF-8 file with exactly these characters, line ends included, whatever the system."""
    write_with(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline=""))


def write_json(path: Path, value: Any, *, compact: bool = False) -> None:
    """JSON, indented unless nobody is to read it; NaN and infinity are refused, since JSON has no word for them."""
    layout: dict[str, Any] = {"separators": (",", ":")} if compact else {"indent": 2}
    write_text(path, json.dumps(value, **layout, allow_nan=False, ensure_ascii=False) + "\n")


def hash_of(*parts: bytes | str) -> str:
    """The first 16 hex digits of the SHA-256 of the parts, each preceded by its length."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()[:16]


def check_out(out: Path) -> None:
    """Raises an InputError unless the folder exists or can be made; it is made when there is something to write."""
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise InputError(f"--out {out}: {there} is not a folder that can be written to")
