"""What the reader of a data set should know about it, said as Python warnings that commands gather and print."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import contextmanager


class DataWarning(UserWarning):
    """Data was read, but not all of it, or it contradicts itself."""


def notice(sentence: str) -> None:
    """Warns whoever reads the data."""
    warnings.warn(sentence, DataWarning, stacklevel=3)


@contextmanager
def gathered_notices() -> Generator[list[str], None, None]:
    """The sentences of all data warnings inside, each once and in order; other warnings are shown as ever."""
    sentences: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        shown = warnings.showwarning

        def gather(message: Warning | str, category: type[Warning], *rest: object) -> None:
            if not issubclass(category, DataWarning):
                shown(message, category, *rest)  # pyright: ignore[reportArgumentType] (as warnings passes them)
            elif str(message) not in sentences:
                sentences.append(str(message))

        warnings.showwarning = gather
        yield sentences
