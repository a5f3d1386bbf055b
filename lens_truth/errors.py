"""What is said to a user: `InputError` for a mistake, in one sentence that names what is wrong and where; `DataWarning`
for what the reader of a data set should know about it, which commands gather and print."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.util import find_spec


class InputError(ValueError):
    """Bad input from outside: a file, a flag, a model or data that do not fit. The command line prints its message and
    exits with code 2; in Python it is an ordinary `ValueError`.

    >>> try:
    ...     model = lens_truth.load(name)
    ... except lens_truth.InputError as error:
    ...     print(error)
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(one_line(sentence))


_LONGEST = 1000
"""Characters of a sentence: what it quotes from a file may be longer."""


def one_line(text: str) -> str:
    """A sentence that stays one whatever it quotes: on one line, without control characters, not too long."""
    text = re.sub(r"[^\S ]+", " ", text).strip()
    text = re.sub(r"[\x00-\x1f\x7f-\x9f\u200e-\u202e\u2066-\u2069]", lambda found: ascii(found[0])[1:-1], text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 300]} ... {text[-290:]}"


def first_line(error: BaseException) -> str:
    """The first line of what another library's error says, with the next one if it only announces that."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def shortened(text: str) -> str:
    """A text for a message: on one line, of 60 characters at most."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."


class DataWarning(UserWarning):
    """Data was read, but not all of it, or it contradicts itself.

    >>> warnings.simplefilter("error", lens_truth.DataWarning)  # such data is not to be used
    """


def notice(sentence: str) -> None:
    """Warns whoever reads the data."""
    warnings.warn(one_line(sentence), DataWarning, stacklevel=3)


@contextmanager
def gathered_notices(told: Callable[[str], None] | None = None) -> Generator[list[str], None, None]:
    """The sentences of all data warnings inside, each once and in order, and each told at once to whom it is given;
    other warnings are shown as ever."""
    sentences: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        shown = warnings.showwarning

        def gather(message: Warning | str, category: type[Warning], *rest: object) -> None:
            if not issubclass(category, DataWarning):
                shown(message, category, *rest)  # pyright: ignore[reportArgumentType] (as warnings passes them)
            elif str(message) not in sentences:
                sentences.append(str(message))
                if told is not None:
                    told(str(message))

        warnings.showwarning = gather
        yield sentences


def needs_package(what: str, package: str, extra: str) -> None:
    """Raises an InputError if what is wanted takes a package that an extra of ours installs, and it is not there."""
    if find_spec(package) is None:
        raise InputError(
            f"{what} needs the Python package {package}, which is not installed: pip install 'lens-truth[{extra}]'"
        )


def lacks_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's, NumPy's, PyTorch's on a processor, or a GPU's, which says so in words only."""
    said = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(s in str(error) for s in said))
