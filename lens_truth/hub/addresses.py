"""How a thing on the Hugging Face Hub is named where a file may stand too: `hub:ORG/NAME[@REVISION][/FILE]`."""

from __future__ import annotations

import re
from typing import cast

from lens_truth.errors import InputError

PREFIX = "hub:"
"""What stands in front."""
_ADDRESS = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?(?:/(?P<name>.+))?")


def parts_of(address: str) -> tuple[str, str | None, str | None]:
    """Repository, name and revision of `ORG/NAME[@REVISION][/FILE]`.

    Raises:
        InputError: if it is not written so.
    """
    found = _ADDRESS.fullmatch(address.removeprefix(PREFIX))
    if found is None:
        raise InputError(f"{address}: a repository is written ORG/NAME, ORG/NAME@REVISION or ORG/NAME@REVISION/FILE")
    repo, revision, name = cast("tuple[str, str | None, str | None]", found.group("repo", "revision", "name"))
    return repo, name, revision
