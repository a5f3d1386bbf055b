"""What can be wrong with a file: changes of its bytes, of a value in its JSON, of a cell in its table, of the header of
its arrays. Every change follows from a seed."""

from __future__ import annotations

import csv
import gzip
import io
import json
import struct
from collections.abc import Callable
from random import Random
from typing import Any

Mutation = Callable[[Random, bytes], bytes]


class Raw(str):
    """JSON that Python would not write."""


DEEP = 3000
NUMBERS = (0, -1, 1, 2, 3, 0.5, -0.0, 1e-320, 1e15, 1e16, 1.7e308, 2**31, 2**53 + 1, 2**63, 2**64, 10**25, 10**400)
HOSTILE: tuple[Any, ...] = (
    *NUMBERS,
    *(float("nan"), float("inf"), float("-inf"), None, True, False),
    *("", " ", "x", "yes", "1", "nan", "-1", "é☕", "\x00", "a\nb", "../../x", "/etc/passwd", "\u202e", "x" * 5000),
    *([], {}, [[]], [None], [1, "x"], [[1, 2], [3]], {"a": 1}, {"": {}}, [0] * 500, [[0.5] * 7] * 7),
    *(Raw("[" * DEEP + "]" * DEEP), Raw('{"a":' * DEEP + "1" + "}" * DEEP), Raw("1" * 5000), Raw(r'"\ud800"')),
    *(Raw("1e999"), Raw("-1e999"), Raw("01"), Raw("{"), Raw("")),
)


def mutated(random: Random, content: bytes, kinds: tuple[Mutation, ...]) -> bytes:
    """The content after one change, seldom two or three."""
    for _ in range(random.choice((1, 1, 1, 1, 2, 3))):
        content = random.choice(kinds)(random, content)
    return content


# -- bytes ------------------------------------------------------------------------------------------------------------


def of_bytes(random: Random, content: bytes) -> bytes:
    """Cut, changed, repeated, emptied, in another encoding, packed."""
    start = random.randrange(len(content) + 1)
    stop = min(len(content), start + random.choice((1, 1, 4, 40, 400)))
    before, some, after = content[:start], content[start:stop], content[stop:]
    return random.choice(
        (
            lambda: before,
            lambda: before + after,
            lambda: before + some * random.choice((2, 3, 50)) + after,
            lambda: before + bytes(byte ^ random.randrange(1, 256) for byte in some) + after,
            lambda: before + random.randbytes(random.choice((1, 4, 30))) + after,
            lambda: before + random.choice((b"\x00", b"\xff\xfe", b"\n", b'"', b"\\", b",", b"[", b"}", b"\r")) + after,
            lambda: before + random.choice((b"nan", b"inf", b"1e999", b"-", b"9" * 30, b"\xc3", b"\xf0\x9f")) + after,
            lambda: content.decode("latin-1").encode(random.choice(("utf-8", "utf-16", "utf-32"))),
            lambda: b"\xef\xbb\xbf" + content,
            lambda: random.choice((b"", b" ", b"\n", b"null", b"[]", b"{}", b"0", b"[" * DEEP, b"\x93NUMPY")),
            lambda: random.randbytes(random.choice((1, 8, 200))),
            lambda: content.replace(b"\n", random.choice((b"\r", b"\r\n", b"\n\n", b""))),
            lambda: gzip.compress(content, mtime=0),
        )
    )()


# -- JSON -------------------------------------------------------------------------------------------------------------


def of_json(random: Random, content: bytes) -> bytes:
    """One value of a JSON text, or of one of its lines, is another, is gone, or stands there twice."""
    try:
        lines = content.decode().split("\n")
        at = random.choice([i for i, line in enumerate(lines) if line.strip()])
        try:
            value = json.loads(lines[at])
        except ValueError:  # it has many lines
            lines, at = [content.decode()], 0
            value = json.loads(lines[at])
    except (ValueError, IndexError, RecursionError):
        return of_bytes(random, content)
    lines[at] = written(_changed(random, value))
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _changed(random: Random, value: Any) -> Any:
    inner = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    if not inner or random.random() < 0.15:
        return random.choice(HOSTILE)
    at = random.choice(inner)
    kind = random.random()
    if kind < 0.8:
        changed = value.copy()
        changed[at] = _changed(random, value[at])
        return changed
    changed = value.copy()
    if kind < 0.88:
        del changed[at]
    elif isinstance(changed, list):
        changed[at:at] = [changed[at]] * random.choice((1, 1, 20))
    elif kind < 0.94:
        changed[random.choice((f"{at}s", "", "unknown", f" {at}"))] = changed.pop(at)
    else:  # a name that stands there twice
        return Raw(f"{written(changed)[:-1]}, {json.dumps(at)}: {written(random.choice(HOSTILE))}}}")
    return changed


