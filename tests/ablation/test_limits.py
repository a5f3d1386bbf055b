"""What an ablation says where it cannot tell: floors, ceilings, gates that nobody wanted, length, norms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reports
import torch
import transformers
from conftest import build

from lens_truth.ablation import ablate
from lens_truth.ablation.ablate import run_ablation
from lens_truth.ablation.arms import Controls
from lens_truth.ablation.limits import limit_of
from lens_truth.ablation.result import Ablation
from lens_truth.data.loading import load_examples
from lens_truth.evaluate.asker import Asker
from lens_truth.evaluate.benchmark import benchmark_of
from lens_truth.evaluate.choices import Choice, Choices
from lens_truth.models.loading import load
from lens_truth.scoring.scores import HeadScores

FOUND = reports.ablation()


def vanilla_at(benchmark: str = "conflict", **changed: Any) -> Ablation:
    """The made-up ablation, in which no gate gains, with another vanilla row."""
    rows = [
        replace(row, **changed) if (row.gate, row.benchmark) == ("vanilla", benchmark) else row for row in FOUND.rows
    ]
    nothing = {name: replace(its, difference=0.0, p_value=1.0) for name, its in rows[1].against.items()}
    rows = [replace(row, against=nothing) if row.gate == "causal" else row for row in rows]
    return replace(FOUND, rows=tuple(rows))


@pytest.mark.parametrize(
    ("low", "high", "chance", "unparsed", "limit"),
    [
        (0.0, 0.0, 0.0, 0.0, "floor"),
        (0.0, 0.08, 0.0, 0.0, "floor"),
        (0.02, 0.2, 0.0, 0.9, None),  # empty answers are wrong answers
        (0.45, 0.6, 0.5, 0.0, "floor"),
        (0.0, 0.0, 0.5, 1.0, "floor"),  # nothing could be read
        (0.2, 0.4, 0.5, 0.0, None),  # clearly below a guess: there is something to mend
        (0.55, 0.7, 0.5, 0.0, None),
        (0.95, 1.0, 0.5, 0.0, "ceiling"),
        (1.0, 1.0, 0.0, 0.0, "ceiling"),
        (0.9, 0.99, 0.0, 0.0, None),
    ],
)
def test_floor_and_ceiling(low: float, high: float, chance: float, unparsed: float, limit: str | None) -> None:
    row = replace(FOUND.rows[0], ci_low=low, ci_high=high, chance=chance, unparsed=unparsed)
    assert limit_of(row) == limit


def test_no_verdict_at_the_floor_and_at_the_ceiling() -> None:
    at_floor = vanilla_at(accuracy=0.5, ci_low=0.4, ci_high=0.6, chance=0.5)
    assert at_floor.verdicts()[0].startswith("org/base, causal gate on open: ")  # the first benchmark that can tell
    (floor,) = (said for said in at_floor.warnings() if "floor" in said)
    assert floor.startswith("org/base on conflict: the model by itself is at its floor (0.500 [0.40, 0.60], where")
    assert at_floor.tables()[0].texts()[0][2] == "0.500 [0.40, 0.60] floor"
    both = [replace(row, ci_high=1.0) if row.gate == "vanilla" else row for row in at_floor.rows]
    at_ceiling = replace(at_floor, rows=tuple(both))
    (ceiling,) = (said for said in at_ceiling.warnings() if "ceiling" in said)
    assert ceiling.startswith("org/base: the model by itself is at its ceiling on conflict, open, where no gain can")
    said = at_ceiling.verdicts()[0]
    assert said.startswith("org/base, causal gate on conflict: no verdict, since the model by itself is at its")
    assert "no significant gain" not in said and "NOT beat" not in said


def test_below_a_guess_ruin_gains() -> None:
    below = vanilla_at(accuracy=0.3, ci_low=0.2, ci_high=0.4, chance=0.5)
    (said,) = (said for said in below.warnings() if "ruins" in said)
    assert said.startswith("org/base on conflict: the model by itself is right less often than a guess (0.300 [")
    at_guess = vanilla_at(accuracy=0.45, ci_low=0.4, ci_high=0.5, chance=0.5)
    assert not [said for said in at_guess.warnings() if "ruins" in said]


def test_a_gain_at_the_floor_is_a_gain() -> None:
    rows = [replace(row, ci_low=0.0) if row.gate == "vanilla" else row for row in FOUND.rows]
    assert "+0.300" in replace(FOUND, rows=tuple(rows)).verdicts()[0]


def test_a_gate_that_validation_did_not_want_is_not_tested(tiny: Any, tmp_path: Path) -> None:
    examples = load_examples("zoo:text", limit=24)
    silence = HeadScores(np.full((3, 4), -1.0), "learned")
    benchmark = benchmark_of("choose", "choose", examples)
    one = run_ablation(Asker(tiny, "plain"), {"learned": silence}, test=[benchmark], validation=[benchmark])
    never = replace(one, validation={"model": {"choose": 2.0}})  # whatever this random model happened to prefer
    tested = [row for row in one.rows if row.gate == "vanilla"]
    none = replace(never, rows=tuple(tested))
    assert none.unwanted("model") == ("learned", "uniform (tuned)") and none.chosen("learned") is None
    assert none.tables()[0].texts()[-1] == ["uniform (tuned)", "none: validation wanted no gate", ""]
    assert "validation wanted no gate" in none.verdicts()[0] and "none was tested" in none.verdicts()[0]
    assert none.search_tables("model")[0].caption == "learned: none: validation wanted no gate"
    none.save(tmp_path)
    assert Ablation.load(tmp_path) == none
    assert len(none.plot().axes) == 1 and len(none.plot("search").axes) == 2


def test_length_alone(tmp_path: Path) -> None:
    """Nine short right answers of ten, which a model that knows nothing prefers too."""
    choices = [Choice(str(i), "?", 5.0 if i else -1.0, -0.1, 0.9, (2, 9) if i else (9, 2)) for i in range(10)]
    ranked = Choices(tuple(choices))
    assert ranked.summary()["shorter"] == ranked.summary()["accuracy"] == 0.9
    (said,) = ranked.warnings()
    assert said.startswith(
        "SURFACE CONFOUND: the shorter answer is the supported one in 0.900 of the questions, which is"
    )
    assert "accuracy_matched" not in ranked.summary()
    alike = Choices(tuple(replace(choice, tokens=(3, 3)) for choice in choices))
    assert alike.warnings() == [] and alike.summary()["shorter"] == 0.5
    assert alike.summary()["accuracy_matched"] == 0.9 and alike.summary()["n_matched"] == 10
    longer = Choices(tuple(replace(choice, tokens=choice.tokens[::-1]) for choice in choices))
    assert "the longer answer is the supported one in 0.900" in longer.warnings()[0]
    confounded = vanilla_at(shorter=0.9, chance=0.5, ci_low=0.55)
    assert any("org/base on conflict: SURFACE CONFOUND" in said for said in confounded.warnings())


def behind_a_norm(tokenizer: Any) -> Any:
    """A random Gemma 3."""
    torch.manual_seed(7)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "head_dim": 8, "vocab_size": 400}
    more: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.3}
    config = transformers.Gemma3TextConfig(**shape, **more)
    return load(transformers.AutoModelForCausalLM.from_config(config).eval(), tokenizer=tokenizer)


@pytest.mark.filterwarnings("ignore::UserWarning")  # TransformerLens on MLPs that it does not hook
@pytest.mark.parametrize("every_layer", [True, False])
def test_controls_that_act_behind_a_norm(tokenizer: Any, every_layer: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = behind_a_norm(tokenizer)
    if not every_layer:
        monkeypatch.setattr(ablate, "common_gain_acts", lambda _: (True, False, False))  # pyright: ignore[reportUnknownLambdaType]
    scores = {"causal": HeadScores(np.random.default_rng(0).normal(size=(3, 4)), "causal")}
    benchmark = benchmark_of("choose", "choose", load_examples("zoo:text", limit=16))
    found = run_ablation(
        Asker(model, "plain"), scores, test=[benchmark], validation=[benchmark], controls=Controls(trials=2)
    )
    assert found.relative == {"model": (0, 1, 2) if every_layer else (1, 2)}
    (said,) = (warning for warning in found.warnings() if "behind the heads' projection" in warning)
    assert f"in {3 if every_layer else 2} layers ({'0-2' if every_layer else '1-2'})" in said
    assert set(found.search["model"]) == {"causal", "contrast (tuned)"}
    assert len(found.search["model"]["contrast (tuned)"]) == len(found.search["model"]["causal"]) == 12
    assert not {row.gate for row in found.rows} & {"uniform"}
    tested = {row.gate for row in found.rows if row.of == "causal"}
    assert tested in ({"permuted", "norm-matched"}, set())


def test_a_plain_model_has_its_gain(tokenizer: Any) -> None:
    benchmark = benchmark_of("choose", "choose", load_examples("zoo:text", limit=16))
    model = load(build("qwen3", len(tokenizer)), tokenizer=tokenizer)
    scores = {"causal": HeadScores(np.random.default_rng(0).normal(size=(3, 4)), "causal")}
    found = run_ablation(Asker(model, "plain"), scores, test=[benchmark], validation=[benchmark])
    assert found.relative == {"model": ()} and "uniform (tuned)" in found.search["model"]
