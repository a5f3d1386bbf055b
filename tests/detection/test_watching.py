"""The score of every token while a model writes: what a pass over the whole text says afterwards."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import build
from transformers import TextStreamer

from lens_truth.data.loading import load_examples
from lens_truth.detection.watching import WatchedToken, watch
from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.models.loading import load
from lens_truth.scoring.capturing import capture
from lens_truth.scoring.detector import Detector, units_of
from lens_truth.scoring.head_probes import HeadProbes

IDS = torch.randint(3, 60, (2, 9), generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[1] * 9, [0] * 3 + [1] * 6])
HOW: dict[str, Any] = {"attention_mask": MASK, "max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False}
HEADS = [(0, 1), (2, 3), (2, 0)]


@pytest.fixture(scope="module")
def probes(tiny: Any) -> HeadProbes:
    return HeadProbes.fit(capture(tiny, load_examples("zoo:text", limit=40)))


def afterwards(model: Any, probes: HeadProbes, written: torch.Tensor) -> torch.Tensor:
    """Scores at the prompt's end and every token behind it, from one pass over all."""
    mask = torch.cat([MASK, torch.ones(2, written.shape[1] - 9, dtype=torch.long)], 1)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    z: list[torch.Tensor] = []
    hooks = [(f"blocks.{layer}.attn.hook_z", lambda its, hook: z.append(its)) for layer in range(3)]
    with torch.no_grad(), model.hooks(fwd_hooks=hooks):
        model(written, attention_mask=mask, position_ids=positions)
    decisions = probes.decision(torch.stack(z, dim=2)).double().numpy()
    return torch.from_numpy(Detector.of(probes, HEADS).score(decisions / units_of(probes)))[:, 8:-1]


@pytest.mark.parametrize("more", [{}, {"use_cache": False}], ids=["cached", "uncached"])
@pytest.mark.parametrize("gated", [False, True])
def test_generate(tiny: Any, probes: HeadProbes, more: dict[str, Any], gated: bool) -> None:
    gate = HeadGate(torch.linspace(0.2, 1.9, 12).reshape(3, 4) if gated else torch.ones(3, 4))
    seen: list[WatchedToken] = []
    with gate.attach(tiny):
        plain = tiny.generate(IDS, **HOW, **more)
        with watch(tiny, probes, on_token=seen.append, heads=HEADS) as detector:
            written = tiny.generate(IDS, **HOW, **more)
        wanted = afterwards(tiny, probes, written)
    assert torch.equal(written, plain) and detector.heads == tuple(HEADS)
    scores = torch.stack([token.score for token in seen], dim=1)
    assert [token.step for token in seen] == list(range(6))
    assert scores.double().numpy() == pytest.approx(wanted.numpy(), abs=2e-4)
    assert torch.stack([token.ids for token in seen[1:]], dim=1).equal(written[:, 9:-1])
    summed = torch.stack([token.parts.sum(1) for token in seen], dim=1)
    assert summed.numpy() == pytest.approx(scores.numpy(), abs=1e-4) and seen[0].parts.shape == (2, 3)
    assert ((seen[0].probability > 0) & (seen[0].probability < 1)).all()


def test_a_gate_that_is_attached_later_counts_too(tiny: Any, probes: HeadProbes) -> None:
    gate, seen = HeadGate(torch.linspace(0.2, 1.9, 12).reshape(3, 4)), list[WatchedToken]()
    with watch(tiny, probes, on_token=seen.append, heads=HEADS), gate.attach(tiny):
        tiny.generate(IDS, **HOW)
    with gate.attach(tiny), watch(tiny, probes, on_token=seen.append, heads=HEADS):
        tiny.generate(IDS, **HOW)
    for one, other in zip(seen[:6], seen[6:], strict=True):
        assert one.score.equal(other.score)


def test_rows_of_a_batch_are_rows_alone(tiny: Any, probes: HeadProbes) -> None:
    both, alone = list[WatchedToken](), list[WatchedToken]()
    with watch(tiny, probes, on_token=both.append, heads=HEADS):
        tiny.generate(IDS, **HOW)
    with watch(tiny, probes, on_token=alone.append, heads=HEADS):
        tiny.generate(IDS[1:, 3:], **{**HOW, "attention_mask": MASK[1:, 3:]})
    for one, other in zip(both, alone, strict=True):
        assert one.score[1:].numpy() == pytest.approx(other.score.numpy(), abs=2e-4)


def test_beside_a_streamer_and_nothing_stays(tiny: Any, probes: HeadProbes, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[WatchedToken] = []
    with watch(tiny, probes, on_token=seen.append):
        tiny.generate(IDS[:1], **{**HOW, "attention_mask": MASK[:1]}, streamer=TextStreamer(tiny.tokenizer))
    assert len(seen) == 6 and capsys.readouterr().out
    assert seen[0].detector.n_heads == 12  # the probes carry no detector: the best ones, of which there are so many
    tiny.generate(IDS, **HOW)
    assert len(seen) == 6


def test_what_the_callback_raises_ends_it(tiny: Any, probes: HeadProbes) -> None:
    def stop(token: WatchedToken) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), watch(tiny, probes, on_token=stop):
        tiny.generate(IDS, **HOW)
    tiny.generate(IDS, **HOW)


def test_refused(tiny: Any, probes: HeadProbes, tokenizer: Any) -> None:
    def nothing(token: WatchedToken) -> None: ...

    other = load(build("qwen3", len(tokenizer)), tokenizer=tokenizer)
    with pytest.raises(InputError, match="layers, heads, width"), watch(other, probes, on_token=nothing):
        pass
    with pytest.raises(InputError, match="no probe of head 3"), watch(tiny, probes, on_token=nothing, heads=[(3, 0)]):
        pass
    layers = HeadProbes.fit(capture(tiny, load_examples("zoo:text", limit=40), at="resid_post"))
    with pytest.raises(InputError, match="heads are watched"), watch(tiny, layers, on_token=nothing):
        pass
