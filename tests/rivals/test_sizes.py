"""How the size of a rival is said."""

from __future__ import annotations

import re

import pytest

from lens_truth.ablation.rows import Candidate
from lens_truth.rivals import known
from lens_truth.rivals.tables import said


@pytest.mark.parametrize(
    ("norm", "lam", "words"),
    [
        ("uniform", 0.5, "every head 1.5"),
        ("uniform", -0.2, "every head 0.8"),
        ("contrast 2", 0.2, "heads at random, 0.2 from 1"),
        ("minmax", 0.37, "λ = 0.37, minmax"),
        ("none", 1.0, "its own values"),
        ("on 2 heads", 10.0, "α = 10, on 2 heads"),
        ("2 heads silent, strength", 2.0, "2 heads silent, strength 2"),
        ("2 heads, attention to text above", 0.4, "2 heads, attention to text above 0.4"),
        (
            "75% of the prompts, in the answer only, threshold",
            0.00171,
            "75% of the prompts, in the answer only, threshold 0.00171",
        ),
        ("“Answer only from the {source}.”", 1.0, "“Answer only from the context (image).”"),
        ("as given", 1.0, "as given"),
    ],
)
def test_a_size_says_what_its_number_is(norm: str, lam: float, words: str) -> None:
    assert said(Candidate(lam, norm, 1.0, {})) == words


def test_every_size_of_a_known_method_says_so() -> None:
    rivals = [known.context_aware(), known.instructions(), known.noised_image()]
    for rival in [*rivals, known.silent_heads([(0, 1)]), known.deactivated_heads([(0, 1)])]:
        sizes = [said(Candidate(lam, norm, 1.0, {})) for _, lam, norm in rival.candidates(None)]  # pyright: ignore[reportArgumentType]
        assert len(set(sizes)) == len(sizes)
        assert all(re.search(r"(strength|above|heads) [\d.]+$|^“.*”$", size) for size in sizes), sizes
