"""Gates that look at the input: off is the model, always on is the gate, each bit for bit; between them row by row."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, ClassVar, cast

import pytest
import torch
from conftest import build

from lens_truth.attention.measuring import patterns
from lens_truth.data.loading import load_examples
from lens_truth.decoding.decoder import Decoder
from lens_truth.decoding.dynamic import DynamicGate
from lens_truth.decoding.greedy import greedy
from lens_truth.decoding.head_rules import ContextAttentionBelow, DraftProbeBelow, ProbeBelow, context_tokens
from lens_truth.decoding.intervention import PreIntervention
from lens_truth.decoding.rules import Always, ContextChanges, EntropyAbove, Never, Rule
from lens_truth.decoding.switch import Switch
from lens_truth.detection.watching import watch
from lens_truth.errors import InputError
from lens_truth.evaluate.asker import Asker
from lens_truth.evaluate.benchmark import benchmark_of
from lens_truth.gates.gate import HeadGate
from lens_truth.gates.shift import HeadShift
from lens_truth.models.batches import pad_rows
from lens_truth.models.loading import load
from lens_truth.models.prompts import PromptTokens, encode_prompts, prompt_of
from lens_truth.scoring.capturing import capture
from lens_truth.scoring.causal import answer_log_probs, encode_answers
from lens_truth.scoring.head_probes import HeadProbes

DRAW = torch.Generator().manual_seed(3)
PROMPTS = [PromptTokens([1, *torch.randint(3, 200, (n,), generator=DRAW).tolist()]) for n in (9, 4, 12, 7)]
SHAPE = (3, 4)
N = 6


@dataclass(frozen=True, eq=False)
class Every(Rule):
    """On in the rows whose first logit is even in its place: some of a batch, and others when asked alone."""

    threshold: float = 0.5
    per_token: ClassVar[bool] = True

    def look(self, logits: torch.Tensor) -> torch.Tensor:
        return (logits[:, 5] > logits[:, 6]).float()


def gate() -> HeadGate:
    return HeadGate(1 + torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)))


def shift(model: Any, site: Any = "z") -> HeadShift:
    shape = (*SHAPE, model.cfg.d_head) if site == "z" else (SHAPE[0], 1, model.cfg.d_model)
    vectors = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    vectors[1] = 0
    return HeadShift(vectors, site)


def logits_of(
    model: Any, opened: Any, prompts: Any = PROMPTS, n: int = N, **more: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens, and the logits that they were chosen from, [B, n, V]."""
    ids, mask = pad_rows([row.ids for row in prompts], model, side="left")
    with torch.no_grad(), greedy(model), opened as processors:
        how: dict[str, Any] = {"max_new_tokens": n, "min_new_tokens": n, "return_dict_in_generate": True, **more}
        found = model.original_model.generate(
            ids, attention_mask=mask, output_logits=True, logits_processor=processors, **how
        )
    return found.sequences[:, ids.shape[1] :], torch.stack(found.logits, 1)


def opened(model: Any, decoder: Decoder, prompts: Any = PROMPTS, n: int = N) -> Any:
    return decoder.opened(model, prompts, [None] * len(prompts), n)


@pytest.fixture(scope="module", params=["sdpa", "eager"])
def model(request: pytest.FixtureRequest, tokenizer: Any) -> Any:
    hf = build("llama-gqa-head-dim", len(tokenizer))
    hf.set_attn_implementation(request.param)
    return load(hf, tokenizer=tokenizer)


@pytest.mark.parametrize("more", [{}, {"use_cache": False}], ids=["cached", "uncached"])
@pytest.mark.parametrize(
    ("kind", "positions", "scope"),
    [*product(["gate"], ["all", "answer"], ["example", "token"])]
    + [(kind, *how) for kind in ("shift", "stream") for how in (("all", "example"), ("answer", "token"))],
)
def test_off_is_the_model_and_on_is_the_gate(
    model: Any, kind: str, positions: Any, scope: Any, more: dict[str, Any]
) -> None:
    its = gate() if kind == "gate" else shift(model, "z" if kind == "shift" else "resid_post")
    _, plain = logits_of(model, nullcontext(), **more)
    off = DynamicGate(switched=its, rule=Never(), scope=scope, positions=positions)
    assert torch.equal(logits_of(model, opened(model, off), **more)[1], plain)
    assert (off.rates.of_rows, off.rates.mean, off.rates.n_rows, off.rates.n_tokens) == (0, 0, 4, 4 * N)
    on = DynamicGate(switched=its, rule=Always(), scope=scope, positions=positions)
    found = logits_of(model, opened(model, on), **more)
    assert (on.rates.of_rows, on.rates.of_tokens, on.rates.mean) == (1, 1, 1)
    assert not torch.equal(found[1], plain)
    if positions == "all":
        with its.attach(model):
            static = logits_of(model, nullcontext(), **more)
        assert torch.equal(found[1], static[1]) and torch.equal(found[0], static[0])
    assert torch.equal(logits_of(model, nullcontext(), **more)[1], plain)  # nothing stays


