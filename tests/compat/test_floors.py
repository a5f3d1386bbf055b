"""The lower bounds in pyproject.toml are the versions that `make compat-oldest` runs the tests with."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent.parent


def versions(file: Path) -> dict[str, Version]:
    pins = [line.split("==") for line in file.read_text().splitlines()]
    return {canonicalize_name(name): Version(version) for name, version in pins}


OLDEST = versions(Path(__file__).parent / "oldest.txt")
NEEDS = [Requirement(text) for text in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]]


@pytest.mark.parametrize("need", NEEDS, ids=lambda need: need.name)
def test_lower_bounds_are_the_oldest_versions_tested(need: Requirement) -> None:
    (floor,) = [Version(bound.version) for bound in need.specifier if bound.operator == ">="]
    if need.name == "torch":  # old builds for CPUs are not everywhere, so its lower bound is TransformerLens's own
        assert OLDEST["torch"] == versions(ROOT / "constraints.txt")["torch"] >= floor
    else:
        assert OLDEST[canonicalize_name(need.name)] == floor


def test_the_oldest_transformer_lens_is_the_last_with_a_hooked_transformer() -> None:
    assert OLDEST["transformer-lens"] == Version("3.9.0")
