"""`DataFile`: a file of rows on its way to be examples, with what its readers have to know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lens_truth.data.examples import Example
from lens_truth.data.images import check_images
from lens_truth.data.row_fields import Fields
from lens_truth.errors import InputError
from lens_truth.io.rows import Rows


@dataclass
class DataFile:
    """The rows of a file, which are read once and counted."""

    path: Path
    rows: Rows
    source: str = ""
    """What ids begin with: the name of the data set."""
    images: Path | None = None
    """The folder of the image files that rows name."""
    images_needed: bool = True
    """False for looking at rows alone, whose images need not be there."""
    limit: int | None = None
    """Only the first so many examples."""
    part: str = ""
    """The part of the file that is wanted; empty for all of it."""
    n_rows: int = 0
    """Rows read so far."""

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for place, row in self.rows:
            self.n_rows += 1
            yield place, row

    def fields(self) -> Iterator[tuple[str, Fields]]:
        """Where each row stands, and its fields."""
        return ((place, Fields(row, f"{self.path}, {place}")) for place, row in self)

    def check_folder(self) -> None:
        """Raises an InputError if no folder of images is there, although images are needed."""
        if self.images is None and self.images_needed:
            raise InputError(f"{self.path}: its rows name image files; say in which folder they lie (--images FOLDER)")
        if self.images is not None and not self.images.is_dir():
            raise InputError(f"{self.images}: there is no such folder of images")

    def first(self, examples: Sequence[Example]) -> list[Example]:
        """As many as wanted; an InputError counts the images of these that are not there."""
        wanted = list(examples[: self.limit])
        if not wanted:
            raise InputError(f"{self.path}: holds no rows")
        if self.images_needed:
            check_images(example.image for example in wanted)
        return wanted


Reader = Callable[[DataFile], list[Example]]
