"""Scores as tables: Parquet, .csv and data frames, read by ourselves, by pandas and by DuckDB."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest

from lens_truth.errors import InputError
from lens_truth.scoring.scores import HeadScores

L, H = 3, 4


def scores(kind: str = "truth", folds: int = 2) -> HeadScores:
    rng = np.random.default_rng(5)
    values = rng.uniform(0.3, 0.9, (L, H))
    p = rng.uniform(0, 1, (L, H))
    p[1, 2] = np.nan
    metrics = {"accuracy": values.copy(), "ci_low": values - 1 / 3, "p_value": p, "layer": values * 2}
    estimates = rng.uniform(0.3, 0.9, (folds, L, H)) if folds else None
    about = {"model": "zoo:llama-base", "n_kv_heads": 2, "matched": {"said": "größer"}}
    return HeadScores(values, kind, metrics, estimates, about)


@pytest.mark.parametrize(("kind", "folds"), [("truth", 2), ("causal", 0)])
def test_parquet_holds_everything(tmp_path: Path, kind: str, folds: int) -> None:
    made = scores(kind, folds)
    for name in ("one.parquet", "two.parquet"):
        made.save(tmp_path / name)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    again = HeadScores.load(tmp_path / "one.parquet")
    assert again.kind == kind and dict(again.provenance) == dict(made.provenance)
    assert again.as_dict() == made.as_dict() and list(again.metrics) == list(made.metrics)
    assert (again.folds is None) == (not folds) and (not folds or np.array_equal(again.folds, made.folds))  # type: ignore[arg-type]


def test_a_frame_has_a_row_a_head() -> None:
    made = scores()
    frame = made.to_pandas()
    assert list(frame.columns) == ["layer", "head", "score", "accuracy", "ci_low", "p_value", "metric_layer"]
    assert [str(kind) for kind in frame.dtypes] == ["int64"] * 2 + ["float64"] * 5
    for row in frame.to_dict("records"):
        at = row["layer"], row["head"]
        assert row["score"] == made.values[at] and row["metric_layer"] == made.metrics["layer"][at]
    assert frame.attrs["kind"] == "truth" and frame.attrs["provenance"]["model"] == "zoo:llama-base"


def test_duckdb_and_pandas_read_the_same_numbers(tmp_path: Path) -> None:
    made = scores()
    made.save(tmp_path / "s.parquet")
    made.save(tmp_path / "s.csv")
    heads = [(layer, head) for layer in range(L) for head in range(H)]
    for name, column in (("s.parquet", "score"), ("s.csv", "accuracy")):
        rows = duckdb.sql(f"select layer, head, {column} from '{tmp_path / name}' order by layer, head").fetchall()
        assert [row[:2] for row in rows] == heads
        assert np.array_equal(np.array([row[2] for row in rows]).reshape(L, H), made.values)  # to the last bit
        types = dict(duckdb.sql(f"select column_name, column_type from (describe '{tmp_path / name}')").fetchall())
        assert types["layer"] == types["head"] == "BIGINT" and types[column] == "DOUBLE"
    frame = pandas.read_parquet(tmp_path / "s.parquet")
    expected = made.to_pandas()
    pandas.testing.assert_frame_equal(frame[list(expected.columns)], expected, check_exact=True)
    exact = pandas.read_csv(tmp_path / "s.csv")
    assert np.array_equal(exact["accuracy"].to_numpy().reshape(L, H), made.values)
    best = duckdb.sql(f"select layer, head from '{tmp_path / 's.parquet'}' order by score desc limit 1").fetchall()
    assert best == [made.best()]


def test_what_other_programs_wrote_is_read(tmp_path: Path) -> None:
    """Rows in any order, columns of any width, no metadata."""
    made = scores()
    frame = made.to_pandas().sample(frac=1, random_state=0)
    frame[["layer", "head", "accuracy", "ci_low"]].to_parquet(tmp_path / "theirs.parquet")
    found = HeadScores.load(tmp_path / "theirs.parquet")
    assert (
        found.kind == "truth"
        and np.array_equal(found.values, made.values)
        and set(found.metrics) == {"accuracy", "ci_low"}
    )
    made.save(tmp_path / "ours.parquet")
    duckdb.sql(f"copy (select * from '{tmp_path / 'ours.parquet'}' order by head) to '{tmp_path / 'copy.parquet'}'")
    with pytest.warns(UserWarning, match="no numbers stand in its columns folds"):
        found = HeadScores.load(tmp_path / "copy.parquet")
    assert found.kind == "score" and np.array_equal(found.values, made.values)
    assert np.array_equal(found.metrics["p_value"], made.metrics["p_value"], equal_nan=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop_columns(["score"]), "holds no column 'score', only layer, head, accuracy"),
        (
            lambda t: t.set_column(0, "layer", pyarrow.array([0.5] * L * H)),
            "column 'layer' does not hold whole numbers alone",
        ),
        (
            lambda t: t.set_column(2, "score", pyarrow.array(["x"] * L * H)),
            "column 'score' does not hold numbers alone",
        ),
        (lambda t: t.set_column(1, "head", pyarrow.array([0] * L * H)), "layer 0, head 0 stands there twice"),
        (lambda t: t.slice(1), "lacks layer 0, head 0 of 3 x 4 heads"),
        (lambda t: t.slice(0, 0), "holds no heads"),
        (
            lambda t: t.set_column(2, "score", pyarrow.array([None] * L * H, pyarrow.float64())),
            "the score of layer 0, head 0 is nan",
        ),
        (
            lambda t: t.set_column(7, "folds", pyarrow.array([[1.0]] * (L * H - 1) + [[]])),
            "column 'folds' does not hold equally",
        ),
        (lambda t: t.append_column("score", t["score"]), "column 'score' stands there twice"),
        (lambda t: t.replace_schema_metadata({"lens_truth": "[]"}), "its metadata is not lens_truth's"),
        (lambda t: t.replace_schema_metadata({"lens_truth": "{"}), "its metadata is not JSON"),
        (
            lambda t: t.rename_columns(["a", *t.column_names[1:]]).replace_schema_metadata(None),
            "line 1: the header has no column 'layer'",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, change: Callable[[Any], Any], said: str) -> None:
    path = tmp_path / "s.parquet"
    scores().save(path)
    pyarrow.parquet.write_table(change(pyarrow.parquet.read_table(path)), path)
    with pytest.raises(InputError) as error:
        HeadScores.load(path)
    assert said in str(error.value) and str(path) in str(error.value)


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    scores().save(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="is not a table that can be read"):
        HeadScores.load(path)
