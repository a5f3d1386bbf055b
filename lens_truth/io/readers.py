"""Text files as rows and values; whatever is wrong with one is said in a sentence that names file and line."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard

from lens_truth.errors import InputError, shortened


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Whether a value from JSON is a list: `isinstance`, after which a type checker knows its items as Any."""
    return isinstance(value, list)


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether a value from JSON is an object, whose names are text."""
    return isinstance(value, dict)


def open_input(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 text file, packed with gzip if it begins as such files do or its name ends in `.gz`."""
    try:
        with path.open("rb") as file:
            begins = file.read(4)
        if begins == b"PAR1":  # what the Hugging Face hub has
            raise InputError(
                f"{path}: is a Parquet file; pandas.read_parquet(FILE).to_json(NEW, orient='records') unpacks it"
            )
        packed = path.suffix == ".gz" or begins[:2] == b"\x1f\x8b"
        with (gzip.open if packed else open)(
            path, "rt", encoding="utf-8-sig", newline=""
        ) as file:  # with or without a byte order mark
            yield from file
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: the gzip file is damaged ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of a file of JSON lines; blank lines are passed over."""
    for line, text in enumerate(open_input(path), start=1):
        if text.strip():
            row = _parsed(path, text, line)
            if not isinstance(row, dict):
                raise InputError(f"{path}, line {line}: is not a JSON object")
            yield line, row


def read_text(path: Path) -> str:
    """A text file with line ends as Python has them, whatever system wrote it."""
    return "".join(open_input(path)).replace("\r\n", "\n")


def read_json(path: Path) -> Any:
    """The value in a file of JSON."""
    return _parsed(path, "".join(open_input(path)))


def _parsed(path: Path, text: str, line: int | None = None) -> Any:
    """The value of a line, or of a whole file; an object may have a name but once."""
    where = str(path) if line is None else f"{path}, line {line}"
    try:
        value = json.loads(text, object_pairs_hook=partial(_once, where))
        escaped = re.search(r"\\u[dD][89a-fA-F]", text)  # without it there are none, and most texts have none
        halves = escaped and re.search("[\ud800-\udfff]", json.dumps(value, ensure_ascii=False))
    except InputError:
        raise
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {line or error.lineno}: is not JSON ({error.msg})") from error
    except (ValueError, RecursionError) as error:  # numbers of more than 4,300 digits, lists inside a thousand others
        raise InputError(f"{where}: is JSON that Python cannot read ({error})") from error
    if halves:
        raise InputError(f"{where}: holds half of a surrogate pair, which is no character")
    return value


def _once(where: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{where}: '{shortened(twice)}' stands there twice")
    return found


def misplaced(file: Path, path: Sequence[str | int], why: str) -> InputError:
    """An error to be raised that names line and column, from 1, where the value at a path stands in a file of JSON; of
    what is not there, where the value stands that lacks it."""
    text = read_text(file)
    scan, place = json.JSONDecoder().raw_decode, _begin(text, 0)
    for step in path:
        end, count, found = place + 1, 0, None
        while found is None and text[(at := _begin(text, end))] not in "}]":
            name: Any = count
            if text[place] == "{":
                name, end = scan(text, at)
                at = _begin(text, end)
            _, end = scan(text, at)
            count, found = count + 1, at if name == step else None
        if found is None:
            break
        place = found
    line, column = text.count("\n", 0, place) + 1, place - text.rfind("\n", 0, place)
    return InputError(f"{file}, line {line}, column {column}: {dotted(path).removeprefix('.')} {why}")


def _begin(text: str, start: int) -> int:
    """Where the next value or bracket begins."""
    while text[start] in " \t\r\n,:":
        start += 1
    return start


def dotted(path: Sequence[str | int]) -> str:
    """A path as it is written: `.results.evidence[0]`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
