"""Blocks times factors, in every format, against what `gguf` makes of the bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("gguf")

from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from gguf_writer import random_blocks

from lens_truth.gates.gguf_formats import FORMATS, error_of, scaled_blocks

ROWS, IN_A_ROW = 16, 3
K_QUANTS = [name for name, how in FORMATS.items() if how.steps]


def numbers_of(blocks: Any, name: str) -> Any:
    numbers = dequantize(blocks.reshape(len(blocks), -1), GGMLQuantizationType[name])
    return numbers.astype(np.float64).reshape(*blocks.shape[:-1], -1)


def tried(name: str, factors: Any) -> tuple[Any, Any, Any]:
    """Random blocks before and after (None if refused), and the factor of each weight."""
    before = random_blocks(np.random.default_rng(0), name, ROWS, IN_A_ROW)
    block = GGML_QUANT_SIZES[GGMLQuantizationType[name]][0]
    factor = np.repeat(factors, block * IN_A_ROW // factors.shape[-1], -1).reshape(len(factors), IN_A_ROW, block)
    return before, scaled_blocks(before, FORMATS[name], factor), factor


@pytest.mark.parametrize("kind", ["heads", "rows"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_block_times_a_factor_is_its_scales_times_it(name: str, kind: str) -> None:
    shape = (1, IN_A_ROW) if kind == "heads" else (ROWS, 1)
    factors = np.random.default_rng(1).uniform(-2, 2, shape)
    factors.flat[0] = 0
    before, after, factor = tried(name, factors)
    wanted, got = numbers_of(before, name) * factor, numbers_of(after, name)
    assert abs(got - wanted).max() <= 2**-10 * abs(wanted).max()  # two numbers, each rounded to 11 bits
    np.testing.assert_array_equal(got[wanted == 0], 0)
    scales = [at + i for at in FORMATS[name].scales for i in (0, 1)]
    kept = [at for at in range(before.shape[-1]) if at not in scales]
    np.testing.assert_array_equal(after[..., kept], before[..., kept])


@pytest.mark.parametrize("name", FORMATS)
def test_factors_that_change_inside_a_part_are_refused(name: str) -> None:
    block = GGML_QUANT_SIZES[GGMLQuantizationType[name]][0]
    assert tried(name, np.random.default_rng(1).uniform(0.5, 1.5, (1, block * IN_A_ROW // 8)))[1] is None


@pytest.mark.parametrize("name", K_QUANTS)
def test_heads_that_share_a_block_are_rounded_by_less_than_a_quantisation_step(name: str) -> None:
    before, after, factor = tried(name, np.random.default_rng(1).uniform(0.5, 1.5, (1, 4 * IN_A_ROW)))
    off, half = error_of(before, after, FORMATS[name], factor)
    got, wanted = numbers_of(after, name), numbers_of(before, name) * factor
    worst = abs(got - wanted).reshape(*off.shape, -1).max(-1)
    codes = 10 if name == "IQ4_XS" else 1  # its codes go to 127 for 12.7 steps
    assert (worst <= 1.001 * off * codes + 1e-9).all()
    assert 0.01 < np.sqrt((off**2).mean() / (half**2).mean()) < 0.5


@pytest.mark.parametrize("name", K_QUANTS)
def test_heads_that_are_removed_leave_the_others_in_their_block_as_they_are(name: str) -> None:
    before, after, factor = tried(name, np.array([[1.0, 0.0, 0.0, 1.0] * IN_A_ROW]))
    np.testing.assert_array_equal(numbers_of(after, name), numbers_of(before, name) * factor)


@pytest.mark.parametrize("name", K_QUANTS)
def test_heads_of_both_signs_share_a_block_only_where_its_parts_have_signs(name: str) -> None:
    factors = np.array([[1.0, -0.5, -1.0, 1.5] * IN_A_ROW])
    before, after, factor = tried(name, factors)
    if name in ("Q2_K", "Q4_K", "Q5_K"):
        assert after is None
        before, after, factor = tried(name, -abs(factors))  # one sign is one of the scale
    off, half = error_of(before, after, FORMATS[name], factor)
    assert np.sqrt((off**2).mean() / (half**2).mean()) < 0.5
