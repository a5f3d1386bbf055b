"""What CITATION.cff and docs/citing.md say of this package is what pyproject.toml says."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_version_and_licence_are_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert f"version = {{{project['version']}}}" in (ROOT / "docs" / "citing.md").read_text()


def test_citation_has_what_its_schema_requires() -> None:
    """Version 1.2.0 of the Citation File Format."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    for work in (citation, *citation["references"]):
        assert isinstance(work["title"], str) and work["authors"]
        assert all(author.get("name") or author.get("family-names") for author in work["authors"])
    assert all(isinstance(work["type"], str) for work in citation["references"]) and isinstance(
        citation["message"], str
    )