def written(value: Any) -> str:
    """JSON, in which what is raw stands as it is, NaN and infinity too."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)}: {written(its)}" for name, its in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value)


# -- tables -----------------------------------------------------------------------------------------------------------


CELLS = ("1e400", "1_0", "٣", '"', "1,5", "0x10", "1+2j", " 0.5 ", "9" * 20, "55", "0.5%")


def of_csv(random: Random, content: bytes) -> bytes:
    """One cell, or one name in the header, is another; a column or a row is gone or stands there twice."""
    try:
        rows = list(csv.reader(io.StringIO(content.decode())))
        row = random.choice([0, random.randrange(len(rows))])
        at = random.randrange(len(rows[row]))
    except (ValueError, IndexError, csv.Error):
        return of_bytes(random, content)
    kind = random.random()
    if kind < 0.7:
        value = random.choice((*HOSTILE, *CELLS))
        rows[row][at] = value if isinstance(value, str) else json.dumps(value)
    elif kind < 0.8:
        rows[row].insert(at, rows[row][at])
    elif kind < 0.9:
        del rows[row][at]
    else:
        rows.insert(row, rows[row])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=random.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))).writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


# -- arrays -----------------------------------------------------------------------------------------------------------

SHAPES = ("()", "(0,)", "(3,)", "(-1, 4)", "(3, 4, 1)", "(10**9, 10**9)", "(1000000, 100000)", "(3.0, 4)", "(True, 12)")
SHAPES += ("(12, 1)", "(1, 0)", "(99999999999999999999, 1)", "(" + "1," * 70 + ")", "(" * 200 + ")" * 200, "3", "None")
TYPES = ("'<f8'", "'>f8'", "'<f2'", "'<f4'", "'<i8'", "'|b1'", "'<c16'", "'|O'", "'<U9'", "'|V8'", "'<M8[s]'", "'f'")
TYPES += ("[('a', '<f8')]", "'|S0'", "None", "'<f99'", "5", "'" + "x" * 200 + "'")


def of_npy(random: Random, content: bytes) -> bytes:
    """The header of a `.npy` file promises another array."""
    try:
        length = struct.unpack("<H", content[8:10])[0]
        header = content[10 : 10 + length].decode()
        shape = header[header.index("'shape': ") + 9 : header.rindex("), }") + 1]
        kind = header[header.index("'descr': ") + 9 : header.index(", 'fortran")]
    except (ValueError, struct.error):
        return of_bytes(random, content)
    if random.random() < 0.5:
        header = header.replace(shape, random.choice(SHAPES))
    elif random.random() < 0.7:
        header = header.replace(kind, random.choice(TYPES))
    else:
        old, new = random.choice((("False", "True"), ("'descr'", "'d'"), ("}", "} + 1"), ("{", "[" * 300)))
        header = header.replace(old, new)
    packed = header.rstrip().encode() + b"\n"
    version = random.choice((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x09\x00"))
    size = struct.pack("<H" if version[0] == 1 else "<I", random.choice((len(packed),) * 4 + (0, 65000)))
    data = content[10 + length :]
    special = struct.pack("<d", random.choice((float("nan"), float("inf"), 1.7e308, -1.7e308)))
    return content[:6] + version + size + packed + random.choice((data, data, data[:-1], special + data[8:], b""))


def of_safetensors(random: Random, content: bytes) -> bytes:
    """The header of a `.safetensors` file, which is JSON after its length, and the text in its metadata."""
    try:
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        about = header.get("__metadata__")
    except (ValueError, AttributeError, struct.error, RecursionError):
        return of_bytes(random, content)
    if isinstance(about, dict) and about and random.random() < 0.5:
        name = random.choice(list(about))
        if isinstance(about[name], str):
            header["__metadata__"] = {
                **about,
                name: of_json(random, about[name].encode("utf-8", "surrogatepass")).decode("utf-8", "replace"),
            }
        text = json.dumps(header)
    else:
        text = written(_changed(random, header))
    packed = text.encode("utf-8", "surrogatepass")
    size = struct.pack("<Q", random.choice((len(packed),) * 6 + (0, 2**40, 2**63)))
    return size + packed + content[8 + length :]