@pytest.mark.parametrize(
    ("rule", "positions", "scope"),
    [
        (Every(), "all", "example"),
        (Every(), "answer", "token"),
        (EntropyAbove(3.6), "answer", "example"),
        (EntropyAbove(3.6), "all", "token"),
        (EntropyAbove(3.6, width=0.8), "all", "example"),
        (EntropyAbove(3.6, width=0.8), "answer", "token"),
    ],
)
def test_rows_by_themselves_cached_and_not(model: Any, rule: Rule, positions: Any, scope: Any) -> None:
    dynamic = DynamicGate(switched=gate(), rule=rule, scope=scope, positions=positions)
    tokens, logits = logits_of(model, opened(model, dynamic))
    rates = dynamic.rates
    assert 0 < rates.of_tokens < 1 or scope == "token" or rule.width
    uncached = logits_of(model, opened(model, dynamic), use_cache=False)
    assert torch.equal(uncached[0], tokens)
    assert uncached[1].numpy() == pytest.approx(logits.numpy(), abs=2e-3)
    for row in range(4):
        alone = logits_of(model, opened(model, dynamic, PROMPTS[row : row + 1]), PROMPTS[row : row + 1])
        assert torch.equal(alone[0][0], tokens[row])
        assert alone[1][0].numpy() == pytest.approx(logits[row].numpy(), abs=2e-3)
    written = dynamic.write(model, PROMPTS, [None] * 4, N)
    ends = [its[: its.index(2)] if 2 in its else its for its in written]
    assert all(tokens[row, : len(its)].tolist() == its for row, its in enumerate(ends))


@pytest.mark.parametrize("positions", ["all", "answer"])
def test_rows_that_are_off_do_not_change_by_a_bit(model: Any, positions: Any) -> None:
    _, plain = logits_of(model, nullcontext())
    dynamic = DynamicGate(switched=gate(), rule=Every(), positions=positions)
    _, found = logits_of(model, opened(model, dynamic))
    on = dynamic.factors(model, PROMPTS) > 0
    assert 0 < on.sum() < 4
    assert torch.equal(found[~on], plain[~on])
    assert not (found[on] == plain[on]).flatten(1).all(1).any()
    if positions == "all":  # the others are under the gate as it is
        with gate().attach(model):
            assert torch.equal(found[on], logits_of(model, nullcontext())[1][on])


def test_only_the_answer_is_under_the_gate(model: Any) -> None:
    """Against a pass over whole rows in which the gate is attached at these positions by hand."""
    its, row = gate(), PROMPTS[0]
    dynamic = DynamicGate(switched=its, rule=Always(), positions="answer")
    tokens, logits = logits_of(model, opened(model, dynamic, [row]), [row])
    whole = torch.tensor([[*row.ids, *tokens[0].tolist()]])
    start = len(row.ids) - 1

    def hook(layer: int) -> Any:
        def act(z: torch.Tensor, hook: Any) -> torch.Tensor:
            z = z.clone()
            z[:, start:] *= its.values[layer][:, None]
            return z

        return act

    with torch.no_grad(), model.hooks(fwd_hooks=[(f"blocks.{layer}.attn.hook_z", hook(layer)) for layer in range(3)]):
        wanted = model(whole)[0, start:-1]
    assert logits[0].numpy() == pytest.approx(wanted.numpy(), abs=2e-3)


