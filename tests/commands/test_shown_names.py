"""What titles call models that are given by their paths."""

from __future__ import annotations

import pytest

from lens_truth.commands.ablate import Config
from lens_truth.commands.run import shown_name


@pytest.mark.parametrize(
    ("given", "shown"), [("/disk/models/base", "base"), ("/disk/base/", "base"), ("org/base", "org/base")]
)
def test_a_folder_by_its_last_part(given: str, shown: str) -> None:
    assert shown_name(given) == shown


def test_two_folders_that_end_alike_keep_their_paths() -> None:
    config = Config(model=("/a/base", "/b/base", "/b/child", "/b/child"), scores_from="/a/base")
    assert [config.named(model) for model in config.model[:3]] == ["/a/base", "/b/base", "child"]
