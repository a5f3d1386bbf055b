"""`inherit`: published figures to three decimals, ceilings with known answers, floors, shared grids."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lens_truth.commands.lineage_inputs import doubts
from lens_truth.errors import InputError
from lens_truth.io.tables import markdown
from lens_truth.lineage.agreement import Heritability
from lens_truth.lineage.inheritance import (
    TruthCausal,
    heritability,
    reliability,
    shared_grid,
    size_of,
    truth_against_causal,
)
from lens_truth.scoring.scores import HeadScores

PUBLISHED = {
    "llama2": "llama2_halueval_292",
    "vicuna": "vicuna_halueval_292",
    "llava1.5": "llava1.5_rlhfv_2726",
    "llava-next": "llava_next_rlhfv_2726",
    "qwen2.5": "qwen2.5_halueval_292",
    "qwen2.5-vl": "qwen2.5_vl_instruct_rlhfv_2726",
    "qwen2.5-omni": "qwen2.5_vl_omni_rlhfv_2726",
}
TRUTH = {  # Pearson r, and the same with each layer's mean removed
    ("llama2", "vicuna"): (0.853, 0.835),
    ("vicuna", "llava1.5"): (0.621, 0.549),
    ("vicuna", "llava-next"): (0.639, 0.560),
    ("llava1.5", "llava-next"): (0.911, 0.881),
    ("qwen2.5", "qwen2.5-vl"): (0.318, 0.351),
    ("qwen2.5", "qwen2.5-omni"): (0.425, 0.365),
    ("qwen2.5-vl", "qwen2.5-omni"): (0.593, 0.652),
}


def truth(data: Path, name: str) -> HeadScores:
    folder = data / "head_scores" / "truthprobe" / "published"
    return HeadScores.load(folder / f"converted_score_cv5_head_metrics_{PUBLISHED[name]}.npy")


def random_scores(L: int, H: int, seed: int, **more: object) -> HeadScores:
    return HeadScores(np.random.default_rng(seed).normal(size=(L, H)), **more)  # pyright: ignore


@pytest.mark.published
@pytest.mark.parametrize("pair", TRUTH)
def test_published_truth_scores(data: Path, pair: tuple[str, str]) -> None:
    result = heritability({name: truth(data, name) for name in pair})
    raw, inside = TRUTH[pair]
    assert round(result.correlations.pearson[0, 1], 3) == raw
    assert round(result.correlations.pearson_within_layer[0, 1], 3) == inside
    low, high = result.correlations.interval[0, 1]
    assert low < raw < high and high - low < 0.13
    assert result.p_permutation[0, 1] == 1 / 10_000
    assert np.ptp(result.correlations.null_within_layer[0, 1]) / 4 == pytest.approx(0.035, abs=0.005)


@pytest.mark.published
def test_the_cross_family_floor(data: Path) -> None:
    folder = data / "head_scores" / "truthprobe" / "fig1"
    scores = {
        n: HeadScores.load(folder / f"vicuna_setD_{n}.csv") for n in ("vicuna", "mistral", "llava1.5", "llavanxt")
    }
    result = heritability(scores, unrelated=["vicuna", "mistral"])
    assert 0.08 <= result.correlations.pearson[0, 1] <= 0.105
    assert result.p_permutation[0, 1] > 0.05 > result.p_permutation[0, 2]
    assert result.floor is not None and result.floor.pearson[1] == pytest.approx(result.correlations.pearson[0, 1])


@pytest.mark.published
def test_published_retrieval_heads(data: Path) -> None:
    folder = data / "head_scores" / "retrieval"
    files = ("Meta-Llama-3-8B", "Meta-Llama-3-8B-Instruct", "Llama-2-7b-hf")
    result = heritability({name: HeadScores.load(folder / f"{name}.json.gz") for name in files})
    assert round(result.correlations.pearson[0, 1], 3) == 0.974
    assert round(result.correlations.pearson[0, 2], 3) == 0.019
    assert result.p_permutation[0, 1] < 0.001 and result.p_permutation[0, 2] > 0.5
    assert result.kinds == ("retrieval",) * 3
    assert 0.99 < result.ceiling[0, 1] < 1  # from 60 and 51 trials


@pytest.mark.published
def test_shared_keys_widen_the_null(data: Path) -> None:
    """Heads of a KV group score alike in Qwen2.5 (4 KV heads of 28): the null without groups is too narrow."""
    free = {name: truth(data, name) for name in ("qwen2.5", "qwen2.5-vl")}
    grouped = {name: HeadScores(its.values, provenance={"n_kv_heads": 4}) for name, its in free.items()}
    widths = [np.ptp(heritability(scores).correlations.null_within_layer[0, 1]) for scores in (free, grouped)]
    assert widths[1] > 1.25 * widths[0]
    assert heritability(grouped).p_permutation[0, 1] == 1 / 10_000  # and the relation stands


def test_ceiling_is_what_noise_leaves() -> None:
    """Two models with equal true scores, measured with noise: r over its ceiling comes out as 1."""
    draw = np.random.default_rng(1)
    true = draw.normal(size=(30, 30))

    def measured(noise: float, n: int) -> HeadScores:
        folds = true + noise * draw.normal(size=(n, 30, 30))
        return HeadScores(folds.mean(0), folds=folds)

    result = heritability({"a": measured(1.5, 5), "b": measured(1.0, 3)})
    assert list(result.reliability) == pytest.approx([1 / (1 + 1.5**2 / 5), 1 / (1 + 1 / 3)], abs=0.04)
    assert result.correlations.pearson[0, 1] < 0.8
    assert result.pearson_over_ceiling[0, 1] == pytest.approx(1, abs=0.05)
    assert result.pearson_within_layer_over_ceiling[0, 1] == pytest.approx(1, abs=0.05)


def test_noise_in_common_is_not_inheritance() -> None:
    """Two models scored on the same rows: r over its ceiling is too high, from different runs only it is right."""
    draw = np.random.default_rng(3)
    ours, theirs = draw.normal(size=(2, 30, 30))
    true = ours, 0.6 * ours + 0.8 * theirs
    rows = draw.normal(size=(4, 30, 30))  # what the examples of each run add to the scores of both
    folds = [x + 0.9 * rows + 0.4 * draw.normal(size=(4, 30, 30)) for x in true]
    result = heritability({n: HeadScores(f.mean(0), folds=f) for n, f in zip("ab", folds, strict=True)})
    assert result.pearson_over_ceiling[0, 1] > 0.66
    assert result.disattenuated[0, 1] == pytest.approx(0.6, abs=0.05)
    assert result.disattenuated_within_layer[0, 1] == pytest.approx(0.6, abs=0.05)
    other = HeadScores(folds[1][:3].mean(0), folds=folds[1][:3])
    assert np.isnan(heritability({"a": HeadScores(folds[0].mean(0), folds=folds[0]), "b": other}).disattenuated[0, 1])


def test_ceiling_from_a_second_file() -> None:
    draw = np.random.default_rng(2)
    true = draw.normal(size=(20, 20))
    a, again, b, b_again = (HeadScores(true + draw.normal(size=(20, 20))) for _ in range(4))
    result = heritability({"a": a, "b": b}, repeats={"a": [again], "b": [b_again]})
    assert result.reliability == pytest.approx((0.5, 0.5), abs=0.1)
    one, none = heritability({"a": a, "b": b}, repeats={"a": [again]}).ceiling[0]
    assert one == 1.0 and np.isnan(none)


def test_reliability_is_nothing_where_estimates_do_not_agree() -> None:
    assert np.isnan(reliability(np.ones((3, 2, 2))))
    x = np.random.default_rng(0).normal(size=(4, 4))
    assert np.isnan(reliability(np.stack([x, -x + 0.1 * x.T])))
    assert reliability(np.stack([x, x])) == pytest.approx(1)


def test_holm_is_over_pairs_and_matrices_are_symmetric() -> None:
    base = random_scores(6, 8, 0)
    scores = {"base": base, "child": HeadScores(base.values + 0.3 * random_scores(6, 8, 1).values)}
    scores |= {f"stranger {i}": random_scores(6, 8, 2 + i) for i in range(3)}
    result = heritability(scores, unrelated=["base", "stranger 0", "stranger 1"])
    c = result.correlations
    for matrix in (c.pearson, c.spearman, c.pearson_within_layer, result.p_permutation, c.interval, c.null):
        assert matrix.shape[:2] == (5, 5) and np.array_equal(matrix, matrix.swapaxes(0, 1))
    assert result.p_permutation[0, 1] == pytest.approx(10 / 10_000)  # the least of ten
    assert c.p_value[0, 1] == pytest.approx(1 / 10_000)
    assert result.floor is not None
    low, mean, high = result.floor.pearson_within_layer
    assert low <= mean <= high < 0.6
    roots = {name: "base" if name in ("base", "child") else name for name in scores}
    kin, strangers, floor = result.verdicts(roots)
    assert "1 of 1 above" in kin and "0 of 9 above" in strangers and "base, stranger 0" in floor
    pairs, everywhere, inside = result.tables()
    assert markdown(pairs).count("\n|") == 11 and len(result.tables("child")[0].rows) == 4
    assert pairs.rows[0].cells[5].strong and not pairs.rows[1].cells[5].strong
    assert everywhere.rows[0].cells[1].tint == c.pearson[0, 1] and everywhere.form == inside.form == "matrix"
    assert inside.texts()[1][1] == f"{c.pearson_within_layer[0, 1]:.2f}"


def made() -> Heritability:
    """With a floor, and with ceilings for some."""
    scores = {name: random_scores(4, 5, seed) for seed, name in enumerate("abc")}
    folds = np.stack([scores["a"].values + 0.1 * random_scores(4, 5, seed).values for seed in (5, 6)])
    scores["a"] = HeadScores(scores["a"].values, "causal", folds=folds)
    return heritability(scores, unrelated=["a", "c"], n_permutations=99, n_bootstrap=50)


def test_matched_maps_are_held_against_one_another(unchecked: None, tmp_path: Path) -> None:
    scores = {name: random_scores(4, 5, seed) for seed, name in enumerate("abcd")}
    matched = {name: random_scores(4, 5, 7 + seed).values for seed, name in enumerate("abcd")}
    for name in "abd":
        kind = "causal" if name == "d" else "truth"  # whose matched rows are other ones
        scores[name] = HeadScores(scores[name].values, kind, {"matched": matched[name]})
    found = heritability(scores, n_permutations=99, n_bootstrap=50)
    r = float(np.corrcoef(matched["a"].ravel(), matched["b"].ravel())[0, 1])
    assert found.matched is not None and found.matched[0, 1] == found.matched[1, 0] == pytest.approx(r)
    assert np.isfinite(found.matched).sum() == 2
    table = found.tables()[0]
    assert table.header[2] == "r matched" and "r matched: Pearson's r of scores on matched rows" in table.note
    assert [line[2] for line in table.texts()] == [f"{r:.3f}", "", "", "", "", ""]
    found.save(tmp_path)
    assert Heritability.load(tmp_path) == found
    bare = heritability({name: scores[name] for name in "acd"}, n_permutations=99, n_bootstrap=50)
    assert bare.matched is None and "r matched" not in bare.tables()[0].header
    constant = {name: HeadScores(its.values, metrics={"matched": np.full((4, 5), 0.5)}) for name, its in scores.items()}
    assert heritability(constant, n_permutations=99, n_bootstrap=50).matched is None
    with pytest.raises(InputError, match="its parts are not all of the 4 models"):
        replace(found, matched=np.zeros((3, 3)))


def test_it_is_read_back(tmp_path: Path) -> None:
    found = made()
    found.save(tmp_path)
    again = Heritability.load(tmp_path)
    assert again == found and again.floor == found.floor and again.verdicts() == found.verdicts()
    assert np.array_equal(again.ceiling, found.ceiling, equal_nan=True) and np.isnan(again.ceiling[0, 1])
    assert again.kind == "causal and truth" and "<table" in again._repr_html_()
    assert again.plot().axes and again.plot("bars", reference="b").axes
    with pytest.raises(InputError, match="'d' is not one of the models compared: a, b, c"):
        again.plot("bars", reference="d")
    with pytest.raises(InputError, match="holds no heritability called 'causal', only result"):
        Heritability.load(tmp_path, "causal")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"ceiling": 1}, r"result.ceiling is a field that this version of lens_truth does not know"),
        ({"names": ["a", "b"]}, r"result does not fit \(its parts are not all of the 2 models that it names\)"),
        ({"unrelated": ["d"]}, r"not all of the 3 models"),
        ({"reliability": [0.5, -1, None]}, r"result does not fit \(a reliability is not a positive share\)"),
        ({"disattenuated": [[1, 2]]}, r"result.disattenuated is an array of shape \(1, 2\)"),
    ],
)
def test_a_damaged_one_is_refused(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Heritability.from_dict(made().as_dict() | change)


def test_truth_against_causal_scores(tmp_path: Path) -> None:
    """Ranks inside layers are related here, by construction; scores are not where one of them is constant."""
    truth = {name: random_scores(6, 8, seed) for seed, name in enumerate("abc")}
    causal = {"a": HeadScores(np.exp(truth["a"].values), "causal"), "b": HeadScores(np.ones((6, 8)), "causal")}
    found = truth_against_causal(truth, causal, n_permutations=199)
    assert list(found.values) == ["a", "b"] and found.ranks["b"] is None and found.p_holm["b"] is None
    related = found.ranks["a"]
    assert related is not None and related.pearson == pytest.approx(1) and found.p_holm["a"] == related.p_value
    assert found.tables()[0].texts()[1] == ["b", "", "", "", "", ""]
    assert "ranks inside layers 1.00" in found.text("a") and found.text("b") == "no correlation is defined"
    found.save(tmp_path)
    assert TruthCausal.load(tmp_path) == found
    with pytest.raises(InputError, match="not of the same models"):
        TruthCausal.from_dict(found.as_dict() | {"ranks": {}})


def test_shared_grid() -> None:
    scores = {
        "wide": HeadScores(np.arange(80.0).reshape(8, 10), provenance={"n_kv_heads": 5}),
        "deep": HeadScores(np.random.default_rng(0).normal(size=(9, 9)), provenance={"n_kv_heads": 3}),
    }
    with pytest.raises(InputError, match=r"wide 8 x 10, deep 9 x 9.*--shared-grid"):
        heritability(scores)
    assert doubts(scores) == []  # what the command asks first
    assert shared_grid([size_of(its) for its in scores.values()]) == (8, 6)  # whole groups of two and of three
    cropped = {name: its.crop(8, 6) for name, its in scores.items()}
    assert np.array_equal(cropped["wide"].values, scores["wide"].values[:8, :6])
    assert [its.n_kv_heads for its in cropped.values()] == [3, 2]
    assert heritability(cropped).shape == (8, 6)


def test_no_grid_is_offered_where_there_is_none() -> None:
    scores = {
        "fours": HeadScores(np.eye(8), provenance={"n_kv_heads": 2}),
        "threes": HeadScores(np.eye(9), provenance={"n_kv_heads": 3}),
    }
    with pytest.raises(InputError, match="do not correspond; nor have they whole groups of heads in common$"):
        heritability(scores)
    with pytest.raises(InputError, match="no whole group of heads"):
        shared_grid([size_of(its) for its in scores.values()])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"unrelated": ["nobody"]}, "'nobody' is not one of the models compared: a, b"),
        ({"unrelated": ["a"]}, "only 'a' is named as unrelated"),
        ({"repeats": {"c": []}}, "'c' is not one of the models"),
        ({"repeats": {"a": [random_scores(2, 2, 0)]}}, "a 4 x 5, repeat 1 of a 2 x 2"),
        ({"n_permutations": 0}, "0 permutations"),
    ],
)
def test_bad_requests(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        heritability({"a": random_scores(4, 5, 0), "b": random_scores(4, 5, 1)}, **change)  # pyright: ignore


def test_one_model_cannot_be_compared() -> None:
    with pytest.raises(InputError, match="needs two maps or more, and 1 was given"):
        heritability({"a": random_scores(4, 5, 0)})
