"""Tables as data frames: what is a number there, and with how many digits."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import reports

import lens_truth
from lens_truth.errors import InputError
from lens_truth.io.numbers import Said, interval, number, p_value, share, short, signed
from lens_truth.io.tables import markdown, row, table


def test_numbers_in_print_keep_what_they_say() -> None:
    third = 1 / 3
    for said, text in (
        (number(third), "0.333"),
        (signed(third), "+0.333"),
        (short(third), "0.333"),
        (p_value(third), "0.33"),
        (share(third), "33%"),
    ):
        assert (
            isinstance(said, Said) and said == text and said.numbers == (third,) and deepcopy(said).numbers == (third,)
        )
    ends = interval((third, 2 * third))
    assert ends == "[0.33, 0.67]" and isinstance(ends, Said) and ends.numbers == (third, 2 * third)
    assert interval((third, None)) == interval(None) == number(None) == ""
    assert json.dumps([number(third)]) == '["0.333"]'


def test_columns_of_a_table() -> None:
    third = 1 / 3
    made = table(
        "A caption",
        ("", "r [95%]", "p", "95%", "n", "n", "words", "share", "nothing", "matrix"),
        [
            row("a", "0.5 [0.41, 0.62]", p_value(third), interval((0.1, third)), "1,200", "1", "yes", "12%", "", "·"),
            row("b", "-0.2", "", "", "7", "2", "3 of 4", "5.5%", "", number(third)),
        ],
        "A note.",
    )
    frame = made.to_frame()
    assert frame.attrs == {"caption": "A caption", "note": "A note."}
    nan = float("nan")
    expected = {
        "": ["a", "b"],
        "r": [0.5, -0.2],
        "r low": [0.41, nan],
        "r high": [0.62, nan],
        "p": [third, nan],
        "95% low": [0.1, nan],
        "95% high": [third, nan],
        "n": [1200, 7],
        "n 2": [1, 2],
        "words": ["yes", "3 of 4"],
        "share": [0.12, 0.055],
        "nothing": ["", ""],
        "matrix": [nan, third],
    }
    assert list(frame.columns) == list(expected)
    for name, values in expected.items():
        np.testing.assert_equal(frame[name].tolist(), values)
    assert frame["n"].dtype == np.int64
    assert "| a | 0.5 [0.41, 0.62] | 0.33 |" in markdown(made)
    empty = table("", ("a", "b"), []).to_frame()
    assert list(empty.columns) == ["a", "b"] and len(empty) == 0


def test_every_table_of_results_is_a_frame(tmp_path: Path) -> None:
    for make in (reports.inherit_run, reports.ablate_run, reports.evidence_run, reports.weights_run):
        folder = make(tmp_path / make.__name__)
        kind = {
            "inherit_run": lens_truth.Heritability,
            "ablate_run": lens_truth.Ablation,
            "weights_run": lens_truth.WeightSimilarity,
        }.get(make.__name__)
        if kind is None:
            continue
        found = kind.load(folder)
        for n, its in enumerate(found.tables()):
            assert len(found.to_frame(n)) == len(its.rows)
        with pytest.raises(InputError, match="table 99 was asked for, and there are"):
            found.to_frame(99)


def test_numbers_have_all_their_digits(tmp_path: Path) -> None:
    found = lens_truth.Heritability.load(reports.inherit_run(tmp_path / "run"))
    frame = found.to_frame()
    assert frame["Spearman"].tolist() == [found.correlations.spearman[pair] for pair in found.pairs]
    assert frame["Pearson"].tolist() == [round(float(found.correlations.pearson[pair]), 3) for pair in found.pairs]
