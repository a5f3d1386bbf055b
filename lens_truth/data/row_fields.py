"""What the fields of a row say: text, label, evidence, boxes; whatever is wrong is said in a sentence that names row
and field. Numbers may be NumPy's, and what is missing may be None, NaN or empty."""

from __future__ import annotations

import ast
import math
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from lens_truth.data.drawing import Box
from lens_truth.errors import InputError, shortened
from lens_truth.io.readers import is_list

SUPPORTED = 1
"""The label of an answer that its context supports."""
HALLUCINATED = 0
"""The label of every other answer."""

NOT_STATED = "not stated"
"""The supported answer to a question that its context does not answer."""
UNSTATED = ("unknown", "unanswerable", "no answer", "no information", "not mentioned", "cannot be answered")
"""Other ways to say so."""

_LABELS: dict[str, int] = {
    **dict.fromkeys(("1", "1.0", "gold"), SUPPORTED),
    **dict.fromkeys(("0", "0.0", "hallucinated"), HALLUCINATED),
}
_FLAGS = {**dict.fromkeys(("1", "1.0", "true"), True), **dict.fromkeys(("0", "0.0", "false"), False)}
TRUTHS: dict[str, int] = {"true": SUPPORTED, "false": HALLUCINATED}
"""Labels of statements, beside those of all rows."""


class Fields:
    """The fields of one row, some of which may go by other names than here."""

    def __init__(self, row: Mapping[str, Any], where: str, names: Mapping[str, str] | None = None) -> None:
        self._row, self._where, self._names = row, where, names or {}

    def of(self, row: Mapping[str, Any], names: Mapping[str, str] | None = None) -> Fields:
        """The fields of what stands inside this row."""
        return Fields(row, self._where, names)

    def wrong(self, why: str) -> InputError:
        """An error that names the row, to be raised."""
        return InputError(f"{self._where}: {why}")

    def value(self, field: str) -> tuple[str, Any]:
        """A field's name in this row, and what it holds: None where it is missing."""
        name = self._names.get(field, field)
        return name, plain(self._row.get(name))

    def text(self, field: str, default: str | None = None, hint: str = "") -> str:
        """Text, which must not be empty unless there is a default."""
        name, value = self.value(field)
        if value is None and default is None:
            raise self.wrong(f"has no field '{name}'{hint}")
        if not isinstance(value, str | None):
            raise self.wrong(f"field '{name}' is not text")
        if default is None and value is not None and not value.strip():
            raise self.wrong(f"field '{name}' is empty{hint}")
        return value or default or ""

    def word(self, field: str, default: str) -> str:
        """Whatever stands there, as text."""
        _, value = self.value(field)
        return default if value in (None, "") else str(value)

    def texts(self, field: str) -> list[str]:
        """Texts, none where the field is missing; a list may stand as one text, as Python or JSON writes it, and any
        other text is the only one."""
        name, value = self.value(field)
        if isinstance(value, str) and value.strip().startswith("["):
            try:
                value = ast.literal_eval(value.strip())
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                raise self.wrong(f"field '{name}' is not a list of texts") from None
        texts: Any = [value] if isinstance(value, str) else value or []
        if not is_list(texts) or not all(isinstance(text, str) for text in texts):
            raise self.wrong(f"field '{name}' is not a list of texts")
        return [text.strip() for text in texts if text.strip()]

    def label(self, more: Mapping[str, int] | None = None) -> int:
        """1 (supported) or 0 (hallucinated); also TruthProbe's words, gold and hallucinated, and `more`."""
        name, value = self.value("label")
        if value in (None, ""):
            of = "" if name == "label" else f" in field '{name}'"
            raise self.wrong(f"has no label{of}")
        label = {**_LABELS, **(more or {})}.get(str(value).strip().lower())
        if label is None or (isinstance(value, bool) and not more):
            raise self.wrong(f"label is {value!r}, not 1 (supported) or 0 (hallucinated)")
        return label

    def flag(self, field: str) -> bool:
        """1 or 0, as numbers or words are written."""
        name, value = self.value(field)
        said = str(value).strip().lower()
        if said not in _FLAGS:
            raise self.wrong(f"field '{name}' is {value!r}, not 1 or 0")
        return _FLAGS[said]

    def evidence(self, context: str) -> tuple[tuple[int, int], ...]:
        """The characters of the context that each item means, by where they are or by what they say."""
        name, items = self.value("evidence")
        if items and not is_list(items):
            raise self.wrong(f"field '{name}' is not a list of [start, stop] pairs or texts")
        return tuple(self._span(item, context, name) for item in items or ())

    def _span(self, item: Any, context: str, name: str) -> tuple[int, int]:
        if isinstance(item, str):
            return self._only_place(item, context, name)
        if not (is_list(item) and len(item) == 2 and all(type(end) is int for end in item)):
            raise self.wrong(f"field '{name}' is not a list of [start, stop] pairs or texts")
        start, stop = item
        if not 0 <= start < stop <= len(context):
            raise self.wrong(f"evidence span [{start}, {stop}] does not lie in the context")
        return start, stop

    def _only_place(self, quote: str, context: str, name: str) -> tuple[int, int]:
        if not quote.strip():
            raise self.wrong(f"a text in field '{name}' is empty")
        starts = [found.start() for found in re.finditer(f"(?={re.escape(quote)})", context)]  # also where they overlap
        if not starts:
            raise self.wrong(f"evidence '{shortened(quote)}' does not occur in the context")
        if len(starts) > 1:
            raise self.wrong(
                f"evidence '{shortened(quote)}' occurs {len(starts)} times in the context; [start, stop] in place of "
                "the text says which one is meant"
            )
        return starts[0], starts[0] + len(quote)

    def boxes(self, image: str) -> tuple[Box, ...]:
        """Boxes of the image, none of them empty."""
        name, value = self.value("boxes")
        boxes: Any = value or []
        if not is_list(boxes) or not all(is_list(box) and len(box) == 4 and all(map(is_number, box)) for box in boxes):
            raise self.wrong(f"field '{name}' is not a list of [left, top, right, bottom], each 4 finite numbers")
        if boxes and not image:
            raise self.wrong("has boxes but no image")
        for left, top, right, bottom in boxes:
            if left >= right or top >= bottom:
                raise self.wrong(f"box {[left, top, right, bottom]} is empty or inverted")
        return tuple((float(left), float(top), float(right), float(bottom)) for left, top, right, bottom in boxes)


def is_blank(answer: Any) -> bool:
    """Whether an answer is a text in which nothing stands."""
    return isinstance(answer, str) and not answer.strip()


def plain(value: Any) -> Any:
    """Python's own for NumPy's, lists for arrays and tuples, and None for what is missing in a data frame."""
    if isinstance(value, np.ndarray | np.generic):
        return plain(cast("Any", value).tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in cast("Sequence[Any]", value)]
    missing = (isinstance(value, float) and math.isnan(value)) or type(value).__name__ in ("NAType", "NaTType")
    return None if missing else value


def is_number(value: Any) -> bool:
    """Whether it is one, and finite."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # neither NaN nor infinity
