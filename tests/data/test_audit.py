"""Surface baselines: what length and last character tell, and when that is worth a warning."""

from __future__ import annotations

import numpy as np
import pytest

from lens_truth.data.examples import Example
from lens_truth.data.loading import load_examples
from lens_truth.data.surface import majority_share, surface_accuracy, surface_warning
from lens_truth.errors import InputError


def examples(answers: list[tuple[str, int]]) -> list[Example]:
    return [Example(str(i), f"g{i // 2}", "q", answer, label) for i, (answer, label) in enumerate(answers)]


def test_length_and_last_character_are_found() -> None:
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdef"), size=6)) for _ in range(200)]
    by_length = examples([(word * (1 + i % 2), i % 2) for i, word in enumerate(words)])
    by_last = examples([(word + ".x"[i % 2], i % 2) for i, word in enumerate(words)])
    neither = examples([(word, i % 2) for i, word in enumerate(words)])
    assert surface_accuracy(by_length) == surface_accuracy(by_last) == 1.0
    assert surface_accuracy(neither) == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("name", ["zoo:text", "zoo:conflict"])
def test_generated_data_is_at_chance(name: str) -> None:
    assert surface_accuracy(load_examples(name)) == pytest.approx(0.5, abs=0.03)


def test_warning_is_about_surface_not_about_imbalance() -> None:
    rng = np.random.default_rng(0)
    unbalanced = examples([("same", int(rng.random() < 0.8)) for _ in range(400)])
    majority = majority_share(unbalanced)
    assert surface_accuracy(unbalanced) == pytest.approx(majority, abs=0.02) and majority > 0.75
    assert surface_warning(surface_accuracy(unbalanced), majority, 0.8) is None
    warning = surface_warning(0.97, 0.5, 0.91)
    assert warning is not None and "0.970" in warning and "no head does better" in warning
    assert "the best head reaches 0.990" in str(surface_warning(0.97, 0.5, 0.99))


def test_one_class_is_refused() -> None:
    with pytest.raises(InputError, match="all 20 examples are supported"):
        surface_accuracy(examples([("a", 1)] * 20))
