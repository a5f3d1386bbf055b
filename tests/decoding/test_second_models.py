"""Contrasts with a noised image and with a sibling's layers, and an instruction: each beside its definition written out
token by token, without keys and values that are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import build
from multimodal import build_multimodal

from lens_truth.data import world_examples
from lens_truth.data.examples import Example
from lens_truth.data.images import open_image
from lens_truth.decoding.context_aware import ContextAware
from lens_truth.decoding.contrast import Contrast
from lens_truth.decoding.decoder import Decoder
from lens_truth.decoding.lol import LOL
from lens_truth.decoding.prompted import INSTRUCTIONS, Prompted
from lens_truth.decoding.sibling import Sibling
from lens_truth.decoding.vcd import VCD, noised
from lens_truth.errors import InputError
from lens_truth.evaluate.asker import Asker
from lens_truth.evaluate.benchmark import benchmark_of
from lens_truth.gates.gate import HeadGate
from lens_truth.models import sharing
from lens_truth.models.image_input import image_arguments, images_for, images_of
from lens_truth.models.loading import load
from lens_truth.models.prompts import QUESTION, PromptTokens, encode_prompts, prompt_of
from lens_truth.scoring.causal import encode_answers

N_NEW = 4
Get = Callable[[str], Any]
pytestmark = pytest.mark.zoo


def prompts_of(model: Any, examples: list[Example], template: Any = "chat") -> list[PromptTokens]:
    images = images_for(model, examples)
    return encode_prompts(
        model.tokenizer, [prompt_of(model.tokenizer, e, template, QUESTION, images) for e in examples], images
    )


def others_of(decoder: Decoder, model: Any, examples: list[Example]) -> list[PromptTokens | None]:
    beside = [decoder.other(example) for example in examples]
    return [None if other is None else prompts_of(model, [other])[0] for other in beside]


def gate_of(model: Any) -> HeadGate:
    rng = torch.Generator().manual_seed(0)
    return HeadGate(1 + 0.3 * torch.randn(model.cfg.n_layers, model.cfg.n_heads, generator=rng))


def last_logits(model: Any, row: PromptTokens, words: list[int], shown: Any = None) -> torch.Tensor:
    ids = torch.tensor([row.ids + words])
    more = image_arguments(model, ids, [row.image]) if shown is None else shown(ids)
    with torch.no_grad():
        return model.original_model(ids, attention_mask=torch.ones_like(ids), use_cache=False, **more).logits[0, -1]


def greedily(choose: Callable[[list[int]], torch.Tensor], end: int) -> list[int]:
    """One token after the other, of what a function of those before says."""
    words: list[int] = []
    while len(words) < N_NEW and (not words or words[-1] != end):
        words.append(int(choose(words).argmax()))
    return words


def cut(written: list[int], end: int) -> list[int]:
    return written[: written.index(end) + 1] if end in written else written


def contrasted(p: torch.Tensor, q: torch.Tensor, a: float, plausible: float = 0.1) -> torch.Tensor:
    p, q = p.float().log_softmax(-1), q.float().log_softmax(-1)
    score = (1 + a) * p - a * q
    score[p.exp() < plausible * p.exp().max()] = -torch.inf
    return score


def plain(model: Any, rows: list[PromptTokens], gate: HeadGate | None = None) -> list[list[int]]:
    return Decoder(gate=gate).write(model, rows, [None] * len(rows), N_NEW)


@pytest.fixture(scope="module")
def pictures() -> list[Example]:
    return world_examples.image_examples("test", 4, 0)


@pytest.fixture(scope="module")
def told() -> list[Example]:
    return world_examples.conflict_examples("test", 4, 0)


@pytest.fixture(scope="module", params=["llava", "qwen2.5-vl", "qwen2.5-vl eager"])
def seeing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model with a vision tower: of the zoo, and one whose positions an image turns."""
    if request.param == "llava":
        return load("zoo:llava")
    folder = tmp_path_factory.mktemp("vl")
    build_multimodal("qwen2.5-vl", folder)
    model = load(str(folder))
    if request.param.endswith("eager"):
        model.original_model.set_attn_implementation("eager")
    return model


