"""Score files: three formats round-trip, published files are read, damaged ones are named."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from lens_truth.errors import DataWarning, InputError
from lens_truth.scoring.scores import HeadScores

DEEP = '"provenance": {"a": ' + "[" * 30 + "]" * 30 + "}"
"""Deeper than anybody nests."""


def test_same_scores_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        metrics = {"auroc": np.ones((2, 2)), "f1": np.zeros((2, 2))}
        scores = HeadScores(np.eye(2), metrics=metrics, provenance={"z": 1, "a": 2})
        for suffix in ("safetensors", "npy", "csv"):
            scores.save(tmp_path / f"{name}.{suffix}")
    for suffix in ("safetensors", "npy", "csv"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        f"{n}.{s}" for n in "ab" for s in ("safetensors", "npy", "csv")
    )


def test_csv_is_truthprobes(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    text = "layer,head,accuracy,precision,recall,f1\n0,0,0.5,0.25,1.0,0.4\n0,1,0.8734999999999999,0.1,0.2,0.3\n"
    path.write_text(text)
    scores = HeadScores.load(path)
    assert scores.values.tolist() == [[0.5, 0.8734999999999999]]
    assert scores.best() == (0, 1)
    scores.save(path)
    assert path.read_text() == text


@pytest.mark.published
def test_published_files_round_trip(data: Path, tmp_path: Path) -> None:
    for source in sorted((data / "head_scores" / "truthprobe").rglob("*.*")):
        scores = HeadScores.load(source)
        assert scores.values.shape in [(32, 32), (28, 28)]
        copy = tmp_path / source.name
        scores.save(copy)
        published = source.read_bytes()
        assert copy.read_bytes() == (published.replace(b"\r\n", b"\n") if source.suffix == ".csv" else published)
        scores.save(tmp_path / "s.safetensors")
        assert np.array_equal(HeadScores.load(tmp_path / "s.safetensors").values, scores.values)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "layer,head,accuracy\n1,0,0.5\n1,1,0.5\n",
            "its layers are counted from 1, but layers are counted from 0 here",
        ),
        ("layer,head,accuracy\n0,1,0.5\n0,2,0.5\n", "its heads are counted from 1"),
        ("layer,head,accuracy\n3,0,0.5\n", "its first layer is 3"),
        ("layer,head,accuracy\n0,0,0.5\n1,1,0.5\n", "lacks layer 0, head 1"),
        ("layer,head,accuracy\n0,0,0.5\n0,-1,0.5\n1,0,0.5\n", "its first head is -1"),
        ("layer,head,accuracy\n1,2,0.5\n3,4,0.2\n", "lacks .* a list of some has none"),
        ("layer,head,accuracy\n0,0,0.5\n0,0,0.5\n", "line 3: layer 0, head 0 stands there twice"),
        ("layer,head,accuracy\n0,0,x\n", "line 2, column 'accuracy': the cell is 'x', not a number"),
        ("layer,head,accuracy,f1\n0,0,0.5,0\n0,1,0.5,\n", "line 3, column 'f1': the cell is empty, not a number"),
        ("layer,head,accuracy,f1\n0,0,0.5,inf\n", "line 2, column 'f1': the cell is 'inf', not a finite number"),
        ("layer,head,causal\n0,0,1\n0,1,-inf\n", "line 3, column 'causal': the cell is '-inf', not a finite"),
        ("layer,head,accuracy\n0,one,0.5\n", "line 2, column 'head': the cell is 'one', not a whole number"),
        ("layer,head,accuracy\n,0,0.5\n", "line 2, column 'layer': the cell is empty, not a whole number"),
        ("0,1,0.5\n0,2,0.5\n", "line 1: the header has no column 'layer', only 0, 1, 0.5"),
        ("layer,head,accuracy\n0,0,nan\n", "line 2, column 'accuracy': the cell is 'nan', not a finite number"),
        ("layer,accuracy\n0,0.5\n", "has no column 'head'"),
        ("layer,head,precision,recall\n0,0,1,1\n", "has no column score, accuracy, auroc, balanced_accuracy, nor"),
        ("layer,head,accuracy\n", "holds no heads"),
        ("layer,head,accuracy\n0,0,1+2j\n", "line 2, column 'accuracy': the cell is '1\\+2j', not a number"),
        (
            "layer,head,accuracy\n0,0,87.5\n0,1,55\n",
            "its numbers in column 'accuracy' go from 55 to 87.5, as .* percent",
        ),
        ("layer,head,auroc,f1\n0,0,87.5,1\n0,1,55,1\n", "column 'auroc' go from 55 to 87.5, as accuracies in percent"),
        ("layer,head,accuracy,accuracy\n0,0,0.5,0.6\n", "line 1: column 'accuracy' stands there twice"),
        ('layer,head,accuracy\n0,0,0.5\n0,1,"0.5\n0,2,0.5\n', "line 3: a quote in this row is not closed"),
        ("layer,head,causal\n0,0,1e300\n", r"a score is 1e\+300 in size; beyond 1e\+30 nothing can be computed"),
        (f"layer,head,causal\n0,0,1\n{10**9},{10**9},1\n", "lacks layer 0, head 1 of 1000000001 x 1000000001 heads"),
        (f"layer,head,causal\n0,0,1\n{10**40},0,1\n", "lacks layer 1, head 0 of 10"),
        (f"layer,head,causal\n{'9' * 5000},0,1\n", "not a whole number"),
    ],
)
def test_bad_csv_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=f"bad.csv.*{complaint}"):
        HeadScores.load(path)


@pytest.mark.usefixtures("unchecked")
def test_bad_arrays_are_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.npy"
    for array, complaint in [
        (np.ones(4), "shape \\(4,\\)"),
        (np.array([[1.0, np.inf]]), "layer 0, head 1 is inf"),
        (np.array([["a"]]), "not hold an array of numbers"),
        (np.array([[1 + 2j]]), "not hold an array of numbers, but of complex128"),
        (np.array([[True]]), "not hold an array of numbers, but of bool"),
        (np.array([[55.0, 87.5]]), "its values go from 55 to 87.5, as accuracies in percent do"),
        (np.array([[1.7e308, 0]]), r"a score is 1.7e\+308 in size"),
    ]:
        np.save(path, array)
        with pytest.raises(InputError, match=f"bad.npy.*{complaint}"):
            HeadScores.load(path)
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="not a readable .npy"):
        HeadScores.load(path)  # pickles are not opened
    for name in ("bad.npy", "bad.safetensors"):
        (tmp_path / name).write_bytes(b"broken")
        with pytest.raises(InputError, match=f"{name}: is not a readable"):
            HeadScores.load(tmp_path / name)
    with pytest.raises(InputError, match="there is no such file"):
        HeadScores.load(tmp_path / "none.npy")
    with pytest.raises(InputError, match="read from .safetensors, .npy, .csv, .parquet, .json, .json.gz files"):
        HeadScores.load(tmp_path / "none.pt")
    with pytest.raises(InputError, match="saved as"):
        HeadScores(np.eye(2)).save(tmp_path / "none.pt")
    with pytest.raises(InputError, match="3 KV heads were named for 2 heads"):
        HeadScores(np.eye(2), provenance={"n_kv_heads": 3})
    for metadata in ("[]", '{"provenance": null}', '{"kind": ["truth"]}', '{"kind": 3}', f"{{{DEEP}}}"):
        save_file({"values": np.eye(2)}, tmp_path / "odd.safetensors", {"lens_truth": metadata})
        with pytest.raises(InputError, match="odd.safetensors: its metadata is not lens_truth's"):
            HeadScores.load(tmp_path / "odd.safetensors")
    with pytest.raises(InputError, match=r"the folds have shape \(2, 3, 2\), the scores \(2, 2\)"):
        HeadScores(np.eye(2), folds=np.ones((2, 3, 2)))
    with pytest.raises(InputError, match="metric 'f1' has shape"):
        HeadScores(np.eye(2), metrics={"f1": np.ones((3, 2))})


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", ["(1000000000, 1000)", "(99999999999, 99999999999)", f"({10**30}, 2)", "(-1, 2)"])
def test_a_header_that_promises_too_much_is_not_believed(tmp_path: Path, shape: str) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    header = header.ljust(118 - 1) + "\n"
    (tmp_path / "bad.npy").write_bytes(
        b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + b"\0" * 64
    )
    with pytest.raises(InputError, match=r"bad.npy: is not a readable .npy array"):
        HeadScores.load(tmp_path / "bad.npy")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "metadata", ["[" * 99_999, '{"provenance": {"seed": NaN}}', '{"provenance": {"a": "\\ud800"}}']
)
def test_metadata_that_json_cannot_hold(tmp_path: Path, metadata: str) -> None:
    save_file({"values": np.eye(2)}, tmp_path / "odd.safetensors", {"lens_truth": metadata})
    with pytest.raises(
        InputError, match="odd.safetensors: its metadata is not JSON that can be read and written again"
    ):
        HeadScores.load(tmp_path / "odd.safetensors")


@pytest.mark.parametrize("kind", ["../truth", "a/b", "", " ", ".hidden", "x" * 200, "a\nb"])
def test_a_kind_is_part_of_the_names_of_files(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InputError, match="the kind of the scores is '.*, not a name of letters, digits, spaces"):
        HeadScores(np.eye(2), kind)
    save_file({"values": np.eye(2)}, tmp_path / "odd.safetensors", {"lens_truth": json.dumps({"kind": kind})})
    with pytest.raises(InputError, match="odd.safetensors: the kind of the scores is"):
        HeadScores.load(tmp_path / "odd.safetensors")


def test_a_table_of_several_measures(tmp_path: Path) -> None:
    """As published: scores as auroc, a column in which nothing stands, and one of words."""
    path = tmp_path / "heads.csv"
    path.write_text("layer,head,auroc,sigma,effect,position\n0,0,0.9,2,,last\n0,1,0.5,3,,mean\n")
    with pytest.warns(DataWarning, match="no numbers stand in its columns effect, position, which are left out"):
        scores = HeadScores.load(path)
    assert scores.kind == "auroc" and scores.values.tolist() == [[0.9, 0.5]]
    assert set(scores.metrics) == {"auroc", "sigma"}
    path.write_text("layer\thead\tscore (z)\n0\t0\t0.9\n")
    assert HeadScores.load(path).kind == "score z"


@pytest.mark.published
def test_published_tables_of_another_study(data: Path) -> None:
    for path in sorted((data / "head_scores" / "gemma3_4b").glob("*.csv")):
        with pytest.warns(DataWarning, match="causal_effect, position_summary, which are left out"):
            scores = HeadScores.load(path)
        assert scores.kind == "auroc" and scores.values.shape == (34, 8) and "sigma" in scores.metrics


def test_retrieval_scores_are_means_over_trials(tmp_path: Path) -> None:
    trials = {"1-0": [0.0, 1.0, 0.5], "0-1": [1, 1, 1], "0-0": [0, 0, 0.3], "1-1": [0.25, 0, 0]}
    for path in (tmp_path / "heads.json", tmp_path / "heads.json.gz"):
        with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as file:
            json.dump(trials, file)
        scores = HeadScores.load(path)
        assert scores.kind == "retrieval" and scores.values == pytest.approx(np.array([[0.1, 1], [0.5, 0.25 / 3]]))
        assert scores.folds is not None and scores.folds[:, 1, 0].tolist() == trials["1-0"]
    (tmp_path / "ragged.json").write_text(json.dumps({**trials, "1-1": [1.0]}))
    ragged = HeadScores.load(tmp_path / "ragged.json")
    assert ragged.values[1, 1] == 1 and ragged.folds is None  # one trial has no halves
    (tmp_path / "ragged.json").write_text(json.dumps({**trials, "1-1": [1.0, 0.5]}))
    halves = HeadScores.load(tmp_path / "ragged.json").folds
    assert halves is not None and halves[:, 1].tolist() == [[0.25, 1.0], [1.0, 0.5]]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[1, 2]", "is not an object of trials by head"),
        ('{"L0H1": [1]}', "is not an object of trials by head"),
        ('{"0-0": [1], "0-1": []}', "head '0-1' does not hold a number, nor a list of numbers"),
        ('{"0-0": [1], "0-1": ["x"]}', "head '0-1' does not hold a number, nor a list of numbers"),
        ('{"0-0": [1], "0-1": [NaN]}', "the score of layer 0, head 1 is nan"),
        ('{"0-0": [1], "00-0": [1]}', "layer 0, head 0 stands there twice"),
        ('{"1-0": [1], "1-1": [1]}', "its layers are counted from 1"),
        ('{"0-0": [1], "1-1": [1]}', "lacks layer 0, head 1 of 2 x 2 heads"),
        ("{}", "holds no heads"),
        (f'{{"0-0": [1], "0-1": [1{"0" * 400}]}}', "a number is too large"),
        ('{"0-0": [1], "0-1": [1e308, 1e308]}', "a number is too large"),
        (f'{{"0-0": [1], "{"9" * 5000}-1": [1]}}', "is not an object of trials by head"),
        ('{"0-0": [1], "0-0": [2]}', ": '0-0' stands there twice"),
        ("{", "line 1: is not JSON"),
    ],
)
def test_bad_retrieval_files_are_named(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(InputError, match=f"bad.json.*{complaint}"):
        HeadScores.load(path)
    (tmp_path / "bad.json.gz").write_bytes(gzip.compress(b"{}" * 99)[:15])
    with pytest.raises(InputError, match="bad.json.gz: the gzip file is damaged"):
        HeadScores.load(tmp_path / "bad.json.gz")


def test_scores_come_back_from_json(unchecked: None) -> None:
    made = HeadScores(np.array([[0.5, 0.25]]), "odd", {"p": np.array([[np.nan, 1.0]])}, provenance={"n_kv_heads": 2})
    record = made.as_dict()
    back = HeadScores.from_dict(json.loads(json.dumps(record)))
    assert back.as_dict() == record and np.isnan(back.metrics["p"][0, 0])
    for change, complaint in (
        ({"more": 1}, "x.more is a field that this version of lens_truth does not know"),
        ({"kind": 3}, "x.kind is 3, not text"),
        ({"values": [[1], [2, 3]]}, "x.values is not an array of numbers"),
        ({"metrics": {"p": [[1.0]]}}, "x does not fit (metric 'p' has shape (1, 1), the scores (1, 2))"),
    ):
        with pytest.raises(InputError, match=re.escape(complaint)):
            HeadScores.from_dict({**record, **change}, "x")
    with pytest.raises(InputError, match=r"^x is \[1\], not an object$"):
        HeadScores.from_dict([1], "x")


def test_the_best_heads_are_shown() -> None:
    values = np.array([[0.5, 0.9, 0.7], [0.9, 0.6, 0.4]])
    metrics = {"ci_low": values - 0.1, "ci_high": values + 0.05, "recall": values}
    scores = HeadScores(values, metrics=metrics)
    (table,) = scores.tables(3)
    assert table.header == ("layer", "head", "accuracy", "ci_low", "ci_high")
    assert table.texts() == [
        ["0", "1", "0.900", "0.800", "0.950"],
        ["1", "0", "0.900", "0.800", "0.950"],
        ["0", "2", "0.700", "0.600", "0.750"],
    ]
    assert "of 2 layers x 3 heads" in scores._repr_html_() and "0.950" in scores._repr_html_()
    assert HeadScores(values, "causal").tables()[0].header == ("layer", "head", "score")


def test_matched_rows_stand_beside_truth_scores_alone() -> None:
    values = np.array([[0.5, 0.9, 0.7], [0.9, 0.6, 0.4]])
    metrics = {"ci_low": values - 0.1, "ci_high": values + 0.05, "matched": values - 0.2, "auroc": values}
    metrics |= {"matched_low": values - 0.3, "matched_high": values - 0.1, "null_q95": values}
    metrics["matched"][1, 1] = 0.75
    record = {"matched": {"said": "matched on length: 20 of 30 rows"}}
    (table,) = HeadScores(values, metrics=metrics, provenance=record).tables(1)
    assert table.header[2:] == (
        *("accuracy", "ci_low", "ci_high", "matched", "matched_low", "matched_high", "auroc", "null_q95"),
    )
    assert table.texts() == [["0", "1", "0.900", "0.800", "0.950", "0.700", "0.600", "0.800", "0.900", "0.900"]]
    assert table.note == (
        "On matched rows the best head, 0.1, goes from 0.900 to 0.700, and the best one there is 1.1 with 0.750; "
        "matched on length: 20 of 30 rows."
    )
    few = HeadScores(values, provenance={"matched": {"said": "matching on length leaves 2 of 30 rows"}}).tables()[0]
    assert few.header[2:] == ("accuracy",)
    assert few.note == "No truth scores on matched rows: matching on length leaves 2 of 30 rows."
    causal = HeadScores(values, "causal", metrics, provenance=record).tables()[0]  # of answers as long
    assert "matched" not in causal.header and not causal.note
    for odd in ("text", {}, {"said": 3}):
        assert HeadScores(values, provenance={"matched": odd}).tables()[0].note == ""


def test_cropped_scores_keep_their_metrics_and_folds() -> None:
    values = np.arange(24.0).reshape(4, 6)
    scores = HeadScores(values, "causal", {"auroc": -values}, np.stack([values, values + 1]), {"n_kv_heads": 3})
    cropped = scores.crop(2, 4)
    assert np.array_equal(cropped.values, values[:2, :4]) and np.array_equal(cropped.metrics["auroc"], -values[:2, :4])
    assert cropped.folds is not None and np.array_equal(cropped.folds[1], values[:2, :4] + 1)
    assert (cropped.kind, cropped.n_kv_heads) == ("causal", 2)


def test_repr_is_short() -> None:
    values = np.zeros((30, 9))
    values[3, 2] = 0.75
    scores = HeadScores(values, "causal", {"per_token": values}, np.stack([values] * 5))
    assert repr(scores) == "HeadScores(causal, 30 layers x 9 heads, best 3.2: 0.75; with per_token, 5 folds)"
    assert repr(HeadScores(values)).endswith("0.75)")
