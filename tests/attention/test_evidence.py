"""What heads look at: hand-made patterns with known answers, and Hugging Face's own attention as a reference."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from copy import copy, deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
import pytest
import torch
from conftest import build

from lens_truth.attention import measuring as module
from lens_truth.attention.evidence import Evidence
from lens_truth.attention.evidence_tokens import EvidenceTokens, locate_evidence
from lens_truth.attention.measuring import evidence_attention, lift, measure, patterns, queries_of, query_row
from lens_truth.data.examples import Example
from lens_truth.data.loading import load_examples
from lens_truth.errors import DataWarning, InputError
from lens_truth.models.batches import pad_rows, run_body
from lens_truth.models.hooks import sliding_windows
from lens_truth.models.image_input import images_for
from lens_truth.models.loading import load
from lens_truth.models.prompts import Encoded, Span, encode
from lens_truth.models.spans import token_texts
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.relations import relate_measures

# 0 is the sink; 2 to 9 the context, 4 and 5 the evidence; 10 the question; the answer is 11 and 12.
ROW = Encoded([1, 3, 20, 21, 22, 23, 24, 25, 26, 27, 5, 22, 23], answer=(11, 13), continuation=11, context=(2, 10))


def located(row: Encoded, *spans: Span) -> EvidenceTokens:
    example = Example("id", "group", "q", "a", 1, evidence=((0, 1),))
    return locate_evidence(example, replace(row, evidence=spans), None, [f" {token}" for token in row.ids])


def one_head(*rows: dict[int, float]) -> torch.Tensor:
    """The pattern of a layer of one head, at the queries of `ROW`: 10, 11 and 12."""
    pattern = torch.zeros(len(rows), 1, len(ROW.ids))
    for query, weights in enumerate(rows):
        for key, weight in weights.items():
            pattern[query, 0, key] = weight
    return pattern


def test_uniform_attention_is_chance_and_the_sink_does_not_count() -> None:
    part = torch.zeros(13)
    part[4:6] = 1
    uniform = torch.full((1, 13), 1 / 13)
    assert lift(uniform, part, 12).item() == pytest.approx(1)
    uniform *= 0.1
    uniform[0, 0] = 1 - uniform[0, 1:].sum()
    assert lift(uniform, part, 12).item() == pytest.approx(1)
    assert lift(torch.eye(13)[:1], part, 12).item() == 1  # the first token only
    # Two of the twelve tokens behind the sink; half of what does not go to the sink.
    mixed = torch.zeros(1, 13)
    mixed[0, [0, 4, 9]] = torch.tensor([0.6, 0.2, 0.2])
    assert lift(mixed, part, 12).item() == pytest.approx(0.5 / (2 / 12))


def test_measures_of_a_hand_made_pattern() -> None:
    found = measure(
        one_head({4: 0.7, 0: 0.3}, {3: 0.5, 5: 0.4, 11: 0.1}, {0: 0.5, 4: 0.2, 8: 0.1, 12: 0.2}),
        located(ROW, (4, 6)),
    )
    assert found["evidence"].item() == pytest.approx((0.2 / 0.5) / (2 / 12))
    # Equally long parts of the context that touch no evidence: 2-3, 6-7, 7-8, 8-9; token 8 is in two of these four.
    assert found["evidence over control"].item() == pytest.approx((0.2 - 0.1 * 2 / 4) / 0.5 / (2 / 12))
    assert found["evidence when answering"].item() == pytest.approx((1 / (2 / 10) + 0.4 / (2 / 11)) / 2)
    # Token 11 is a copy of 4, and gets the most attention from 10; 12 is a copy of 5, which gets less than 3.
    assert found["retrieval"].item() == 0.5
    of_11 = (0.9 / 11) / (0.9 / 11 + 0.1 / 1)
    of_12 = (0.8 / 11) / (0.8 / 11 + 0.2 / 2)
    assert found["lookback"].item() == pytest.approx((of_11 + of_12) / 2)


def test_retrieval_wants_the_same_token_inside_the_evidence() -> None:
    twin = replace(ROW, ids=[*ROW.ids[:8], 22, *ROW.ids[9:]])  # token 8 reads like 4, but is no evidence
    at_4, at_5, at_8 = ({at: 1.0} for at in (4, 5, 8))
    for first, second, share in ((at_4, at_5, 1.0), (at_8, at_5, 0.5), (at_5, at_4, 0.0)):
        assert measure(one_head(first, second, {0: 1.0}), located(twin, (4, 6)))["retrieval"].item() == share


def test_what_an_example_does_not_define_is_nan() -> None:
    pattern = one_head({0: 1.0}, {0: 1.0}, {0: 1.0})
    assert math.isnan(measure(pattern, located(ROW, (3, 8)))["evidence over control"].item())  # five of eight tokens
    in_image = replace(located(ROW, (4, 6)), control=None, in_words=False)
    assert math.isnan(measure(pattern, in_image)["retrieval"].item())


def test_control_weighs_as_much_as_the_evidence_and_touches_none_of_it() -> None:
    tokens = located(ROW, (2, 3), (6, 8))
    assert tokens.control is not None
    assert tokens.evidence.tolist() == [0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
    # One token: 3, 4, 5, 8, 9. Two: 3-4, 4-5, 8-9.
    third, fifth = 1 / 3, 1 / 5
    expected = [0, 0, 0, third + fifth, 2 * third + fifth, third + fifth, 0, 0, third + fifth, third + fifth, 0, 0, 0]
    np.testing.assert_allclose(tokens.control, expected)
    assert tokens.control.sum() == pytest.approx(3)


def rows_of(n: int) -> list[Example]:
    return [example for example in load_examples("zoo:text", limit=2 * n) if example.label]


def naive(hf: Any, row: Encoded, ids: list[int]) -> dict[str, np.ndarray]:
    """Evidence, control and lookback from the attentions that Hugging Face returns, token by token."""
    hf.set_attn_implementation("eager")
    with torch.no_grad():
        layers = hf(torch.tensor([ids]), output_attentions=True).attentions
    pattern = torch.cat(layers).numpy()  # [L, H, T, T]
    query = row.answer[1] - 1
    ((start, stop),), (first, last) = row.evidence, row.context or (0, 0)
    others = pattern[:, :, query, 1 : query + 1].sum(-1)

    def lift_of(a: int, b: int) -> np.ndarray:
        return pattern[:, :, query, a:b].sum(-1) / others / ((b - a) / query)

    size = stop - start
    windows = [a for a in range(first, last - size + 1) if a + size <= start or a >= stop]
    found = {"evidence": lift_of(start, stop)}
    found["evidence over control"] = found["evidence"] - np.mean([lift_of(a, a + size) for a in windows], axis=0)
    prompt, new = pattern[:, :, query, : row.continuation].mean(-1), pattern[:, :, query, row.continuation :].mean(-1)
    found["lookback"] = prompt / (prompt + new)
    return found


def test_equals_the_attentions_of_hugging_face(family: str, tokenizer: Any) -> None:
    hf = build(family, len(tokenizer))
    model, examples = load(hf, tokenizer=tokenizer), rows_of(3)
    found = evidence_attention(model, examples, batch_size=2)
    for number, (example, row) in enumerate(zip(examples, encode(tokenizer, examples, "plain"), strict=True)):
        assert found.ids[number] == example.id
        for name, expected in naive(hf, row, row.ids).items():
            np.testing.assert_allclose(found.measures[name][number], expected, rtol=2e-4, atol=2e-5)


def test_batches_equal_single_rows_and_the_models_attention_is_left_as_it_was(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = rows_of(7)
    together = evidence_attention(tiny, examples)
    assert tiny.original_model.config._attn_implementation == "sdpa"
    monkeypatch.setattr(module, "_ENTRIES", 1)  # a row a pass
    sizes: list[int] = []
    monkeypatch.setattr(module, "run_body", lambda *a: (sizes.append(len(a[1])), run_body(*a)))
    for name, values in evidence_attention(tiny, examples).measures.items():
        np.testing.assert_allclose(values, together.measures[name], rtol=1e-4, atol=1e-5)
    assert sizes == [1] * 7
    eager = load(build("llama-gqa-head-dim", len(tiny.tokenizer)), tokenizer=tiny.tokenizer, attn="eager")
    np.testing.assert_allclose(
        evidence_attention(eager, examples).measures["evidence"], together.measures["evidence"], rtol=1e-4, atol=1e-5
    )


def test_one_layers_pattern_at_a_time(tiny: Any) -> None:
    """When a layer's pattern appears, those of the layers before it are gone."""
    alive: WeakSet[torch.Tensor] = WeakSet()
    counts: list[int] = []

    def read(layer: int, pattern: torch.Tensor) -> None:
        alive.add(pattern)
        counts.append(len(alive))

    ids, mask = pad_rows([row.ids for row in encode(tiny.tokenizer, rows_of(4), "plain")], tiny)
    with torch.no_grad(), module.reading_patterns(tiny, read):
        run_body(tiny, ids, mask, [""] * 4)
    assert counts == [1] * tiny.cfg.n_layers


