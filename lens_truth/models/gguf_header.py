"""What a GGUF file says of itself and where its tensors lie. Nothing of a damaged file is believed: every length in it
is held against what is left of the file, so reading ends, whatever the bytes are."""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

from lens_truth.errors import InputError, first_line

_PART = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
_NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_MOST_PARTS = 1000


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies, and how its numbers are stored."""

    name: str
    shape: tuple[int, ...]
    """Rows first, as PyTorch has it."""
    kind: int
    """GGML's number of the quantisation."""
    file: Path
    start: int
    n_bytes: int


@dataclass(frozen=True)
class Gguf:
    """A GGUF file, or all parts of one that was split: its metadata (of the first part) and its tensors by name."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, StoredTensor]

    @property
    def files(self) -> list[Path]:
        """Every part."""
        return sorted({tensor.file for tensor in self.tensors.values()} | {self.path})

    @property
    def architecture(self) -> str:
        """What llama.cpp calls the kind of model."""
        return str(self.metadata.get("general.architecture", ""))

    def own(self, key: str, default: Any = None) -> Any:
        """The entry `ARCHITECTURE.key`."""
        return self.metadata.get(f"{self.architecture}.{key}", default)


def opened_gguf(source: str | Path) -> Gguf:
    """The head of a GGUF file; an InputError says what is wrong with it, or that `gguf` is not installed."""
    check_gguf(str(source))
    return read_gguf(Path(source))


def check_gguf(name: str) -> None:
    """Raises an InputError if `gguf` is not installed."""
    if find_spec("gguf") is None:
        raise InputError(f"model '{name}' is a GGUF file, which is read with gguf: `pip install lens-truth[gguf]`")


def read_gguf(path: Path) -> Gguf:
    """The head of a file; of one that was split, those of all its parts. An InputError says what is wrong with it."""
    parts = _parts(path)
    for part in parts:
        if not part.is_file():
            where = f"its part {part.name} is missing; all {len(parts)} must lie in one folder"
            raise InputError(f"{path}: {where if len(parts) > 1 else 'there is no such file'}")
    return _read(tuple((part, part.stat().st_size, part.stat().st_mtime_ns) for part in parts))


@lru_cache(maxsize=4)
def _read(parts: tuple[tuple[Path, int, int], ...]) -> Gguf:
    """Remembered until a file changes: a head holds the vocabulary, and one projection at a time is asked for."""
    path = parts[0][0]
    metadata, tensors = _one_file(path)
    count, stated = metadata.get("split.count", 1), metadata.get("split.tensors.count")
    if count not in (0, len(parts)):
        raise InputError(
            f"{path}: is one of {count} parts, and its name does not say where the others lie; merge them with "
            "llama.cpp's `llama-gguf-split --merge`"
        )
    for part, *_ in parts[1:]:
        tensors |= _one_file(part)[1]
    if stated not in (None, len(tensors)):
        raise InputError(f"{path}: its parts hold {len(tensors)} tensors instead of {stated}")
    return Gguf(path, metadata, tensors)


def _parts(path: Path) -> list[Path]:
    found = _PART.fullmatch(path.name)
    if found is None or not 0 < (count := int(found["count"])) <= _MOST_PARTS:
        return [path]
    return [path.with_name(f"{found['stem']}-{number:05d}-of-{count:05d}.gguf") for number in range(1, count + 1)]


def _one_file(path: Path) -> tuple[dict[str, Any], dict[str, StoredTensor]]:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            reader = _Reader(data)
            n_tensors, n_entries = reader.start()
            metadata = {reader.string(): reader.value(reader.number(4)) for _ in reader.repeat(n_entries, 13)}
            return metadata, {t.name: t for t in _tensors(reader, path, n_tensors, metadata.get("general.alignment"))}
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: is not a readable GGUF file ({first_line(error)})") from error


def _tensors(reader: _Reader, path: Path, n_tensors: int, alignment: Any) -> Iterator[StoredTensor]:
    """Each with its place, which must lie inside the file."""
    from gguf.constants import GGML_QUANT_SIZES

    sizes: dict[int, tuple[int, int]] = {int(kind): size for kind, size in GGML_QUANT_SIZES.items()}
    rows = [reader.tensor() for _ in reader.repeat(n_tensors, 24)]
    step = alignment if isinstance(alignment, int) and alignment > 0 else 32
    begin = -(-reader.position // step) * step
    for name, shape, kind, offset in rows:
        if kind not in sizes:
            raise ValueError(f"tensor {name} is stored as type {kind}, which this version of gguf does not know")
        block, width = sizes[kind]
        if not shape or shape[-1] % block:
            raise ValueError(f"tensor {name} of shape {list(shape)} does not fill blocks of {block}")
        n_bytes = prod(shape) // block * width
        if begin + offset + n_bytes > len(reader.data):
            raise ValueError(
                f"it is cut off: tensor {name} ends at byte {begin + offset + n_bytes}, the file at {len(reader.data)}"
            )
        yield StoredTensor(name, shape, kind, path, begin + offset, n_bytes)


class _Reader:
    """Values one after the other; a ValueError says if the file ends before one does."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.position = data, 0

    def start(self) -> tuple[int, int]:
        """How many tensors and how many entries of metadata follow."""
        if self.data[:4] != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        self.position = 4
        if (version := self.number(4)) not in (2, 3):
            raise ValueError(f"its version is {version}; 2 and 3 are read, with their smallest byte first")
        return self.number(10), self.number(10)

    def repeat(self, n: int, least: int) -> range:
        """n times, if as many things of that many bytes at least can still follow."""
        self._check(n * least)
        return range(n)

    def number(self, kind: int) -> Any:
        return self._numbers(_NUMBERS[kind][1], 1)[0]

    def string(self) -> str:
        length = self.number(10)
        self._check(length)
        self.position += length
        return self.data[self.position - length : self.position].decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        if kind in _NUMBERS:
            return self.number(kind)
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY:
            raise ValueError(f"its metadata holds a value of type {kind}, which there is not")
        of, n = self.number(4), self.number(10)
        if of in _NUMBERS:
            return list(self._numbers(_NUMBERS[of][1], n))
        if of != _STRING:
            raise ValueError(f"its metadata holds an array of type {of}, which there is not")
        return [self.string() for _ in self.repeat(n, 8)]

    def tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name, n_dims = self.string(), self.number(4)
        if not 0 < n_dims <= 4:
            raise ValueError(f"tensor {name} has {n_dims} dimensions")
        shape = tuple(reversed(self._numbers("Q", n_dims)))
        return name, shape, self.number(4), self.number(10)

    def _numbers(self, letter: str, n: int) -> tuple[Any, ...]:
        size = n * struct.calcsize(f"<{letter}")
        self._check(size)
        self.position += size
        return struct.unpack_from(f"<{n}{letter}", self.data, self.position - size)

    def _check(self, size: int) -> None:
        if self.position + size > len(self.data):
            raise ValueError(f"it is cut off or damaged: {size} bytes are to follow byte {self.position}")
