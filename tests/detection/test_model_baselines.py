"""What a model tells without its trained heads: against Hugging Face and scikit-learn by hand, on planted words, beyond
the context."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from multimodal import build_multimodal
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lens_truth.data.examples import Example, labels_of
from lens_truth.data.loading import load_examples
from lens_truth.detection.untaught import ModelBaselines, context_limit, model_baselines
from lens_truth.errors import InputError
from lens_truth.models import untrained
from lens_truth.models.loading import load
from lens_truth.models.prompts import encode
from lens_truth.models.untrained import untrained_twin
from lens_truth.scoring import closed_form
from lens_truth.scoring.capturing import capture
from lens_truth.scoring.probing import truth_scores
from lens_truth.stats.folds import grouped_folds

PENALTY = 0.1
LONGER = ["attic", "hall and the attic", "attic of the old tower"]
EXAMPLES = [
    replace(example, answer=f"{example.answer} in the {LONGER[number % 3]}" if number % 4 else example.answer)
    for number, example in enumerate(load_examples("zoo:text", limit=60))
]
LABELS = np.array(labels_of(EXAMPLES))
FOLD = grouped_folds(LABELS, [example.group for example in EXAMPLES], 5, 0)
NAMES = [
    "model tokens",
    "layer-0 embedding, mean",
    "layer-0 embedding, last token",
    "untrained twin",
    "log-probability",
    "log-probability per token",
]


@pytest.fixture(scope="module")
def found(tiny: Any) -> ModelBaselines:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(closed_form, "PENALTIES", (PENALTY,) * 3)
        return model_baselines(tiny, EXAMPLES, FOLD)


def refitted(x: np.ndarray, rows: np.ndarray, test: np.ndarray, labels: np.ndarray = LABELS) -> np.ndarray:
    model = make_pipeline(StandardScaler(), Ridge(alpha=PENALTY * rows.sum())).fit(x[rows], labels[rows])
    return model.predict(x[test]) - 0.5


def answers(tiny: Any) -> list[list[int]]:
    return [row.ids[slice(*row.answer)] for row in encode(tiny.tokenizer, EXAMPLES, "plain")]


def test_all_rows_and_all_baselines(tiny: Any, found: ModelBaselines) -> None:
    assert list(found.decisions) == NAMES and not found.findings
    assert all(its.shape == (60,) and np.isfinite(its).all() for its in found.decisions.values())


def test_number_of_tokens(tiny: Any, found: ModelBaselines) -> None:
    for example, ids in zip(EXAMPLES, answers(tiny), strict=True):
        assert tiny.tokenizer.decode(ids).strip() == example.answer
    n = np.array([len(ids) for ids in answers(tiny)], dtype=float)
    assert len(set(n)) > 2
    x = StandardScaler().fit_transform(np.stack([n, np.log(n)], axis=1))
    for k in range(5):
        model = LogisticRegression(solver="liblinear", tol=1e-2).fit(x[k != FOLD], LABELS[k != FOLD])
        assert found.decisions["model tokens"][k == FOLD] == pytest.approx(model.decision_function(x[k == FOLD]))
    before = found.before["model tokens"]
    assert np.isnan(before[FOLD == 0]).all()
    early = LogisticRegression(solver="liblinear", tol=1e-2).fit(x[FOLD < 3], LABELS[FOLD < 3])
    assert before[FOLD == 3] == pytest.approx(early.decision_function(x[FOLD == 3]))


def test_embeddings(tiny: Any, found: ModelBaselines) -> None:
    weight = tiny.original_model.model.embed_tokens.weight.detach().double().numpy()
    mean = np.array([weight[ids].mean(0) for ids in answers(tiny)])
    last = np.array([weight[ids[-1]] for ids in answers(tiny)])
    for name, x in {"layer-0 embedding, mean": mean, "layer-0 embedding, last token": last}.items():
        for k in range(5):
            wanted = refitted(x, k != FOLD, k == FOLD)
            assert found.decisions[name][k == FOLD] == pytest.approx(wanted, rel=1e-3, abs=1e-3)


def test_the_twin_is_probed_as_the_model_is(tiny: Any, found: ModelBaselines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_form, "PENALTIES", (PENALTY,) * 3)
    twin = capture(untrained_twin(tiny), EXAMPLES)
    assert found.untrained is not None and found.untrained.kind == "untrained" and found.truth.kind == "truth"
    for its, activations in ((found.untrained, twin), (found.truth, capture(tiny, EXAMPLES))):
        wanted = truth_scores(activations, n_permutations=0)
        assert np.array_equal(its.values, wanted.values)
        assert np.array_equal(its.metrics["auroc"], wanted.metrics["auroc"])
    assert found.untrained.provenance["weights"] != found.truth.provenance["weights"]
    for k in range(5):
        accuracy = np.zeros((3, 4))
        for layer, head in np.ndindex(3, 4):
            x = twin.z[:, layer, head].double().numpy()
            for j in set(range(5)) - {k}:
                test = j == FOLD
                accuracy[layer, head] += ((refitted(x, (k != FOLD) & (j != FOLD), test) > 0) == LABELS[test]).mean()
        layer, head = np.unravel_index(accuracy.argmax(), accuracy.shape)
        wanted = refitted(twin.z[:, layer, head].double().numpy(), k != FOLD, k == FOLD)
        assert found.decisions["untrained twin"][k == FOLD] == pytest.approx(wanted, rel=1e-2, abs=1e-3)


def test_log_probabilities_are_hugging_faces(tiny: Any, found: ModelBaselines) -> None:
    for number in (0, 1, 7, 30):
        example = EXAMPLES[number]
        before = f"Context:\n{example.context}\n\nQuestion: {example.question}\nAnswer:"
        ids = tiny.tokenizer(f"{before} {example.answer}", return_tensors="pt").input_ids
        ids = ids[:, : ids.shape[1] - (int(ids[0, -1]) == tiny.tokenizer.eos_token_id)]
        start = len(tiny.tokenizer(before).input_ids)
        start -= int(tiny.tokenizer(before).input_ids[-1] == tiny.tokenizer.eos_token_id)
        with torch.no_grad():
            log_probs = tiny.original_model(ids).logits[0].log_softmax(-1)
        likely = log_probs[torch.arange(start - 1, ids.shape[1] - 1), ids[0, start:]]
        assert found.decisions["log-probability"][number] == pytest.approx(float(likely.sum()), abs=1e-3)
        assert found.decisions["log-probability per token"][number] == pytest.approx(float(likely.mean()), abs=1e-3)


def test_rows_one_by_one_are_the_batch(tiny: Any, found: ModelBaselines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_form, "PENALTIES", (PENALTY,) * 3)
    alone = model_baselines(tiny, EXAMPLES, FOLD, batch_size=1)
    for name in NAMES:
        assert alone.decisions[name] == pytest.approx(found.decisions[name], rel=1e-2, abs=2e-3), name
    assert alone.truth.values == pytest.approx(found.truth.values, abs=0.02)


def test_seeds(tiny: Any, found: ModelBaselines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_form, "PENALTIES", (PENALTY,) * 3)
    same, other = (model_baselines(tiny, EXAMPLES, FOLD, seed=seed) for seed in (0, 1))
    for name in NAMES:
        assert np.array_equal(same.decisions[name], found.decisions[name])
        assert np.array_equal(same.decisions[name], other.decisions[name]) == (name != "untrained twin"), name


def planted(n: int = 100) -> list[Example]:
    """Without contexts; one word of the answer, between two others, says all of the label."""
    rng = np.random.default_rng(0)
    made = [replace(its, context="", evidence=()) for its in load_examples("zoo:text", limit=n)]
    words = ["coral", "pearl", "vault", "cross", "attic"]
    return [
        replace(
            its, answer=" ".join([str(rng.choice(words)), "amber" if its.label else "brown", str(rng.choice(words))])
        )
        for its in made
    ]


def areas(model: Any, examples: list[Example]) -> dict[str, float]:
    labels = np.array(labels_of(examples))
    fold = grouped_folds(labels, [example.group for example in examples], 5, 0)
    return {name: roc_auc_score(labels, its) for name, its in model_baselines(model, examples, fold).decisions.items()}


@pytest.mark.zoo
def test_a_word_that_gives_the_label_away(zoo: Any) -> None:
    """It is read by the embeddings of the answer and by heads that never learned anything; and where half of the
    questions have it the other way round, by neither."""
    examples = planted()
    area = areas(zoo("llama-base"), examples)
    assert area["layer-0 embedding, mean"] > 0.99 and area["untrained twin"] > 0.9
    assert area["layer-0 embedding, last token"] < 0.65 and area["model tokens"] == 0.5
    turned = [replace(its, label=1 - its.label) if number % 4 < 2 else its for number, its in enumerate(examples)]
    area = areas(zoo("llama-base"), turned)
    assert area["layer-0 embedding, mean"] < 0.7 and area["untrained twin"] < 0.7


def test_the_last_word_is_read_alone(tiny: Any) -> None:
    examples = [replace(its, answer=" ".join(reversed(its.answer.split()[:2]))) for its in planted(60)]
    area = areas(tiny, [replace(its, answer=f"vault {its.answer.split()[0]}") for its in examples])
    assert area["layer-0 embedding, last token"] > 0.99 and area["layer-0 embedding, mean"] > 0.99


def test_rows_with_images(tmp_path: Path) -> None:
    build_multimodal("llava", tmp_path)
    model, examples = load(str(tmp_path)), load_examples("zoo:image", limit=30)
    labels = np.array(labels_of(examples))
    fold = grouped_folds(labels, [example.group for example in examples], 3, 0)
    found = model_baselines(model, examples, fold)
    assert list(found.decisions) == NAMES and all(np.isfinite(its).all() for its in found.decisions.values())
    weight = model.original_model.get_input_embeddings().weight.detach().double().numpy()
    rows = [model.tokenizer(f" {its.answer}", add_special_tokens=False).input_ids for its in examples]
    x, told = np.array([weight[ids].mean(0) for ids in rows]), found.decisions["layer-0 embedding, mean"]
    same = [(i, j) for i in range(30) for j in range(i) if fold[i] == fold[j] and np.array_equal(x[i], x[j])]
    assert same and all(told[i] == pytest.approx(told[j], abs=1e-5) for i, j in same)  # whatever their images


def test_rows_beyond_the_context(tiny: Any) -> None:
    long = [replace(its, context=its.context * 30) if number in (3, 17) else its for number, its in enumerate(EXAMPLES)]
    with pytest.raises(InputError, match="2 of 60 examples are longer"):
        capture(tiny, long)
    found = model_baselines(tiny, long, FOLD)
    rows = np.delete(np.arange(60), [3, 17])
    (finding,) = found.findings
    lengths = [len(tiny.tokenizer(its.context).input_ids) for its in (long[3], long[17])]
    assert (finding.check, finding.level, finding.count, finding.of) == ("context limit", "wrong", 2, 60)
    assert finding.example.startswith(f"'{long[3].id}': {long[3].question}"[:30])
    told = int(finding.example.rsplit(", ", 1)[1].removesuffix(" tokens"))
    assert lengths[0] < told < lengths[0] + 40 and told > 128
    assert "longer than the 128 tokens" in finding.says and "a model that reads" in finding.cure
    others = model_baselines(tiny, [long[row] for row in rows], FOLD[rows])
    for name, its in {**found.decisions, "best head": found.best_head}.items():
        assert np.isnan(its[[3, 17]]).all()
        wanted = {**others.decisions, "best head": others.best_head}[name]
        np.testing.assert_allclose(its[rows], wanted, rtol=1e-4, atol=1e-5)
    assert not others.findings and found.truth.provenance["n_examples"] == 58


def test_the_last_token_that_fits(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = [row.answer[1] for row in encode(tiny.tokenizer, EXAMPLES, "plain")]
    for limit, beyond in ((max(lengths), 0), (max(lengths) - 1, lengths.count(max(lengths)))):
        monkeypatch.setattr(tiny.cfg, "n_ctx", limit)
        found = model_baselines(tiny, EXAMPLES, FOLD, untrained=False)
        assert sum(finding.count for finding in found.findings) == beyond == np.isnan(found.best_head).sum()


def test_too_few_rows_are_left(tiny: Any) -> None:
    long = [replace(its, context=its.context * 30) if k == 2 else its for its, k in zip(EXAMPLES, FOLD, strict=True)]
    with pytest.raises(InputError, match=r"fit into the model's context of 128 tokens, and fold 2 of 5 is empty then"):
        model_baselines(tiny, long, FOLD)


def test_context_limits(unchecked: None) -> None:
    for n_ctx, said, wanted in ((128, 10, 128), (1 << 20, 512, 512), (1 << 20, int(1e30), 1 << 20)):
        model: Any = SimpleNamespace(cfg=SimpleNamespace(n_ctx=n_ctx), tokenizer=SimpleNamespace(model_max_length=said))
        assert context_limit(model) == wanted


def test_without_a_twin(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = model_baselines(tiny, EXAMPLES, FOLD, untrained=False)
    assert found.untrained is None and "untrained twin" not in found.decisions and not found.findings

    def no_room(name: str, needed: int, device: str) -> None:
        raise InputError(f"model '{name}': its weights need 9 GB")

    monkeypatch.setattr(untrained, "check_room", no_room)
    found = model_baselines(tiny, EXAMPLES, FOLD)
    (finding,) = found.findings
    assert found.untrained is None and list(found.decisions) == [name for name in NAMES if name != "untrained twin"]
    assert finding.level == "note" and finding.says.endswith("its weights need 9 GB")


@pytest.mark.zoo
def test_truth_is_in_what_was_learned(zoo: Any) -> None:
    """Where answers give nothing away, heads tell their labels and the twin's do not."""
    examples = load_examples("zoo:text", limit=200)
    labels = np.array(labels_of(examples))
    fold = grouped_folds(labels, [example.group for example in examples], 5, 0)
    found = model_baselines(zoo("llama-base"), examples, fold)
    assert found.untrained is not None
    assert (
        roc_auc_score(labels, found.best_head) > 0.9 > 0.65 > roc_auc_score(labels, found.decisions["untrained twin"])
    )
    assert found.truth.values.max() > 0.9 > 0.65 > found.untrained.values.max()
    assert roc_auc_score(labels, found.decisions["log-probability"]) > 0.9