def test_what_is_kept_does_not_keep_patterns(tiny: Any) -> None:
    (row,) = encode(tiny.tokenizer, rows_of(1), "plain")
    kept: list[torch.Tensor] = []
    stack = torch.stack

    def noted(tensors: list[torch.Tensor], **more: Any) -> torch.Tensor:
        kept.extend(tensors)
        return stack(tensors, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "stack", noted)
        query_row(tiny, row, 5)
        patterns(tiny, row, [(0, 1), (2, 3)])
    ours = [part for part in kept if part.shape[-1] == len(row.ids)]
    assert len(ours) == tiny.cfg.n_layers + 2
    assert all(part.untyped_storage().nbytes() == 4 * part.numel() for part in ours)


def test_whole_patterns_and_single_queries_agree(tiny: Any) -> None:
    (row,) = encode(tiny.tokenizer, rows_of(1), "plain")
    whole = patterns(tiny, row, [(2, 3), (0, 1), (2, 0)])
    assert whole.shape == (3, len(row.ids), len(row.ids))
    torch.testing.assert_close(whole.sum(-1), torch.ones(3, len(row.ids)))
    assert not whole.triu(1).any()
    last = query_row(tiny, row, row.answer[1] - 1)
    torch.testing.assert_close(whole[:, row.answer[1] - 1], torch.stack([last[2, 3], last[0, 1], last[2, 0]]))
    with pytest.raises(InputError, match="no head 4 in a layer 0: the model has 3 layers of 4 heads"):
        patterns(tiny, row, [(0, 4)])


