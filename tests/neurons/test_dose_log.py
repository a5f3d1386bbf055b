"""Logs of dose curves in every shape in which they are published."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from lens_truth.errors import InputError
from lens_truth.neurons.dose_log import read_dose_log

ROWS = [
    {"id": i, "alpha": alpha, "run": run, "compliance": bool((i + alpha) % 2), "response": "B"}
    for run in ("one", "two")
    for alpha in (1.0, 0.0)
    for i in range(3)
]
"""Item i at alpha 0: i is odd; at alpha 1: i is even."""


def lines(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def as_expected(path: Path) -> None:
    curves = read_dose_log(path)
    assert list(curves) == ["one", "two"]
    for its in curves.values():
        assert its.alphas == (0.0, 1.0)
        assert its.ids == its.groups == ("0", "1", "2")
        assert np.array_equal(its.outcomes, [[0, 1, 0], [1, 0, 1]])


def test_rows(tmp_path: Path) -> None:
    as_expected(lines(tmp_path / "log.jsonl", ROWS))
    (tmp_path / "log.jsonl.gz").write_bytes(gzip.compress((tmp_path / "log.jsonl").read_bytes()))
    as_expected(tmp_path / "log.jsonl.gz")
    (tmp_path / "list.json").write_text(json.dumps(ROWS))
    as_expected(tmp_path / "list.json")
    table = "\n".join(f"{row['run']},{row['id']},{row['alpha']},{str(row['compliance']).upper()}" for row in ROWS)
    (tmp_path / "log.csv").write_text("run,id,alpha,value\n" + table)
    as_expected(tmp_path / "log.csv")


def test_a_column_a_point(tmp_path: Path) -> None:
    (tmp_path / "wide.csv").write_text(
        "id,one@0.0,one@1,two@0,two@1.0\n0,0,1,FALSE,TRUE\n1,1,0,1.0,0.0\n2,0,1,no,yes\n"
    )
    as_expected(tmp_path / "wide.csv")


def test_columns_by_other_names(tmp_path: Path) -> None:
    (tmp_path / "wide.csv").write_text("id,one_alpha_0.0,one_alpha=1,alpha_1.5,alpha_2,mc1\n0,0,1,1,0,7\n1,1,0,0,1,7\n")
    one, wide = read_dose_log(tmp_path / "wide.csv").items()
    assert (one[0], one[1].alphas, one[1].outcomes.tolist()) == ("one", (0, 1), [[0, 1], [1, 0]])
    assert (wide[0], wide[1].alphas, wide[1].outcomes.tolist()) == ("wide", (1.5, 2), [[1, 0], [0, 1]])


def test_a_folder_of_files(tmp_path: Path) -> None:
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
        for alpha in (0.0, 1.0):
            its = [row for row in ROWS if (row["run"], row["alpha"]) == (run, alpha)]
            kept = [{name: row[name] for name in ("id", "compliance")} for row in its]
            lines(tmp_path / run / f"alpha_{alpha}.jsonl", kept)
    (tmp_path / "one" / "notes.jsonl").write_text("no row")
    as_expected(tmp_path)
    assert list(read_dose_log(tmp_path / "one")) == ["one"]


def test_groups_missing_values_and_rows_said_twice(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "alpha": 0, "group": "g", "score": 0.25},
        {"id": "b", "alpha": 0, "group": "g", "score": None},
        {"id": "a", "alpha": 1, "group": "g", "score": -1e-3},
        {"id": "a", "alpha": 1, "group": "g", "score": -1e-3},
    ]
    (its,) = read_dose_log(lines(tmp_path / "log.jsonl", rows)).values()
    assert its.groups == ("g", "g")
    assert np.array_equal(its.outcomes, [[0.25, np.nan], [-1e-3, np.nan]], equal_nan=True)
    assert its.repeated == 1


def test_the_named_value_is_read(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"id": 1, "alpha": a, "metric": 0, "mc2": 0.5 + a} for a in (0, 1)]
    path = lines(tmp_path / "log.jsonl", rows)
    assert read_dose_log(path)["log"].outcomes.tolist() == [[0], [0]]
    assert read_dose_log(path, "mc2")["log"].outcomes.tolist() == [[0.5], [1.5]]


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([{"alpha": 1, "value": 0}], "line 1: has no field 'id'"),
        ([{"id": 1, "value": 0}], "line 1: has no field 'alpha'"),
        ([{"id": 1, "alpha": 1, "answer": "B"}], "--value names the one that holds the outcome"),
        ([{"id": 1, "alpha": "high", "value": 0}], "alpha is 'high'"),
        ([{"id": 1, "alpha": 1, "value": "B"}], "'value' is 'B'"),
        ([{"id": 1, "alpha": 1, "value": 0}, {"id": 1, "alpha": 1, "value": 1}], "line 2: item '1' of log has another"),
    ],
)
def test_bad_rows(tmp_path: Path, rows: list[dict[str, object]], complaint: str) -> None:
    with pytest.raises(InputError, match="log.jsonl") as error:
        read_dose_log(lines(tmp_path / "log.jsonl", rows))
    assert complaint in str(error.value)


def test_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("id,one@0\n")
    with pytest.raises(InputError, match="holds no curve"):
        read_dose_log(tmp_path / "log.csv")
    with pytest.raises(InputError, match="without files alpha_NUMBER"):
        read_dose_log(tmp_path)


@pytest.mark.parametrize("dose", ["nan", "inf", "1e999"])
def test_a_column_at_no_number(tmp_path: Path, dose: str) -> None:
    (tmp_path / "wide.csv").write_text(f"id,one@0,one@1,one@{dose}\n0,0,1,1\n1,1,0,0\n")
    with pytest.raises(InputError, match=f"wide.csv, line 2: alpha is '{dose}'; it must be a finite number"):
        read_dose_log(tmp_path / "wide.csv")


def test_an_item_in_two_groups(tmp_path: Path) -> None:
    rows = [{"id": 1, "alpha": alpha, "group": group, "score": 1} for alpha, group in ((0, "a"), (1, "b"))]
    with pytest.raises(InputError, match="line 2: item '1' of log is in group 'b', and in 'a' in an earlier row"):
        read_dose_log(lines(tmp_path / "log.jsonl", rows))
