"""Correlation over heads: equal to SciPy's, with a null that is right under every symmetry of attention."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, pearsonr, spearmanr

from lens_truth.errors import InputError
from lens_truth.stats.correlation import correlate, holm, relate, remove_layer_means, shuffles
from lens_truth.stats.relations import compare_top, top_heads

rng = np.random.default_rng(0)


def related(L: int, H: int, share: float, seed: int = 0) -> dict[str, np.ndarray]:
    """Two maps with a depth profile in common, and noise of which `share` is common too."""
    draw = np.random.default_rng(seed)
    depth, common = np.linspace(0, 5, L)[:, None], draw.normal(size=(L, H))
    return {name: depth + share * common + (1 - share) * draw.normal(size=(L, H)) for name in "ab"}


def test_equals_scipy() -> None:
    maps = {**related(6, 8, 0.5), "c": rng.normal(size=(6, 8)).round(1)}  # with ties
    result = correlate(maps, n_permutations=99, n_bootstrap=99)
    for i, a in enumerate(maps.values()):
        for j, b in enumerate(maps.values()):
            centred = [x - x.mean(1, keepdims=True) for x in (a, b)]
            assert result.pearson[i, j] == pytest.approx(pearsonr(a.ravel(), b.ravel()).statistic)
            assert result.spearman[i, j] == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic)
            inside = pearsonr(*(x.ravel() for x in centred)).statistic
            assert result.pearson_within_layer[i, j] == pytest.approx(inside)
            ranked = spearmanr(*(x.ravel() for x in centred)).statistic
            assert result.spearman_within_layer[i, j] == pytest.approx(ranked)


def test_depth_alone_is_not_agreement_between_heads() -> None:
    """Two maps that share nothing but a depth profile correlate strongly, and the null knows it."""
    result = correlate(related(8, 12, 0.0))
    low, high = result.null[0, 1]
    assert result.pearson[0, 1] > 0.4 and low < result.pearson[0, 1] < high and low > 0.2
    assert result.p_value[0, 1] > 0.05
    assert correlate(related(8, 12, 0.7)).p_value[0, 1] == 1 / 10_000


def test_null_of_pearson_is_that_of_shuffled_maps() -> None:
    """Computed from the part inside layers; here the plain way, shuffling one map and correlating again."""
    maps = related(5, 6, 0.4)
    order = shuffles(4000, 5, 6, 6, np.random.default_rng(3))
    shuffled = np.take_along_axis(maps["b"][None], order, axis=2).reshape(4000, -1)
    draws = np.array([pearsonr(maps["a"].ravel(), row).statistic for row in shuffled])
    result = correlate(maps)
    assert result.null[0, 1] == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.03)
    assert result.p_value[0, 1] == pytest.approx((draws >= result.pearson[0, 1]).mean(), abs=0.01)


def test_p_values_are_uniform_where_nothing_is_related() -> None:
    """Also where heads of a KV group are alike: shuffled freely they would seem related far too often."""
    free, grouped = [], []
    for seed in range(300):
        draw = np.random.default_rng(seed)
        maps = {n: np.repeat(draw.normal(size=(4, 3)), 4, 1) + 0.3 * draw.normal(size=(4, 12)) for n in "ab"}
        free.append(correlate(maps, n_permutations=199, n_bootstrap=1, seed=seed).p_value[0, 1])
        kv = [3, 3]
        grouped.append(correlate(maps, n_kv_heads=kv, n_permutations=199, n_bootstrap=1, seed=seed).p_value[0, 1])
    below = sum(p <= 0.05 for p in grouped)
    assert binomtest(below, 300, 0.05).pvalue > 1e-3 and 0.42 < np.mean(grouped) < 0.58
    assert sum(p <= 0.05 for p in free) > 2 * 0.05 * 300


def test_one_finer_symmetry_is_enough() -> None:
    """A grouped map against one whose heads are free: the free one is shuffled, and the groups stay as they are."""
    levels = np.array([[0.0, 9.0], [5.0, 2.0]])
    maps = {"grouped": np.repeat(levels, 2, 1) + rng.normal(size=(2, 4)) / 9, "free": rng.normal(size=(2, 4))}
    one = correlate(maps, n_kv_heads=[2, 4], n_permutations=4000)
    free = correlate(maps, n_kv_heads=[4, 4], n_permutations=4000)
    assert one.p_value[0, 1] == pytest.approx(free.p_value[0, 1], abs=0.04)
    assert one.null[0, 1] == pytest.approx(free.null[0, 1], abs=0.05)


@settings(max_examples=25)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_shuffles_keep_layers_and_groups(L: int, kv: int, size: int, seed: int) -> None:
    order = shuffles(7, L, kv * size, kv, np.random.default_rng(seed))
    assert (np.sort(order, axis=2) == np.arange(kv * size)).all()
    blocks = order.reshape(7, L, kv, size) // size
    assert (blocks == blocks[..., :1]).all()


def test_interval_covers() -> None:
    """The correlation of the population that heads were drawn from lies in the 95% interval about so often."""
    inside = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        x = draw.normal(size=(10, 24))
        y = 0.6 * x + 0.8 * draw.normal(size=(10, 24))
        low, high = correlate({"x": x, "y": y}, n_permutations=1, n_bootstrap=400, seed=seed).interval[0, 1]
        inside += low <= 0.6 <= high
    assert 0.9 <= inside / 200 <= 0.99


@pytest.mark.parametrize(("L", "H", "kv"), [(10, 24, 24), (12, 12, 4), (30, 8, 2)])
def test_interval_inside_layers_covers(L: int, H: int, kv: int) -> None:
    """Also where heads of a KV group are alike, down to two groups a layer, where whole layers are drawn."""
    inside, runs, size = 0, 150, H // kv
    for seed in range(runs):
        draw = np.random.default_rng(seed)
        x, y = (np.repeat(draw.normal(size=(L, kv)), size, 1) + 0.1 * draw.normal(size=(L, H)) for _ in range(2))
        y = 0.6 * x + 0.8 * y + draw.normal(size=(L, 1))  # layers differ, too
        result = correlate({"x": x, "y": y}, n_kv_heads=[kv, kv], n_permutations=1, n_bootstrap=400, seed=seed)
        low, high = result.interval_within_layer[0, 1]
        inside += low <= 0.6 <= high
    assert 0.88 <= inside / runs <= 0.99


def test_an_unknown_symmetry_is_taken_from_its_partner() -> None:
    """A model that is known to share keys, against scores from a file that does not say."""
    draw = np.random.default_rng(4)
    maps = {n: np.repeat(draw.normal(size=(4, 3)), 4, 1) + 0.3 * draw.normal(size=(4, 12)) for n in "ab"}
    known, half, unknown = (correlate(maps, n_kv_heads=kv).null_within_layer[0, 1] for kv in ([3, 3], [None, 3], None))
    assert half == pytest.approx(known, abs=0.06) and np.ptp(unknown) < 0.8 * np.ptp(known)


def test_no_interval_without_two_layers_or_groups() -> None:
    x, y = rng.normal(size=(2, 1, 6))
    result = correlate({"x": x, "y": y}, n_kv_heads=[1, 1], n_permutations=9, n_bootstrap=50)
    assert np.ptp(result.interval[0, 1]) == pytest.approx(0)  # one layer, drawn again and again


def test_two_sided_relation_sees_opposition() -> None:
    x = rng.normal(size=(4, 8))
    relation = relate(x, -x)
    assert relation is not None and relation.pearson == pytest.approx(-1) and relation.p_value == 1 / 10_000
    assert correlate({"x": x, "y": -x}).p_value[0, 1] == 1
    assert relate(x, np.ones((4, 8))) is None


def test_same_seed_same_numbers() -> None:
    first, again = (correlate(related(4, 6, 0.3), n_permutations=200, seed=5) for _ in range(2))
    for name in ("p_value", "interval", "interval_within_layer", "null"):
        assert np.array_equal(getattr(first, name), getattr(again, name))


def test_holm() -> None:
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1, 1])


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        (np.ones((3, 4)), "'b' has the same value for all heads"),
        (np.repeat(np.arange(3.0)[:, None], 4, 1), "'b' is constant inside every layer"),
        (np.full((3, 4), np.nan), "'b' holds numbers that are not finite"),
        (np.ones((4, 4)), r"'b' has shape \(4, 4\), 'a' \(3, 4\)"),
    ],
)
def test_where_no_correlation_is_defined(other: np.ndarray, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        correlate({"a": rng.normal(size=(3, 4)), "b": other})


def test_heads_that_kv_groups_do_not_share_evenly() -> None:
    with pytest.raises(InputError, match=r"\[5\] KV heads were named for 8 heads"):
        correlate(related(3, 8, 0.5), n_kv_heads=[8, 5])
    with pytest.raises(InputError, match="n_kv_heads has 1 entries for 2 maps"):
        correlate(related(3, 8, 0.5), n_kv_heads=[8])


def test_top_heads_against_the_rest() -> None:
    scores = rng.normal(size=(6, 8))
    top = top_heads(scores, 0.25)
    assert top.sum() == 12 and scores[top].min() > scores[~top].max()
    depth = np.arange(6.0)[:, None]
    kept = compare_top(0.5 * top + depth + 0.01 * rng.normal(size=(6, 8)), top)
    assert kept.n_top == 12 and kept.p_value < 0.001
    by_hand = remove_layer_means(0.5 * top + depth)
    expected = by_hand[top].mean() - by_hand[~top].mean()
    assert kept.difference_within_layer == pytest.approx(expected, abs=0.01)
    assert compare_top(np.repeat(depth, 8, 1), top).p_value == 1  # depth alone is no difference between heads
    with pytest.raises(InputError, match=r"a share of 0.001 of 48 heads"):
        top_heads(scores, 0.001)


def test_top_heads_by_chance_are_no_finding() -> None:
    draws = [np.random.default_rng(seed) for seed in range(200)]
    p = [
        compare_top(d.normal(size=(4, 6)), top_heads(d.normal(size=(4, 6)), 0.3), n_permutations=199).p_value
        for d in draws
    ]
    assert binomtest(sum(x <= 0.05 for x in p), 200, 0.05).pvalue > 1e-3


def test_maps_too_large_for_memory_are_correlated_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from lens_truth.stats import correlation

    rng = np.random.default_rng(0)
    maps = {name: rng.random((3, 40)) for name in "abc"}
    whole = correlate(maps, n_permutations=101, n_bootstrap=103)
    monkeypatch.setattr(correlation, "_CELLS", 2 * 120 * 7 + 5)  # 7 shuffles at a time
    parts = correlate(maps, n_permutations=101, n_bootstrap=103)
    for field in vars(whole):
        assert np.allclose(getattr(whole, field), getattr(parts, field), atol=1e-12), field
