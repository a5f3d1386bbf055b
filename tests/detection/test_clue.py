"""CLUE: nearest centroids as scikit-learn's, distances by loops, experiences as long, both ends of answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import build
from sklearn.neighbors import NearestCentroid

from lens_truth.data import world_examples as zoo_data
from lens_truth.data.examples import Example
from lens_truth.detection.clue import (
    Clue,
    directions_of,
    held_out_distances,
)
from lens_truth.detection.ends import answer_ends, between, read_ends, sampled_rows, whole
from lens_truth.detection.lengths import lengths_alike, matched_weights
from lens_truth.errors import DataWarning, InputError
from lens_truth.evaluate.answers import Answer
from lens_truth.evaluate.sampling import SampledAnswers, Sampling, sampled_answers
from lens_truth.models.loading import load
from lens_truth.models.prompts import Encoded
from lens_truth.scoring.causal import answer_log_probs, encode_answers


def problem(n: int = 60, layers: int = 3, seed: int = 0) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([0, 1], n // 2))
    deltas = rng.normal(size=(n, layers, 8)) + 0.6 * labels[:, None, None] + 30.0
    return torch.from_numpy(deltas).float(), labels, rng.integers(0, 4, n)


def test_one_layer_is_scikit_learn_s_nearest_centroid() -> None:
    deltas, labels, fold = problem(layers=1)
    clue = Clue.fit(deltas, labels)
    judge = NearestCentroid().fit(deltas[:, 0].numpy(), labels)
    assert ((clue.score(deltas) > 0) == (judge.predict(deltas[:, 0].numpy()) == 1)).all()
    assert np.allclose(judge.centroids_[1], clue.right[0]) and np.allclose(judge.centroids_[0], clue.wrong[0])
    (held_out,) = held_out_distances(deltas, labels[None], fold)
    for k in range(4):
        x, test = deltas[:, 0].numpy(), fold == k
        said = NearestCentroid().fit(x[~test], labels[~test]).predict(x[test])
        assert ((held_out[test, 1] > held_out[test, 0]) == (said == 1)).all()


def test_distances_of_draws_equal_centroids_that_are_made() -> None:
    """Also weighted ones; averaged over layers, not the distance of all layers together."""
    deltas, labels, fold = problem()
    draws = np.stack([labels, np.random.default_rng(1).permutation(labels)])
    weights = np.random.default_rng(2).random((4, len(labels)))
    for given in (None, weights):
        found = held_out_distances(deltas, draws, fold, given)
        for p, draw in enumerate(draws):
            for k in range(4):
                train = fold != k
                clue = Clue.fit(deltas[train], draw[train], None if given is None else given[k][train])
                assert found[p][~train] == pytest.approx(clue.distances(deltas[~train]), rel=1e-9)
    apart = (deltas[0].double() - clue.right).norm(dim=-1)
    assert clue.distances(deltas[:1])[0, 0] == pytest.approx(float(apart.mean()))


def test_lengths_are_exact_up_to_sixteen() -> None:
    n = np.arange(1, 120)
    strata = lengths_alike(n)
    assert strata[:16].tolist() == list(range(1, 17)) and (np.diff(strata) >= 0).all()
    for stratum in np.unique(strata[16:]):
        its = n[strata == stratum]
        assert its[-1] / its[0] < 1.25 and its[0] > 16
    assert len(np.unique(strata)) < 27


def test_matched_experiences_are_as_long() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    tokens = rng.integers(1, 5, 200) + labels * rng.integers(0, 4, 200)
    fold = rng.integers(0, 5, 200)
    weights = matched_weights(tokens, labels, fold)
    for k in range(5):
        assert (weights[k][fold == k] == 0).all()
        right, wrong = (np.bincount(tokens, weights[k] * (labels == label), minlength=12) for label in (1, 0))
        assert right == pytest.approx(wrong) and right.sum() > 20
        assert (weights[k][tokens == 8] == 0).all()  # there are no wrong ones so long


def test_longer_deltas_are_no_better_once_they_have_one_length() -> None:
    """Deltas that grow with length and hold nothing else: length is all that CLUE has, and matching takes it away."""
    rng = np.random.default_rng(3)
    labels = np.tile([0, 1], 150)
    tokens = rng.integers(2, 6, 300) + 2 * labels
    direction = rng.normal(size=(2, 16))
    noise = rng.normal(size=(300, 2, 16)) * 0.1
    deltas = torch.from_numpy(tokens[:, None, None] * (direction + noise)).float()
    fold = np.arange(300) % 5
    (raw,) = held_out_distances(deltas, labels[None], fold)
    assert ((raw[:, 1] > raw[:, 0]) == labels).mean() > 0.7
    (unit,) = held_out_distances(directions_of(deltas), labels[None], fold)
    assert abs(((unit[:, 1] > unit[:, 0]) == labels).mean() - 0.5) < 0.1
    assert torch.allclose(directions_of(deltas).norm(dim=-1), torch.ones(300, 2))


def test_experiences_of_one_kind() -> None:
    deltas, labels, _ = problem()
    with pytest.raises(InputError, match="a probe needs both classes"):
        Clue.fit(deltas, labels * 0)
    with pytest.raises(InputError, match="all experiences of one label have weight 0"):
        Clue.fit(deltas, labels, 1.0 * (labels == 1))


def by_itself(model: Any, row: Encoded) -> tuple[torch.Tensor, float]:
    """All positions of a row that is alone, by TransformerLens's own cache."""
    ids = torch.tensor([row.ids])
    _, cache = model.run_with_cache(ids, attention_mask=torch.ones_like(ids))
    states = torch.stack([cache[f"blocks.{layer}.hook_resid_post"][0] for layer in range(model.cfg.n_layers)], dim=1)
    with torch.no_grad():
        return states, float(answer_log_probs(model, [row]))


