"""Logs scored anew: what is wrong with their curves, controls, sets; published numbers to the digit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn import faults

from lens_truth.errors import InputError
from lens_truth.neurons.dose_log import ItemCurve, read_dose_log
from lens_truth.neurons.dose_result import DoseCurves
from lens_truth.neurons.neuron_set import NeuronSet
from lens_truth.neurons.rescoring import dose_curves, read_neuron_sets

ALPHAS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
SKILL = np.random.default_rng(0).normal(size=400)


def curve(slope: float, seed: int, binary: bool = True) -> ItemCurve:
    """Of a model whose answers at alpha 1 are the same in every curve."""
    rng = np.random.default_rng(seed)
    moved = slope * (np.array(ALPHAS) - 1)[:, None] + 0.1 * rng.normal(size=(7, 400))
    moved[2] = 0
    ids = tuple(f"q{i}" for i in range(400))
    scores = SKILL + moved
    return ItemCurve(ALPHAS, (scores > 0).astype(float) if binary else scores, ids, ids)


def some(**more: ItemCurve) -> dict[str, ItemCurve]:
    controls = {f"seed_{i}_random": curve(0.0, i) for i in range(1, 5)}
    return {"mine": curve(0.2, 0), **controls, **more}


def kinds(curves: Mapping[str, ItemCurve]) -> list[tuple[str, str]]:
    return [(its.curve, its.kind) for its in dose_curves(curves).flags]


def test_a_sound_log_and_back(tmp_path: Path) -> None:
    found = dose_curves(some(), log="log.csv")
    assert not found.flags
    mine = found.curves["mine"]
    assert mine.response.reference == 1.0
    assert mine.shared == tuple(f"seed_{i}_random" for i in range(1, 5))
    assert mine.counts == tuple(int(its.sum()) for its in curve(0.2, 0).outcomes)
    assert mine.against["seed_*_random"].beyond
    assert [its.control for its in found.curves.values()] == ["", *["seed_*_random"] * 4]
    assert "beyond what is expected of one more" in found.verdicts()[0]
    found.save(tmp_path)
    assert DoseCurves.load(tmp_path) == found


def test_another_models_alpha_1_is_named_as_such() -> None:
    """Every dose but 1 goes through something more, as an autoencoder's reconstruction."""
    through = curve(0.0, 9)
    more = np.random.default_rng(1).normal(size=400) + 0.5
    outcomes = through.outcomes.copy()
    for i in (0, 1, 3, 4, 5, 6):
        outcomes[i] = (SKILL + more + 0.05 * np.random.default_rng(i).normal(size=400)) > 0
    found = dose_curves(some(sae=replace(through, outcomes=outcomes)))
    (flag,) = found.flags
    assert (flag.curve, flag.kind, flag.alpha) == ("sae", "odd point", 1.0)
    assert "also that of mine, seed_1_random and 3 more, the unmodified model" in flag.sentence
    its = found.curves["sae"]
    assert its.without is not None
    assert its.without.alphas == (0.0, 0.5, 1.5, 2.0, 2.5, 3.0)
    assert its.sound.reference == 0.0


def test_copies() -> None:
    its = some()
    assert kinds(its | {"seed_9_random": its["seed_1_random"]}) == [("seed_9_random", "copied curve")]
    scores = {"mine": curve(0.2, 0, binary=False), "seed_1": curve(0.0, 1, binary=False)}
    rounded = replace(scores["seed_1"], outcomes=scores["seed_1"].outcomes.round(4))
    assert kinds(scores) == []
    assert kinds(scores | {"seed_2": rounded}) == [("seed_2", "copied curve")]
    twice = scores["mine"].outcomes.copy()
    twice[6] = twice[5]
    assert kinds({"mine": replace(scores["mine"], outcomes=twice)}) == [("mine", "copied dose")]


def test_quiet_curves_are_no_copies() -> None:
    """Two that move two items each may be equal by chance."""
    still = np.tile((SKILL > 0).astype(float), (7, 1))
    still[0, :2] = 1 - still[0, :2]
    quiet = replace(curve(0.0, 1), outcomes=still)
    assert kinds(some(seed_8=quiet, seed_9=quiet)) == []


def test_what_stopped_or_never_began() -> None:
    whole = curve(0.0, 7)
    outcomes = whole.outcomes.copy()
    outcomes[6, 300:] = np.nan
    assert kinds(some(seed_7=replace(whole, outcomes=outcomes))) == [("seed_7", "missing items")]
    found = dose_curves(some(seed_7=replace(whole, outcomes=outcomes)))
    assert found.curves["seed_7"].response.n == 300
    assert "the first 300 of 400, as if it had stopped" in found.flags[0].sentence
    short = replace(whole, alphas=ALPHAS[:4], outcomes=whole.outcomes[:4])
    assert kinds(some(seed_7=short)) == [("seed_7", "stops early")]
    assert kinds(some(seed_7=replace(whole, outcomes=whole.outcomes[[2] * 7]))) == [("seed_7", "nothing changes")]
    assert kinds(some(seed_7=replace(whole, repeated=3))) == [("seed_7", "repeated rows")]


