"""Numbers as tables write them."""

from __future__ import annotations

import pytest

from lens_truth.io.numbers import number, short
from lens_truth.io.tables import written


@pytest.mark.parametrize(
    ("value", "places", "text"), [(0.0625, 3, "0.062"), (-0.0004, 3, "0.000"), (-0.25, 2, "-0.25"), (None, 2, "")]
)
def test_numbers(value: float | None, places: int, text: str) -> None:
    assert number(value, places) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.0, "1"), (-0.012345, "-0.0123"), (12345.6, "12346"), (1e-9, "1.00e-09"), (2.125, "2.12")],
)
def test_short_numbers(value: float, text: str) -> None:
    assert short(value) == text


def test_print_has_true_minus_signs_and_dashes() -> None:
    assert [written(text) for text in ("-0.25", "[-1, -.5]", "", "a-2", "1.00e-09")] == [
        "\u22120.25",
        "[\u22121, \u2212.5]",
        "\u2013",
        "a-2",
        "1.00e-09",
    ]