@pytest.mark.parametrize("template", ["plain", "chat"])
def test_both_ends_are_those_of_each_row_alone(family: str, tokenizer: Any, template: Any) -> None:
    model = load(build(family, len(tokenizer), max_position_embeddings=256), tokenizer=tokenizer)
    examples = zoo_data.text_examples("test", 12, 0)
    examples += [Example("long", "l", "What colour?", "coral and coral or pearl", 0, context=examples[0].context)]
    ends, rows = (
        answer_ends(model, examples, template=template, batch_size=5),
        encode_answers(model, examples, template),
    )
    for i, row in enumerate(rows):
        states, log_prob = by_itself(model, row)
        assert torch.allclose(ends.start[i], states[row.continuation - 1], atol=2e-4)
        assert torch.allclose(ends.end[i], states[row.answer[1] - 1], atol=2e-4)
        assert ends.log_probs[i] == pytest.approx(log_prob, abs=1e-3)
        assert ends.n_tokens[i] == row.n_answer_tokens == ends.n_answer_tokens[i]
    assert torch.equal(ends.deltas, ends.end - ends.start)


def test_sampled_answers_are_read_as_they_were_sampled(tiny: Any) -> None:
    asked = [e for e in zoo_data.text_examples("test", 12, 0) if e.label]
    sampled = sampled_answers(tiny, asked, Sampling(n=4, temperature=0.6), template="chat", n_new=3)
    rows, at = sampled_rows(sampled)
    assert len(rows) == len({(q, sampled.answers[q][n].tokens) for q, n in at}) < 4 * len(asked)
    for row, (question, number) in zip(rows, at, strict=True):
        assert tuple(row.ids[row.continuation :]) == sampled.answers[question][number].tokens
        assert row.ids[: row.continuation] == sampled.prompts[question].ids
    ends = read_ends(tiny, rows, [whole(row) for row in rows])
    assert ends.log_probs.tolist() == pytest.approx([sampled.log_probs[place] for place in at], abs=1e-3)
    empty = SampledAnswers(sampled.questions[:1], sampled.prompts[:1], ((Answer("", 0.0), *sampled.answers[0]),))
    assert all(number > 0 for _, number in sampled_rows(empty)[1])


def test_the_ends_of_what_stands_between_tags(tiny: Any) -> None:
    tokenizer = tiny.tokenizer
    ids = {word: tokenizer.encode(word, add_special_tokens=False) for word in (" coral", " pearl", " crown")}
    prompt, (coral,), (pearl,), (crown,) = [5, 6, 7], *ids.values()
    tags = tuple(tokenizer.decode([token]).strip() for token in (pearl, crown))

    def row(*answer: int) -> Encoded:
        return Encoded([*prompt, *answer], answer=(3, 3 + len(answer)), continuation=3)

    inside = row(coral, pearl, coral, coral, crown, coral)
    opened_before = row(coral, coral, crown, coral)
    unfinished = row(pearl, coral, coral)
    with pytest.warns(DataWarning, match="1 of 3 answers do not hold the closing tag"):
        found = between(tiny, [inside, opened_before, unfinished], (tags[0], tags[1]))
    assert found == [(4, 7), (2, 5), None]
    with pytest.raises(InputError, match="none of the 1 answers holds the closing tag"):
        between(tiny, [unfinished], (tags[0], tags[1]))
    ends = read_ends(tiny, [inside], [(4, 7)])
    states, _ = by_itself(tiny, inside)
    assert torch.allclose(ends.start[0], states[4], atol=2e-4) and torch.allclose(ends.end[0], states[7], atol=2e-4)
    assert ends.n_tokens.tolist() == [3] and ends.n_answer_tokens.tolist() == [6]


def test_no_answers(tiny: Any) -> None:
    with pytest.raises(InputError, match="there are no answers whose ends could be read"):
        answer_ends(tiny, [])