def test_vcd_is_the_contrast_with_a_noised_image(seeing: Any, pictures: list[Example]) -> None:
    decoder = VCD(6.0, plausible=1e-4, noise_steps=999, seed=3)
    rows, end = prompts_of(seeing, pictures), seeing.original_model.generation_config.eos_token_id
    end = end[0] if isinstance(end, list) else end
    images = images_of(seeing)
    changed = 0
    for gate in (None, gate_of(seeing)):
        wanted = []
        with gate.attach(seeing) if gate else torch.no_grad():
            for row in rows:
                twin: Any = decoder.second_model(seeing)
                noisy = twin.image_input.pixels(open_image(row.image))
                clean = images.pixels(open_image(row.image))
                assert all(torch.equal(noisy[k], clean[k]) != noisy[k].is_floating_point() for k in clean)

                def shown(ids: torch.Tensor, noisy: Any = noisy) -> dict[str, Any]:
                    return {**image_arguments(seeing, ids, [row.image]), **noisy}  # noqa: B023

                def choose(words: list[int], row: PromptTokens = row, shown: Any = shown) -> torch.Tensor:
                    noisy = last_logits(seeing, row, words, shown)
                    return contrasted(last_logits(seeing, row, words), noisy, 6.0, 1e-4)

                wanted.append(greedily(choose, end))
        gated = replace(decoder, gate=gate)
        batch = gated.write(seeing, rows, [None] * len(rows), N_NEW)
        assert [cut(its, end) for its in batch] == wanted
        for row, its in zip(rows, wanted, strict=True):
            (alone,) = gated.write(seeing, [row], [None], N_NEW)
            assert cut(alone, end) == its
        changed += [cut(its, end) for its in plain(seeing, rows, gate)] != wanted
    assert changed  # or the noise does nothing


def test_noise_is_of_the_image_and_the_seed(zoo: Get, pictures: list[Example]) -> None:
    model = zoo("llava")
    image = open_image(pictures[0].image)

    def pixels(**how: Any) -> torch.Tensor:
        twin: Any = VCD(1.0, **how).second_model(model)
        return twin.image_input.pixels(image)["pixel_values"]

    assert torch.equal(pixels(), pixels()) and not torch.equal(pixels(), pixels(seed=1))
    clean = images_of(model).pixels(image)["pixel_values"]
    for steps, left in ((0, 1.0), (500, 0.7448), (999, 0.0812)):  # the published code's schedule
        x, noise = torch.full((4000,), 2.0), torch.from_numpy(np.random.default_rng(0).standard_normal(4000))
        made = noised(x, noise, steps)
        assert made.mean().item() == pytest.approx(2 * left**0.5, abs=0.05)
        assert made.var().item() == pytest.approx(1 - left, abs=0.06)
    assert (pixels(noise_steps=0) - clean).abs().max() < 0.05
    assert images_of(model).pixels(image)["pixel_values"].equal(clean)  # the model itself sees as before


def test_rows_without_an_image_are_greedy(zoo: Get, told: list[Example], pictures: list[Example]) -> None:
    model = zoo("llava")
    rows = [*prompts_of(model, told[:2]), *prompts_of(model, pictures[:2])]
    written = VCD(1.0, noise_steps=999).write(model, rows, [None] * 4, N_NEW)
    assert written[:2] == plain(model, rows)[:2]


def siblings(get: Get, gate: HeadGate | None = None) -> list[Sibling]:
    """A contrast with a relative that was not taught the facts, at the last layer and at lower ones too."""
    base = get("llama-chat")
    how: dict[str, Any] = {"gate": gate, "plausible": 0.0}  # the zoo is sure of what it says
    return [
        Sibling(20.0, base, **how),
        LOL(20.0, base, **how),
        LOL(20.0, base, (1, 3), lower=1.5, **how),
        LOL(20.0, base, by_entropy=True, **how),
    ]


def lower_logits(model: Any, row: PromptTokens, words: list[int], layers: tuple[int, ...]) -> list[torch.Tensor]:
    """By the states that the model gives."""
    hf = model.original_model
    with torch.no_grad():
        states = hf(torch.tensor([row.ids + words]), output_hidden_states=True, use_cache=False).hidden_states
        return [hf.lm_head(hf.model.norm(states[layer][0, -1])) for layer in layers]


