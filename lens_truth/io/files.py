"""Files and folders that are either whole or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from tokenize import TokenError
from typing import Any

from lens_truth.errors import InputError, first_line
from lens_truth.io.stages import stage

_BEYOND = (OverflowError, MemoryError, RecursionError)
DAMAGED_NPY = (OSError, ValueError, EOFError, TypeError, SyntaxError, TokenError, *_BEYOND)
"""What `np.load` raises for a file that is missing, damaged or something else: its header is a line of Python, which
may promise more than there is. Mapped into memory (`mmap_mode`), no more is taken than the file holds."""

_OURS = re.compile(r"\..+\.(\d+)\.lens-truth")
"""Names of what is being written, with the process that writes it."""
OF_WEIGHTS = "2-"
"""What a hash of weights begins with; those of earlier builds, SHA-256 of all bytes, do not."""
_IN_RUST = re.compile(r"\(os error (\d+)\)")
"""How safetensors and tokenizers name an error of the system; their exceptions hold no number."""


def write_file_with(path: Path, fill: Callable[[Path], Any]) -> None:
    """Calls `fill(temporary path)`, which writes it, and puts it in the place of `path`, in a folder that is made; on
    failure `path` is as it was (InputError, if the system could not write)."""
    temporary = _temporary(path)
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            fill(temporary)
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """A file with exactly this content, whole or not at all (`write_file_with`)."""
    write_file_with(path, lambda temporary: temporary.write_bytes(content))


@stage("save")
def write_folder_with(path: Path, fill: Callable[[Path], None]) -> None:
    """Calls `fill(temporary folder)`, which makes it, and puts it in the place of `path`; on failure `path` is as it
    was and nothing else stays behind. A kill between the two renames leaves the old folder beside its place, from where
    the next `alone_at` puts it back."""
    temporary, old = _temporary(path), _old(path)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            fill(temporary)
            if path.exists():
                path.rename(old)
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _recover(path)


def write_text(path: Path, text: str) -> None:
    """A UTF-8 file with exactly these characters, line ends included, whatever the system."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any, *, compact: bool = False) -> None:
    """JSON, indented unless nobody is to read it; NaN and infinity are refused, since JSON has no word for them."""
    layout: dict[str, Any] = {"separators": (",", ":")} if compact else {"indent": 2}
    write_text(path, json.dumps(value, **layout, allow_nan=False, ensure_ascii=False) + "\n")


def foreign_files(folder: Path, ours: Collection[str]) -> list[str]:
    """Everything below a folder that is not a folder and not one of ours, by its path from there."""
    below = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted({path.relative_to(folder).as_posix() for path in below} - set(ours))


@contextmanager
def writing(path: Path) -> Generator[None, None, None]:
    """While open, what the system says when it cannot write (a full disk, a folder that is read only) becomes an
    InputError that names the path."""
    try:
        yield
    except Exception as error:
        cause = system_error(error)
        if cause is None:
            raise
        raise InputError(f"{path}: cannot be written ({cause.strerror or first_line(cause)})") from error


def system_error(error: Exception) -> OSError | None:
    """The system's error, if it was the system that failed, in Python or below a library written in Rust."""
    if isinstance(error, OSError):
        return error
    found = _IN_RUST.search(str(error))
    return None if found is None else OSError(int(found[1]), os.strerror(int(found[1])))


def remove_leftovers(folder: Path) -> None:
    """Removes what killed runs had begun to write there; what another process is writing now stays."""
    for path in folder.glob(".*.lens-truth"):
        found = _OURS.fullmatch(path.name)
        if found and not _lives(int(found[1])):
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


@contextmanager
def alone_in(folder: Path, lock: Path) -> Generator[None, None, None]:
    """While open, no other run has the folder (InputError), since the lock file is held, and what killed runs had begun
    to write beside the lock is gone. The system lets go of the lock of a run that is killed. Folders that were made for
    the lock are removed again if nothing was written into them."""
    from filelock import FileLock, Timeout

    made = [parent for parent in lock.parents if not parent.exists()]
    held = FileLock(lock)
    try:
        with writing(folder):
            lock.parent.mkdir(parents=True, exist_ok=True)
            try:
                held.acquire(timeout=0)
            except Timeout:
                raise InputError(
                    f"{folder}: another run of lens_truth writes there now; wait for it, or choose another folder"
                ) from None
        remove_leftovers(lock.parent)
        yield
    finally:
        if held.is_locked:
            lock.unlink(missing_ok=True)
            held.release()
        with suppress(OSError):
            for parent in made:
                parent.rmdir()


@contextmanager
def alone_at(path: Path) -> Generator[None, None, None]:
    """While open, no other run replaces this folder (InputError). What a run that was killed while it replaced it had
    moved aside is back."""
    with alone_in(path, path.with_name(f".{path.name}.lens-truth.lock")):
        _recover(path)
        yield


def check_out(out: Path, flag: str = "--out") -> None:
    """Raises an InputError unless the folder exists or can be made; it is made when there is something to write."""
    there = next(path for path in (out, *out.absolute().parents) if path.exists() or path.is_symlink())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{flag} {out}: {there} is not a folder that can be written to")


def hash_of(*parts: bytes | str) -> str:
    """The first 16 hex digits of the SHA-256 of the parts, each preceded by its length."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()[:16]


def same_kind(one: str, other: str) -> bool:
    """Whether two hashes of weights can be compared: of one by an earlier build and one of now nothing follows."""
    return one.startswith(OF_WEIGHTS) == other.startswith(OF_WEIGHTS)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file in hex digits. While a file stays as it is, it is read once."""
    its = path.stat()
    return _sha256_of(path, its.st_ino, its.st_size, its.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256_of(path: Path, inode: int, size: int, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_hash(path: Path) -> str:
    """The first 16 hex digits of the SHA-256 of a file."""
    return sha256_of(path)[:16]


def _recover(path: Path) -> None:
    """Puts a folder back that a killed `write_folder_with` had moved aside, or removes it if its successor stands."""
    old = _old(path)
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
    elif old.exists():
        old.rename(path)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.lens-truth")


def _old(path: Path) -> Path:
    return path.with_name(f".{path.name}.old.lens-truth")


def _lives(process: int) -> bool:
    """Whether it is another process of this machine; ours has not begun to write when it looks."""
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return process != os.getpid()