@pytest.mark.parametrize("kind", ["mistral", "qwen2"])
def test_sliding_windows(kind: str, tokenizer: Any) -> None:
    more = {"use_sliding_window": True, "max_window_layers": 0} if kind == "qwen2" else {}
    model = load(build(kind, len(tokenizer), sliding_window=5, **more), tokenizer=tokenizer)
    dynamic = DynamicGate(switched=gate(), rule=Every(), positions="answer")
    tokens, _ = logits_of(model, opened(model, dynamic))
    assert torch.equal(logits_of(model, opened(model, dynamic), use_cache=False)[0], tokens)
    off = DynamicGate(switched=gate(), rule=Never(), positions="answer")
    assert torch.equal(logits_of(model, opened(model, off))[1], logits_of(model, nullcontext())[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: Any, tokenizer: Any) -> None:
    model = load(build("qwen2", len(tokenizer)).to(dtype), tokenizer=tokenizer)
    on, off = (DynamicGate(switched=gate(), rule=rule) for rule in (Always(), Never()))
    assert torch.equal(logits_of(model, opened(model, off))[1], logits_of(model, nullcontext())[1])
    with gate().attach(model):
        static = logits_of(model, nullcontext())[1]
    assert torch.equal(logits_of(model, opened(model, on))[1], static)


def test_under_another_gate(model: Any) -> None:
    other = HeadGate(torch.linspace(0.5, 1.5, 12).reshape(SHAPE))
    on = DynamicGate(switched=gate(), rule=Always(), gate=other)
    found = logits_of(model, opened(model, on))[1]
    with other.attach(model), gate().attach(model):
        assert torch.equal(found, logits_of(model, nullcontext())[1])
    nothing = replace(on, strength=0.0)
    found = logits_of(model, opened(model, nothing))[1]
    with other.attach(model):
        assert torch.equal(found, logits_of(model, nullcontext())[1])
    assert nothing.does is None and on.acts is not None and nothing.acts is not None


@pytest.mark.parametrize("scope", ["example", "token"])
@pytest.mark.parametrize("positions", ["all", "answer"])
def test_given_answers(zoo: Any, positions: Any, scope: Any) -> None:
    """What is written has the likelihood that ranking gives it; always on is the gate's, off the model's."""
    model = zoo("llama-memory-chat")
    rows = encode_answers(model, load_examples("zoo:conflict", limit=6), "chat")
    its = HeadGate(1 + torch.randn(model.cfg.n_layers, model.cfg.n_heads, generator=DRAW))
    none = [None] * len(rows)
    how: dict[str, Any] = {"switched": its, "scope": scope, "positions": positions}
    plain = answer_log_probs(model, rows).detach()
    assert DynamicGate(rule=Never(), **how).log_probs(model, rows, none).numpy() == pytest.approx(
        plain.numpy(), abs=1e-3
    )
    if positions == "all":
        with its.attach(model):
            static = answer_log_probs(model, rows).detach()
        on = DynamicGate(rule=Always(), **how)
        assert on.log_probs(model, rows, none).numpy() == pytest.approx(static.numpy(), abs=1e-3)
        assert on.rates.n_rows == len(rows) and on.rates.mean == 1
    values = EntropyAbove(0.0).values(model, [row.prompt for row in rows])
    rule = EntropyAbove(float(values.median()))
    dynamic = DynamicGate(rule=rule, **how)
    found = dynamic.log_probs(model, rows, none)
    for number, row in enumerate(rows):
        alone = dynamic.log_probs(model, [row], [None])
        assert float(alone[0]) == pytest.approx(float(found[number]), abs=1e-3)
        prompt = row.prompt
        forced = logits_of(model, opened(model, dynamic, [prompt], 1), [prompt], 1)[1]
        first = forced[0, 0].log_softmax(-1)[row.ids[row.continuation]]
        if row.n_answer_tokens == 1:
            assert float(first) == pytest.approx(float(found[number]), abs=1e-3)


def test_rates_and_the_static_twin(model: Any) -> None:
    dynamic = DynamicGate(switched=gate(), rule=EntropyAbove(3.6, width=1.0), strength=0.5)
    with pytest.raises(InputError, match="has not run yet"):
        dynamic.static_twin()
    factors = dynamic.factors(model, PROMPTS)
    logits_of(model, opened(model, dynamic))
    logits_of(model, opened(model, dynamic))
    rates = dynamic.rates
    assert rates.n_rows == 8 and rates.n_tokens == 8 * N
    assert rates.mean == pytest.approx(float(factors.mean()))
    assert rates.of_rows == pytest.approx(float((factors > 0).float().mean()))
    twin = dynamic.static_twin()
    assert isinstance(twin, HeadGate)
    assert torch.allclose(twin.values, 1 + float(factors.mean()) * (gate().values - 1))
    moved = replace(dynamic, switched=shift(model)).static_twin(0.25)
    assert isinstance(moved, HeadShift) and torch.allclose(moved.vectors, 0.25 * shift(model).vectors)


def test_tokens_behind_an_end_do_not_count(model: Any) -> None:
    dynamic = DynamicGate(switched=gate(), rule=Never())
    written = dynamic.write(model, PROMPTS, [None] * 4, 40)
    end = model.original_model.generation_config.eos_token_id
    n = sum((row.index(end) + 1 if end in row else len(row)) for row in written)
    assert dynamic.rates.n_tokens == n


def test_asked_like_a_gate(zoo: Any) -> None:
    model = zoo("llama-memory-chat")
    examples = load_examples("zoo:conflict", limit=8)
    its = HeadGate(1 + torch.randn(model.cfg.n_layers, model.cfg.n_heads, generator=DRAW))
    changes = DynamicGate(switched=its, rule=ContextChanges())
    gates = {
        "vanilla": None,
        "static": its,
        "on": DynamicGate(switched=its, rule=Always()),
        "off": DynamicGate(switched=its, rule=Never()),
        "changes": changes,
        "looks": DynamicGate(switched=its, rule=ContextAttentionBelow(0.3, heads=[(1, 0), (2, 1)])),
    }
    found = Asker(model, "chat").ask(benchmark_of("conflict", "answer", examples), gates)
    texts = {name: [answer.text for answer in answers] for name, answers in found.items()}
    assert texts["on"] == texts["static"] and texts["off"] == texts["vanilla"]
    assert changes.rates.n_rows == len(texts["vanilla"])
    pairs = zip(texts["changes"], texts["static"], texts["vanilla"], strict=True)
    assert all(a in (b, c) for a, b, c in pairs)


def two_prompts(model: Any) -> tuple[list[PromptTokens], list[PromptTokens | None]]:
    examples = [e for e in load_examples("zoo:conflict", limit=8) if e.label]
    rule = ContextChanges()
    others = [rule.other(e) for e in examples]

    def encoded(some: Any) -> list[PromptTokens]:
        return encode_prompts(model.tokenizer, [prompt_of(model.tokenizer, e, "plain") for e in some])

    return encoded(examples), list(encoded(others))


def test_the_first_token_with_and_without_context(zoo: Any) -> None:
    model = zoo("llama-memory-chat")
    prompts, others = two_prompts(model)
    others[1] = None
    found = ContextChanges().values(model, prompts, others)
    for row, (prompt, other) in enumerate(zip(prompts, others, strict=True)):
        if other is None:
            assert found[row] == 0
            continue
        with torch.no_grad():
            one, two = (int(model(torch.tensor([its.ids]))[0, -1].argmax()) for its in (prompt, other))
        assert bool(found[row]) == (one != two)
    assert found.sum() > 0


def test_attention_to_the_context(zoo: Any) -> None:
    """Against eager patterns of each row alone."""
    model, heads = zoo("llama-memory-chat"), [(0, 1), (1, 0), (1, 1)]
    prompts, others = two_prompts(model)
    where = context_tokens(prompts, others)
    width = where.shape[1]
    contexts = [e.context for e in load_examples("zoo:conflict", limit=8) if e.label]
    for row, (prompt, context) in enumerate(zip(prompts, contexts, strict=True)):
        held = cast("list[bool]", where[row, width - len(prompt.ids) :].tolist())
        text = model.tokenizer.decode([token for token, on in zip(prompt.ids, held, strict=True) if on])
        assert context in text and len(text) < len(f"Context:\n{context}\n\nQuestion: ")
    rule = ContextAttentionBelow(0.3, heads=heads)
    found = rule.values(model, prompts, [*others[:-1], None])
    assert found[-1] == torch.inf and rule.factors(found)[-1] == 0
    for row, prompt in enumerate(prompts[:-1]):
        pattern = patterns(model, prompt, heads)[:, -1]
        share = pattern[:, where[row, width - len(prompt.ids) :]].sum(1).mean()
        assert float(found[row]) == pytest.approx(float(share), abs=1e-4)
    by_token = DynamicGate(
        switched=HeadGate(torch.full((model.cfg.n_layers, model.cfg.n_heads), 0.5)),
        rule=rule,
        scope="token",
        positions="answer",
    )
    cached = by_token.write(model, prompts, others, 6)
    for row, prompt in enumerate(prompts):
        assert by_token.write(model, [prompt], [others[row]], 6)[0][: len(cached[row])] == cached[row]


@pytest.fixture(scope="module")
def probes(model: Any) -> HeadProbes:
    return HeadProbes.fit(capture(model, load_examples("zoo:text", limit=40)))


def test_probes(model: Any, probes: HeadProbes) -> None:
    seen: list[torch.Tensor] = []
    with watch(model, probes, on_token=lambda token: seen.append(token.score), heads=[(0, 1), (2, 3)]):
        logits_of(model, nullcontext())
    rule = ProbeBelow(0.0, probes=probes, heads=[(0, 1), (2, 3)])
    assert rule.values(model, PROMPTS).numpy() == pytest.approx(seen[0].numpy(), abs=1e-4)
    ahead = DraftProbeBelow(0.0, probes=probes, heads=[(0, 1), (2, 3)], look_ahead=3)
    ids, mask = pad_rows([row.ids for row in PROMPTS], model, side="left")
    with greedy(model):
        written = model.original_model.generate(ids, attention_mask=mask, max_new_tokens=3)[:, ids.shape[1] :].tolist()
    scores = cast("list[list[float]]", torch.stack(seen, 1).tolist())
    least = [min(its[: 1 + (row.index(2) if 2 in row else 2)]) for its, row in zip(scores, written, strict=True)]
    assert ahead.values(model, PROMPTS).tolist() == pytest.approx(least, abs=1e-4)
    assert ProbeBelow.of(probes).threshold == 0 and rule.words != ahead.words
    other = replace(probes, directions=probes.directions * 2)
    assert replace(rule, probes=other).words != rule.words


def test_pre_intervention(model: Any, probes: HeadProbes) -> None:
    its = HeadShift.from_probes(probes, 20, heads=6)
    least = DraftProbeBelow(0.0, probes=probes).values(model, PROMPTS)
    threshold = float(least.sort().values[1:3].mean())
    decoder = PreIntervention.of(probes, its, threshold)
    decoder.check(model)
    written, on = decoder.write(model, PROMPTS, [None] * 4, N), least < threshold
    assert on.sum() == 2 and decoder.rates.of_rows == 0.5
    free = Decoder().write(model, PROMPTS, [None] * 4, N)
    steered = DynamicGate(switched=its, rule=Always(), positions="answer").write(model, PROMPTS, [None] * 4, N)
    assert written == [steered[row] if on[row] else free[row] for row in range(4)]
    assert [decoder.write(model, [row], [None], N)[0] for row in PROMPTS] == written
    assert PreIntervention.of(probes, its).rule.threshold == 0


def test_refused(model: Any, probes: HeadProbes, unchecked: None) -> None:
    with pytest.raises(InputError, match="once a row"):
        DynamicGate(switched=gate(), rule=ContextChanges(), scope="token")
    with pytest.raises(InputError, match="positions 'some'"):
        DynamicGate(switched=gate(), rule=Always(), positions="some")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="both must be finite"):
        EntropyAbove(float("nan"))
    with pytest.raises(InputError, match="strength"):
        DynamicGate(-1.0, switched=gate(), rule=Always())
    with pytest.raises(InputError, match="site z"):
        DynamicGate(switched=replace(gate(), site="block"), rule=Always()).check(model)
    with pytest.raises(InputError, match="no batch axis"):
        DynamicGate(switched=HeadGate(torch.ones(2, *SHAPE)), rule=Always()).check(model)
    with pytest.raises(InputError, match="the model 3 x 4"):
        DynamicGate(switched=HeadGate(torch.ones(2, 4)), rule=Always()).check(model)
    with pytest.raises(InputError, match="no head 3.0"):
        ContextAttentionBelow(0.1, heads=[(3, 0)]).check(model)
    with pytest.raises(InputError, match="no heads were named"):
        ContextAttentionBelow(0.1).check(model)
    layers = HeadProbes.fit(capture(model, load_examples("zoo:text", limit=40), at="resid_post"))
    with pytest.raises(InputError, match="residual stream"):
        ProbeBelow(0.0, probes=layers).check(model)
    switch = Switch(model, gate())
    switch.set(torch.ones(3, 2))
    with pytest.raises(InputError, match="a gate for 3 rows"), torch.no_grad(), switch.attached(model):
        model(torch.ones(2, 2, dtype=torch.long))
    assert DynamicGate(switched=gate(), rule=Always()).other(load_examples("zoo:text", limit=1)[0]) is None