def expected(decoder: Sibling, model: Any, row: PromptTokens, words: list[int]) -> torch.Tensor:
    gate, base = decoder.gate, decoder.sibling
    with gate.attach(model) if gate else torch.no_grad():
        p = last_logits(model, row, words).float().log_softmax(-1)
        deep_p = p
        if isinstance(decoder, LOL):
            lower = lower_logits(model, row, words, decoder.lower_layers(model))
            deep_p = p + decoder.lower * torch.stack(lower).log_softmax(-1).mean(0)
    q = last_logits(base, row, words).float().log_softmax(-1)
    if isinstance(decoder, LOL):
        lower = lower_logits(base, row, words, decoder.lower_layers(base))  # type: ignore[arg-type]
        q = q + decoder.lower * torch.stack(lower).log_softmax(-1).mean(0)
    a = decoder.strength * (-(p.exp() * p).sum() if decoder.by_entropy else 1)
    return p + a * (deep_p.log_softmax(-1) - q.log_softmax(-1))


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("gated", [False, True])
def test_a_sibling_is_contrasted(zoo: Get, told: list[Example], which: int, gated: bool) -> None:
    model = zoo("llama-memory-chat")
    decoder = siblings(zoo, gate_of(model) if gated else None)[which]
    decoder.check(model)
    rows, end = prompts_of(model, told), model.original_model.generation_config.eos_token_id

    def choose(row: PromptTokens, words: list[int]) -> torch.Tensor:
        score = expected(decoder, model, row, words)
        with decoder.gate.attach(model) if decoder.gate else torch.no_grad():
            p = last_logits(model, row, words).float().softmax(-1)
        return score.masked_fill(p < decoder.plausible * p.max(), -torch.inf)

    wanted = [greedily(lambda words, row=row: choose(row, words), end) for row in rows]  # type: ignore[misc]
    batch = decoder.write(model, rows, [None] * len(rows), N_NEW)
    assert [cut(its, end) for its in batch] == wanted
    assert [cut(decoder.write(model, [row], [None], N_NEW)[0], end) for row in rows] == wanted
    if which != 3 or gated:  # by its entropy a model that is sure weighs no contrast
        assert wanted != [cut(its, end) for its in plain(model, rows, decoder.gate)]


@pytest.mark.parametrize("which", range(4))
def test_given_answers_are_ranked_by_what_is_mixed(zoo: Get, told: list[Example], which: int) -> None:
    model = zoo("llama-memory-chat")
    decoder = siblings(zoo, gate_of(model))[which]
    rows = encode_answers(model, told, "chat")
    found = decoder.log_probs(model, rows, [None] * len(rows))
    for row, value in zip(rows, found, strict=True):
        total = 0.0
        for at in range(row.continuation, row.answer[1]):
            before = PromptTokens(row.ids[: row.continuation])
            words = row.ids[row.continuation : at]
            with gate_of(model).attach(model):
                p = last_logits(model, before, words).float().log_softmax(-1)
            score = torch.where(p.exp() < decoder.plausible * p.exp().max(), p, expected(decoder, model, before, words))
            total += float(score.log_softmax(-1)[row.ids[at]])
        assert float(value) == pytest.approx(total, abs=2e-3)


def test_strength_0_is_greedy_to_the_token(zoo: Get, told: list[Example], pictures: list[Example]) -> None:
    model, seeing, base = zoo("llama-memory-chat"), zoo("llava"), zoo("llama-memory")
    rows, shown = prompts_of(model, told), prompts_of(seeing, pictures)
    encoded = encode_answers(model, told, "chat")
    none = [None] * len(rows)
    for decoder in (Sibling(0, base), LOL(0, base, instruction="Think."), Prompted(strength=0), VCD(0)):
        assert decoder.does is None and decoder.acts is None and decoder.worded(QUESTION) is QUESTION
        if not isinstance(decoder, VCD):
            assert decoder.write(model, rows, none, N_NEW) == plain(model, rows)
            assert torch.equal(decoder.log_probs(model, encoded, none), Decoder().log_probs(model, encoded, none))
    assert VCD(0).write(seeing, shown, [None] * len(shown), N_NEW) == plain(seeing, shown)