def test_a_step_is_no_dose_response() -> None:
    rng = np.random.default_rng(5)
    scores = SKILL + 0.6 + 0.05 * rng.normal(size=(7, 400))
    scores[0] = SKILL
    stepped = replace(curve(0.0, 1), outcomes=(scores > 0).astype(float))
    (flag,) = dose_curves({"shift": stepped}, reference=0.0).flags
    assert (flag.kind, flag.alpha) == ("step", 0.0)
    assert not dose_curves({"mine": curve(0.2, 0)}, reference=0.0).flags


def test_controls_are_those_of_their_curve_or_named() -> None:
    its = some(sae_mine=curve(0.0, 20), sae_random_1=curve(0.0, 21), sae_random_2=curve(0.0, 22))
    found = dose_curves(its)
    assert list(found.curves["mine"].against) == ["seed_*_random"]
    assert list(found.curves["sae_mine"].against) == ["sae_random_*"]
    named = dose_curves(
        {name.replace("random", "x").replace("seed", "y"): c for name, c in some().items()}, controls=["y_*"]
    )
    assert list(named.curves["mine"].against) == ["y_*_x"]
    with pytest.raises(InputError, match="no curve matches 'z_"):
        dose_curves(some(), controls=["z_*"])


def test_controls_with_other_items_are_not_compared() -> None:
    its = some()
    others = {name: replace(c, ids=tuple(f"p{i}" for i in range(400))) for name, c in its.items() if name != "mine"}
    assert not dose_curves({"mine": its["mine"], **others}).curves["mine"].against


def test_curves_that_cannot_be_drawn() -> None:
    its = curve(0.0, 1)
    with pytest.raises(InputError, match="mine has one alpha"):
        dose_curves({"mine": replace(its, alphas=(1.0,), outcomes=its.outcomes[:1])})
    with pytest.raises(InputError, match="mine has no item with an outcome at every alpha"):
        dose_curves({"mine": replace(its, outcomes=np.where(np.arange(7)[:, None] == 0, np.nan, its.outcomes))})


def test_sets_of_neurons(tmp_path: Path) -> None:
    def of(*places: tuple[int, int]) -> NeuronSet:
        layer, neuron = np.array(places).T
        return NeuronSet(layer, neuron, np.ones(len(places)))

    of((0, 1), (0, 2), (3, 5)).save(tmp_path / "neurons_a.json")
    of((0, 2), (0, 9), (3, 7)).save(tmp_path / "neurons_b.json")
    of((1, 1)).save(tmp_path / "c.json")
    (tmp_path / "other.json").write_text('{"accuracy": 0.5}')
    found = dose_curves(some(), sets=read_neuron_sets(tmp_path)).sets
    assert {name: (its.n, its.n_layers) for name, its in found.items()} == {"c": (1, 1), "a": (3, 2), "b": (3, 2)}
    assert found["a"].shared == {"b": 1}
    assert found["a"].same_layers == ("b",)
    assert not found["c"].shared


@pytest.mark.published
def test_published_compliance_to_the_digit(data: Path) -> None:
    folder = data / "faitheval_hneurons"
    found = dose_curves(read_dose_log(folder / "compliance.csv"), sets=read_neuron_sets(folder))
    mine = found.curves["h_neurons"]
    assert mine.counts == (642, 654, 660, 670, 682, 695, 705)
    slope, change = mine.response.slope, mine.response.change(3.0)
    assert [round(slope.value, 4), round(slope.ci_low, 2), round(slope.ci_high, 2)] == [2.0929, 1.38, 2.83]
    its = change.change
    assert [round(its.value, 1), round(its.ci_low, 1), round(its.ci_high, 1)] == [4.5, 2.9, 6.1]
    assert (change.start, change.gained, change.lost, mine.response.order) == (1.0, 58, 13, "rises")
    slopes = [round(slope, 2) + 0 for slope in mine.against["seed_*_unconstrained"].slopes]
    assert sorted(slopes) == [-0.11, -0.07, 0, 0.11, 0.17]
    flagged = [(flag.curve, flag.kind, flag.alpha) for flag in found.flags]
    sae = ("sae_h_features", *(f"sae_seed_{i}_random" for i in range(3)))
    assert flagged == [(name, "odd point", 1.0) for name in sae]
    assert [its.n for its in found.sets.values()] == [38] * 5
    assert not any(its.shared or its.same_layers for its in found.sets.values())


@pytest.mark.published
def test_published_truthfulqa_has_no_odd_point(data: Path) -> None:
    found = dose_curves(read_dose_log(data / "truthfulqa_iti/mc1.jsonl.gz"))
    assert not found.flags
    iti = found.curves["iti_final-fold0"]
    assert np.round([level.value for level in iti.response.levels], 4).tolist() == [26.8293, 32.3171]
    assert "h-neurons_final-fold0" in iti.shared
    assert found.curves["h-neurons_final-fold0"].response.reference == 1.0


LONG = "models--google--gemma-3-4b-it/experiment_with_a_long_name_{}"


@pytest.mark.parametrize(("n", "controls"), [(1, 0), (3, 4), (14, 8)])
def test_every_text_can_be_read(n: int, controls: int) -> None:
    curves = {LONG.format(i): curve(0.1 * i, i) for i in range(n)}
    curves |= {f"seed_{i}": curve(0.0, 50 + i) for i in range(controls)}
    odd = curves[LONG.format(0)].outcomes
    odd[2] = np.random.default_rng(0).random(400) < 0.5
    found = dose_curves(curves)
    assert any(its.odd for its in found.curves.values())
    assert list(faults(found.plot())) == []
