"""Values of a run's results that no result holds; a misfit is said in a sentence that names where it stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from lens_truth.errors import InputError
from lens_truth.io.readers import is_list, is_object

T = TypeVar("T")


@dataclass(frozen=True)
class Fields:
    """A value from a JSON file, and its place there.

    Every reader below raises an `InputError` for a value of another type; `maybe` reads null and what is absent as
    None.
    """

    value: Any
    where: str

    def __getitem__(self, name: str) -> Fields:
        """A member of an object."""
        return self.members()[name]

    def __contains__(self, name: str) -> bool:
        return is_object(self.value) and name in self.value

    def members(self) -> dict[str, Fields]:
        """Of an object."""
        if not is_object(self.value):
            raise InputError(f"{self.where} is not an object")
        return {name: Fields(value, f"{self.where}.{name}") for name, value in self.value.items()}

    def text(self) -> str:
        """Of any length, empty too."""
        if not isinstance(self.value, str):
            raise InputError(f"{self.where} is not a text")
        return self.value

    def texts(self) -> list[str]:
        """A list of texts."""
        if not is_list(self.value):
            raise InputError(f"{self.where} is not a list")
        return [Fields(value, f"{self.where}[{i}]").text() for i, value in enumerate(self.value)]

    def maybe(self, name: str, read: Callable[[Fields], T]) -> T | None:
        """A member, None where it is null or absent."""
        found = self.members().get(name)
        return None if found is None or found.value is None else read(found)
