"""Benchmarks of world facts."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from lens_truth import InputError, fact_benchmarks
from lens_truth.commands import ablate
from lens_truth.commands.ablate_data import parts_of


def test_they_ask_each_kind_once_a_question() -> None:
    by_name = {benchmark.name: benchmark for benchmark in fact_benchmarks("test", 40, seed=0, difficulty="passing")}
    assert list(by_name) == ["conflict", "open", "judgement", "reading", "unstated", "closed-book"]
    assert {name: len(benchmark.wanted) for name, benchmark in by_name.items()} == dict.fromkeys(by_name, 40)
    assert by_name["conflict"].wanted == by_name["open"].wanted
    assert all("-passing-" in example.id for example in by_name["open"].examples)
    assert set(by_name["unstated"].wanted) > {"not stated"}
    assert by_name["judgement"].wanted.count("yes") == 20


def test_scores_validation_and_test_share_no_subject() -> None:
    parts = parts_of(ablate.Config(data="facts:conflict@rival", questions=60, limit=400), sees=False)
    sides = [parts.to_score, *([e for b in side for e in b.examples] for side in (parts.validation, parts.test))]
    groups = [{example.group for example in side} for side in sides]
    for one, other in combinations(groups, 2):
        assert one
        assert other
        assert not one & other
    assert len(parts.to_score) == 400
    assert all("-rival-" in example.id for example in parts.to_score)


def test_scores_take_the_train_split(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gates are chosen and tested on the other splits"):
        ablate._inputs(ablate.Config(data="facts:conflict/test", out=tmp_path))