def test_evidence_of_the_zoos_facts_and_pictures(zoo: Callable[[str], Any]) -> None:
    for name, data in (("llama-base", "zoo:text"), ("llava", "zoo:image")):
        model = zoo(name)
        examples = load_examples(data, limit=12)
        images = images_for(model, examples)
        for example, row in zip(examples, encode(model.tokenizer, examples, "plain", images), strict=True):
            tokens = locate_evidence(example, row, images, token_texts(model.tokenizer, row.ids))
            if example.image:
                ((_, top, _, _),) = example.boxes
                first = 2 + 4 * int(top // 12)  # behind the beginning and "Context:", four patches a floor
                assert np.flatnonzero(tokens.evidence).tolist() == [first, first + 1, first + 2, first + 3]
                others = np.full((4, 4), 1 / 3)  # whole floors, never the end of one and the beginning of the next
                others[int(top // 12)] = 0
                assert tokens.control is not None
                np.testing.assert_allclose(tokens.control[2:18], others.ravel(), rtol=1e-6)
                assert not tokens.in_words
            else:
                ((start, stop),) = example.evidence
                ((first, last),) = row.evidence
                told = "".join(token_texts(model.tokenizer, row.ids)[first:last])
                assert told.strip() == example.context[start:stop]


def test_scores_have_means_intervals_and_provenance(tiny: Any) -> None:
    found = evidence_attention(tiny, rows_of(12), seed=3)
    scores = found.scores()
    for name, its in scores.items():
        np.testing.assert_allclose(its.values, found.measures[name].mean(0), rtol=1e-5)
        assert (its.metrics["ci_low"] <= its.values).all() and (its.values <= its.metrics["ci_high"]).all()
        assert its.kind == name and its.provenance["n_examples"] == 12 and its.n_kv_heads == 2
    assert np.array_equal(found.scores()["evidence"].metrics["ci_low"], scores["evidence"].metrics["ci_low"])


def test_a_result_goes_round_and_tells_its_numbers(tiny: Any, tmp_path: Path) -> None:
    examples = rows_of(8)
    lacking = replace(examples[0], evidence=((0, len(examples[0].context)),))  # no other part is as long
    found = evidence_attention(tiny, [lacking, *examples[1:]], seed=2)
    found.save(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"result.json", "attention.safetensors"}
    again = Evidence.load(tmp_path / "run")
    assert again == found == Evidence.from_dict(found.as_dict()) and again != replace(found, seed=3)
    assert list(again.measures) == list(found.measures) and again.measures["evidence"].dtype == np.float32

    scores = found.scores()
    (table,) = again.tables()
    assert [row.head.text for row in table.rows] == list(scores)
    for row, (name, its) in zip(table.rows, scores.items(), strict=True):
        mean, n, most = (cell.text for cell in row.cells)
        at = layer, head = its.best()
        assert float(mean) == pytest.approx(its.values.mean(), rel=6e-3) and int(n) == found.n_examples(name)
        ends = [f"{its.metrics[end][at]:.2f}" for end in ("ci_low", "ci_high")]
        assert most == f"{layer}.{head}: {its.values[at]:.2f} [{', '.join(ends)}]"
    assert found.n_examples("evidence over control") == 7 and found.n_examples("evidence") == 8
    assert "head with the most" in found._repr_html_()


def test_a_damaged_result_is_refused(tiny: Any, tmp_path: Path) -> None:
    evidence_attention(tiny, rows_of(3)).save(tmp_path)
    arrays, file = tmp_path / "attention.safetensors", tmp_path / "result.json"
    whole, record = arrays.read_bytes(), json.loads(file.read_text())
    arrays.write_bytes(whole[:50])
    with pytest.raises(InputError, match=r"attention\.safetensors: cannot be read"):
        Evidence.load(tmp_path)
    arrays.unlink()
    with pytest.raises(InputError, match=r"attention\.safetensors: cannot be read"):
        Evidence.load(tmp_path)
    evidence_attention(tiny, rows_of(4)).save(tmp_path / "other")
    arrays.write_bytes((tmp_path / "other" / "attention.safetensors").read_bytes())
    with pytest.raises(InputError, match=r"is not of the run whose result\.json lies beside it"):
        Evidence.load(tmp_path)
    arrays.write_bytes(whole)

    def refused(change: Callable[[dict[str, Any]], object], why: str) -> None:
        damaged = deepcopy(record)
        change(damaged)
        file.write_text(json.dumps(damaged, indent=1))
        with pytest.raises(InputError, match=why):
            Evidence.load(tmp_path)

    refused(
        lambda r: r["results"]["evidence"].update(mood=1), r"line \d+, column \d+: results.evidence.mood is a field"
    )
    refused(lambda r: r["results"]["evidence"]["ids"].pop(), "evidence.groups has 3 items for 2 ids")
    refused(lambda r: r["results"]["evidence"].pop("seed"), "results.evidence has no 'seed'")
    refused(lambda r: r["results"].pop("evidence"), "is of the command 'evidence' and holds no evidence")
    refused(lambda r: r.update(format=3), "format is 3, and lens_truth .* reads format 2")


def test_scores_are_related_told_and_drawn(tiny: Any) -> None:
    found = evidence_attention(tiny, rows_of(12), seed=1)
    truth = HeadScores(np.random.default_rng(0).random((3, 4)))
    related = found.relate(truth, share=0.5)
    maps = {name: its.values for name, its in found.scores().items()}
    assert related == relate_measures(truth.values, maps, share=0.5, n_kv_heads=2, seed=1)
    looked, truth_said = found.verdicts({"truth": related}, 0.25)
    (layer, head), relation = found.scores()["evidence"].best(), related.score["evidence"]
    assert f"most, head {layer}.{head}: " in looked and looked.endswith("is hallucinated the mean is 0.25.")
    assert relation is not None and f"inside layers {relation.pearson_within_layer:.2f}" in truth_said
    flat = HeadScores(np.ones((3, 4)))
    assert found.verdicts({"flat": found.relate(flat)})[1] == (
        "flat scores and attention to the evidence: no correlation over heads is defined."
    )
    assert "hallucinated" not in found.verdicts({})[0]
    titles = [axes.get_title() for axes in found.plot({"truth": truth}).axes]
    assert [title for title in titles if title] == [*maps, "truth"]
    shown = found.scatter({"truth": truth}, {"truth": related}, ["evidence", "lookback"])
    assert [axes.get_title() for axes in shown.axes[:2]] == ["truth scores: evidence", "truth scores: lookback"]


def test_says_what_is_left_out_and_what_is_cut(tiny: Any) -> None:
    first, second, *_ = rows_of(2)
    with pytest.raises(InputError, match="none of the 1 examples has evidence"):
        evidence_attention(tiny, [replace(first, evidence=())])
    with pytest.warns(DataWarning, match="1 of 2 examples have no evidence"):
        assert evidence_attention(tiny, [first, replace(second, evidence=())]).ids == (first.id,)
    ((start, stop),) = first.evidence
    with pytest.warns(DataWarning, match="1 of 1 spans of evidence begin or end inside a token"):
        evidence_attention(tiny, [replace(first, evidence=((start + 1, stop),))])
    blank = replace(first, context=f"{first.context}   ", evidence=((len(first.context), len(first.context) + 2),))
    for nothing in (blank, replace(first, evidence=((4, 4),))):
        with pytest.raises(InputError, match=r"evidence 0 of example '.*' yields no token"):
            evidence_attention(tiny, [nothing])


def test_a_context_that_the_template_changes_holds_no_evidence(tokenizer: Any) -> None:
    example = rows_of(1)[0]
    shouting = copy(tokenizer)
    shouting.chat_template = (
        "{{ messages[0]['content'] | replace('Context:\n', 'Context: ') | replace('The ', 'THE ') }}"
    )
    shouting.chat_template += "{% if messages[1:] %} {{ messages[1]['content'] }}{% endif %}"
    with pytest.raises(InputError, match="does not show"):
        encode(shouting, [example], "chat")
    (bare,) = encode(tokenizer, [replace(example, context="", evidence=())], "plain")
    assert bare.context is None and bare.evidence == ()


def test_a_sliding_window_counts_only_what_a_query_sees(tokenizer: Any) -> None:
    part = torch.zeros(13)
    part[4:6] = 1
    window = torch.zeros(1, 13)
    window[0, 5:] = 1 / 8  # the query at 12 sees eight tokens, one of which is evidence
    assert lift(window, part, 12, 8).item() == pytest.approx(1)
    assert math.isnan(lift(window, part, 12, 7).item())  # and here none

    hf = build("mistral", len(tokenizer), sliding_window=12)
    model, examples = load(hf, tokenizer=tokenizer), rows_of(12)
    assert sliding_windows(model) == [12, 12, 12]
    with torch.no_grad():
        for name, weight in hf.named_parameters():
            if "k_proj" in name:
                weight.zero_()  # attention is uniform over what is seen
    found = evidence_attention(load(hf, tokenizer=tokenizer), examples)
    seen = found.n_examples("evidence")
    assert 0 < seen < 12
    assert found.scores()["evidence"].values == pytest.approx(1)
    assert found.scores()["lookback"].values == pytest.approx(0.5)
    far = build("mistral", len(tokenizer), sliding_window=2)
    with pytest.raises(InputError, match="in none of 12 examples does every layer see the evidence"):
        evidence_attention(load(far, tokenizer=tokenizer), examples)


def test_one_group_has_no_interval(tiny: Any) -> None:
    found = evidence_attention(tiny, [replace(example, group="one") for example in rows_of(4)])
    assert all(its.metrics == {} for its in found.scores().values())
    assert all(its.interval is None for its in found.summary.measures.values())
    assert "[one group of examples, so no interval]" in found.verdicts({})[0]


def test_queries_are_those_that_predict_the_answer_and_its_last_token() -> None:
    assert list(queries_of(located(ROW, (4, 6)))) == [10, 11, 12]


@pytest.mark.published
def test_spans_of_real_data_decode_to_the_marked_words(data: Path, tokenizer: Any) -> None:
    for name, limit in (("squad", 40), ("hotpot", 6)):
        file = {"squad": "xquad.en.json", "hotpot": "hotpot_distractor_100.jsonl"}[name]
        examples = load_examples(f"{name}:{data}/evidence/{file}", limit=limit)
        for example, row in zip(examples, encode(tokenizer, examples, "plain"), strict=True):
            for (start, stop), (first, last) in zip(example.evidence, row.evidence, strict=True):
                told = tokenizer.decode(row.ids[first:last])
                assert told.strip() == example.context[start:stop].strip()
            assert row.n_cut == 0


@pytest.mark.published
def test_attention_on_real_paragraphs(data: Path, tokenizer: Any) -> None:
    model = load(build("llama", len(tokenizer), max_position_embeddings=4096), tokenizer=tokenizer)
    examples = load_examples(f"squad:{data}/evidence/xquad.en.json", limit=3)
    scores = evidence_attention(model, examples).scores()
    assert scores["evidence"].values.shape == (3, 4) and (scores["evidence"].values > 0).all()
    assert np.isfinite(scores["evidence over control"].values).all()