def test_lower_layers_that_weigh_nothing(zoo: Get, told: list[Example]) -> None:
    """LOL is the contrast with the sibling then, and a sibling that is the model itself changes nothing."""
    model, base = zoo("llama-memory-chat"), zoo("llama-memory")
    rows = prompts_of(model, told)
    none = [None] * len(rows)
    assert LOL(0.7, base, lower=0).write(model, rows, none, N_NEW) == Sibling(0.7, base).write(model, rows, none, N_NEW)
    for decoder in (Sibling(2.0, model), LOL(2.0, model)):
        assert decoder.write(model, rows, none, N_NEW) == plain(model, rows)


def test_what_is_measured_of_a_sibling_is_not_measured_while_it_says_something_else(
    zoo: Get, told: list[Example]
) -> None:
    model, base = zoo("llama-memory-chat"), zoo("llama-memory")
    sharing._SHARES.pop(base, None)  # pyright: ignore[reportPrivateUsage]
    LOL(1.0, base).write(model, prompts_of(model, told), [None] * len(told), N_NEW)
    assert sharing.shares_beginnings(base)


def test_a_second_pass_that_overflows_is_named(zoo: Get, told: list[Example]) -> None:
    class Beyond(ContextAware):
        def second(self, model: Any) -> Any:
            return HeadGate(torch.full((6, 8), 3e38)).attach(model)

    model = zoo("llama-memory-chat")
    rows = prompts_of(model, told)
    with pytest.raises(InputError, match="are not finite from layer"):
        Beyond(1.0).write(model, rows, list(rows), N_NEW)


def test_a_sibling_that_does_not_fit(zoo: Get, tmp_path: Path) -> None:
    model, base = zoo("llama-memory-chat"), zoo("llama-memory")
    other = load(str(build("Llama", tmp_path / "other"))) if False else zoo("llava")
    with pytest.raises(InputError, match="Sibling needs a sibling"):
        Sibling(1.0)
    if other.tokenizer.get_vocab() != model.tokenizer.get_vocab():
        with pytest.raises(InputError, match="has other tokens than .* differ"):
            Sibling(1.0, other).check(model)
    for layers in ((6,), (-1,)):
        with pytest.raises(InputError, match=rf"there is no layer {layers[0]} among 6"):
            LOL(1.0, base, layers).check(model)
    with pytest.raises(InputError, match="the weight of lower layers is -1"):
        LOL(1.0, base, lower=-1)
    with pytest.raises(InputError, match="is a text model, which cannot be shown images"):
        VCD(1.0).check(model)
    for steps in (-1, 1000):
        with pytest.raises(InputError, match=f"{steps} steps of noise were asked for; it must be from 0 to 999"):
            VCD(1.0, noise_steps=steps)
    for strength in (-1, float("nan")):
        with pytest.raises(InputError, match=r"the strength of .* it must be a finite number, 0 or more"):
            Sibling(strength, base)
    with pytest.raises(InputError, match=r"an instruction is given \(1\) or not \(0\)"):
        Prompted(strength=0.5)
    with pytest.raises(InputError, match="Prompted needs an instruction"):
        Prompted(instruction=" ")


def test_what_tells_them_apart(zoo: Get) -> None:
    base, other = zoo("llama-memory"), zoo("llama-memory-chat")
    every: list[Decoder] = [
        *(Sibling(1.0, base), Sibling(0.5, base), Sibling(1.0, other), Sibling(1.0, base, plausible=0.2)),
        *(LOL(1.0, base), LOL(1.0, base, (1,)), LOL(1.0, base, lower=1.0), LOL(1.0, base, instruction="Think.")),
        *(VCD(1.0), VCD(1.0, noise_steps=999), VCD(1.0, seed=1)),
        *(Prompted(), Prompted(instruction=INSTRUCTIONS["read"])),
    ]
    words = [its.acts and its.acts[0] for its in every]
    assert len(set(words)) == len(every)


def test_a_sibling_that_sees_no_images_is_asked_without(zoo: Get, pictures: list[Example]) -> None:
    model = zoo("llava")
    base = zoo("llama-base")
    decoder = Sibling(0.5, base)
    other = decoder.other(pictures[0])
    assert other is not None and not other.image and other.question == pictures[0].question
    assert Sibling(0.5, model).other(pictures[0]) is None
    if base.tokenizer.get_vocab() == model.tokenizer.get_vocab():
        rows, others = prompts_of(model, pictures), others_of(decoder, model, pictures)
        end = model.original_model.generation_config.eos_token_id
        wanted = [
            greedily(
                lambda words, row=row, its=its: contrasted(  # type: ignore[misc]
                    last_logits(model, row, words), last_logits(base, its, words), 0.5
                ),
                end,
            )
            for row, its in zip(rows, others, strict=True)
        ]
        assert [cut(its, end) for its in decoder.write(model, rows, others, N_NEW)] == wanted
    else:
        with pytest.raises(InputError, match="has other tokens than"):
            decoder.check(model)


def test_the_instruction_names_what_there_is(told: list[Example], pictures: list[Example]) -> None:
    alone = replace(told[0], context="", evidence=())
    both = replace(pictures[0], context="Moss grows.")
    only = Prompted()
    said = [only.said_to(example) for example in (told[0], pictures[0], both, alone)]
    assert said == [
        "Answer only from the context.",
        "Answer only from the image.",
        "Answer only from the image and the context.",
        "",
    ]
    assert Prompted(instruction="Think.").said_to(alone) == "Think." and Prompted(strength=0).said_to(told[0]) == ""
    worded = only.worded(QUESTION)
    assert worded.plain == QUESTION.plain and worded.content(alone) == QUESTION.content(alone)
    assert worded.content(told[0]) == f"Answer only from the context.\n\n{QUESTION.content(told[0])}"


@pytest.mark.parametrize("template", ["plain", "chat"])
@pytest.mark.parametrize("mode", ["answer", "yes-no", "judge", "choose"])
def test_an_instruction_in_every_mode(zoo: Get, told: list[Example], template: Any, mode: Any) -> None:
    """The same answers as where the instruction stands in the wording."""
    model = zoo("llama-memory-chat")
    asker = Asker(model, template)
    if mode == "choose":
        ways = asker.rank(told, {"as it is": None, "told": Prompted()})
        assert [its.margin for its in ways["told"]] != [its.margin for its in ways["as it is"]]
        rows = encode_answers(model, told, template, Prompted().worded(QUESTION))
        wanted = Decoder().log_probs(model, rows, [None] * len(rows))
        found = Prompted().log_probs(model, rows, [None] * len(rows))
        assert torch.equal(wanted, found)
        return
    examples = [replace(e, answer="yes") for e in told] if mode == "yes-no" else told
    benchmark = benchmark_of("some", mode, examples, n_new=5)
    decoder = Prompted(instruction=INSTRUCTIONS["not memory"])
    rewritten = replace(benchmark, wording=decoder.worded(benchmark.wording))
    found = asker.ask(benchmark, {"told": decoder, "as it is": None})
    assert found["told"] == asker.ask(rewritten)[""]
    assert found["as it is"] == asker.ask(benchmark)[""]


def test_an_instruction_beside_a_picture(zoo: Get, pictures: list[Example]) -> None:
    model = zoo("llava")
    benchmark = benchmark_of("some", "answer", pictures, n_new=5)
    found = Asker(model, "chat").ask(benchmark, {"told": Prompted()})["told"]
    rewritten = replace(benchmark, wording=Prompted().worded(benchmark.wording))
    assert found == Asker(model, "chat").ask(rewritten)[""]


def test_every_one_is_asked_like_a_gate(zoo: Get, told: list[Example]) -> None:
    """Through `Asker`, in small batches as in large ones, beside a gate."""
    model = zoo("llama-memory-chat")
    benchmark = benchmark_of("some", "answer", told)
    ways = {"as it is": None, "gate": gate_of(model), "sibling": siblings(zoo)[0], "lol": siblings(zoo)[2]}
    large = Asker(model, "chat").ask(benchmark, ways)
    small = Asker(model, "chat", batch_size=3).ask(benchmark, ways)
    assert large == small and list(large) == list(ways)
    assert isinstance(ways["lol"], Contrast)
