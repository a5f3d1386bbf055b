"""CETT against its definition, loop by loop; batches, folders, other tokens; where the answer's tokens are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import build

from lens_truth.data.examples import Example
from lens_truth.data.replies import Reply, whole_replies
from lens_truth.data.world_examples import text_examples
from lens_truth.errors import DataWarning, InputError
from lens_truth.models.loading import load
from lens_truth.models.prompts import Encoded, encode
from lens_truth.neurons.activity import NeuronActivity
from lens_truth.neurons.capturing import neuron_activity
from lens_truth.neurons.reply_tokens import reply_rows, tokens_of_text


def by_loops(model: Any, row: Encoded, *, others: bool = False) -> np.ndarray:
    """Section 3.1 of the paper, a token and a neuron at a time."""
    hf, seen = model.original_model, dict[int, tuple[torch.Tensor, torch.Tensor]]()

    def keep(layer: int, args: Any, output: Any) -> None:
        seen[layer] = args[0][0].double(), output[0].double()

    layers = hf.model.layers
    handles = [
        its.mlp.down_proj.register_forward_hook(lambda m, a, o, n=number: keep(n, a, o))
        for number, its in enumerate(layers)
    ]
    with torch.no_grad():
        hf(torch.tensor([row.ids]))
    for handle in handles:
        handle.remove()
    inside = range(*row.answer)
    counted = [t for t in range(len(row.ids)) if (t not in inside) == others]
    found = np.zeros((len(layers), layers[0].mlp.down_proj.in_features))
    for layer, its in enumerate(layers):
        weight = its.mlp.down_proj.weight.detach().double()
        a, out = seen[layer]
        for j in range(found.shape[1]):
            found[layer, j] = np.mean(
                [float(a[t, j].abs() * weight[:, j].norm() / (out[t].norm() + 1e-8)) for t in counted]
            )
    return found


@pytest.mark.parametrize("others", [False, True])
def test_equals_the_definition(tiny: Any, others: bool) -> None:
    replies = whole_replies(text_examples("test", 6, 0))
    found = neuron_activity(tiny, replies, others=others)
    rows = encode(tiny.tokenizer, [reply.example for reply in replies], "plain")
    for number, row in enumerate(rows):
        assert np.allclose(found.values[number], by_loops(tiny, row.shown), atol=1e-5)
        if found.others is not None:
            assert np.allclose(found.others[number], by_loops(tiny, row.shown, others=True), atol=1e-5)
    assert (found.others is not None) == others and found.n_tokens.tolist() == [r.answer[1] - r.answer[0] for r in rows]


def test_a_batch_is_its_rows_and_sharing_a_prompt_changes_nothing(tiny: Any) -> None:
    replies = whole_replies(text_examples("test", 16, 0))
    whole = neuron_activity(tiny, replies).values
    assert torch.allclose(whole, neuron_activity(tiny, replies, batch_size=1).values, atol=1e-6)
    alone = torch.cat([neuron_activity(tiny, [reply]).values for reply in replies])
    assert torch.allclose(whole, alone, atol=1e-6)
    assert torch.allclose(whole, neuron_activity(tiny, replies, others=True).values, atol=1e-6)


def test_half_precision_is_near(tokenizer: Any) -> None:
    replies = whole_replies(text_examples("test", 8, 0))
    exact, half = (
        neuron_activity(load(build("llama", len(tokenizer)).to(dtype), tokenizer=tokenizer), replies).values
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert half.dtype == torch.float32 and (half - exact).norm() < 0.05 * exact.norm()


def test_streamed_to_disk_and_resumed(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lens_truth.neurons import capturing

    replies = whole_replies(text_examples("test", 12, 0))
    wanted = neuron_activity(tiny, replies, others=True, batch_size=2)
    read, calls = capturing.CettReader.read, []

    def dying(self: Any, rows: Any) -> Any:
        calls.append(len(rows))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return read(self, rows)

    monkeypatch.setattr(capturing.CettReader, "read", dying)
    with pytest.raises(KeyboardInterrupt):
        neuron_activity(tiny, replies, others=True, batch_size=2, out=tmp_path / "a")
    with pytest.raises(InputError, match="interrupted"):
        NeuronActivity.load(tmp_path / "a")
    calls[:] = [0] * 9
    found = neuron_activity(tiny, replies, others=True, batch_size=2, out=tmp_path / "a")
    assert torch.equal(found.values, wanted.values) and found.others is not None and wanted.others is not None
    assert torch.equal(found.others, wanted.others) and found.provenance == wanted.provenance
    assert np.array_equal(found.n_tokens, wanted.n_tokens) and found.ids == wanted.ids
    wanted.save(tmp_path / "b")
    assert (tmp_path / "a" / "z.npy").read_bytes() == (tmp_path / "b" / "z.npy").read_bytes()
    with pytest.raises(InputError, match="another run"):
        neuron_activity(tiny, replies[:5], others=True, out=tmp_path / "a")


def asked(answer: str, label: int = 1) -> Example:
    return Example(answer, answer, "Where is the coral heart?", answer, label)


def test_the_answer_inside_a_reply(tiny: Any) -> None:
    text = "The coral heart is in the attic ."
    start = text.index("attic")
    reply = Reply(asked(text), (start, start + 5))
    assert reply.answer == "attic"
    (row,), _ = reply_rows(tiny, [reply], "plain")
    assert tiny.tokenizer.decode(row.ids[slice(*row.answer)]).strip() == "attic"
    assert row.answer[1] < len(row.ids)  # what stands behind it is one of the other tokens
    written = tuple(row.ids[row.continuation :])
    (again,), _ = reply_rows(tiny, [Reply(asked(text), reply.span, written)], "plain")
    assert again.ids == row.ids and again.answer == row.answer


def test_tokens_are_those_that_the_model_wrote(tiny: Any) -> None:
    """A text may be cut into other tokens when it is read again; given ones are kept."""
    tokenizer = tiny.tokenizer
    ids = [its for word in ("at", "tic") for its in tokenizer(f" {word}", add_special_tokens=False)["input_ids"]]
    text = tokenizer.decode(ids).strip()
    (row,), _ = reply_rows(tiny, [Reply(asked(text), (0, len(text)), tuple(ids))], "plain")
    assert row.ids[row.continuation :] == ids


def test_characters_of_several_tokens_belong_to_each() -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = {chr: i for i, chr in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    raw = Tokenizer(models.BPE(letters, []))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw)
    text = "It is Brno in Česko."
    ids = tokenizer(text)["input_ids"]
    start = text.index("Č")
    assert tokens_of_text(tokenizer, ids, text, (start, start + 1)) == (start, start + 2)  # one letter, two bytes
    assert tokens_of_text(tokenizer, ids, text, (start + 1, start + 2)) == (start + 2, start + 3)
    assert tokens_of_text(tokenizer, ids, text, (start + 5, start + 6)) == (start + 6, start + 7)
    assert tokens_of_text(tokenizer, ids, "another text", (0, 3)) is None


def test_lost_replies_are_counted_and_none_is_an_error(tiny: Any) -> None:
    good = Reply(asked("attic"), (0, 5))
    lost = Reply(asked("cellar"), (0, 6), tuple(tiny.tokenizer("attic", add_special_tokens=False)["input_ids"]))
    with pytest.warns(DataWarning, match="1 of 2 replies are left out"):
        found = neuron_activity(tiny, [good, lost])
    assert found.ids == ("attic",)
    with pytest.raises(InputError, match="none of the 1 replies has a token"):
        neuron_activity(tiny, [lost])
    with pytest.raises(InputError, match="no replies"):
        neuron_activity(tiny, [])
    with pytest.raises(InputError, match="characters 3 to 3 of 5"):
        Reply(asked("attic"), (3, 3))
    with pytest.raises(InputError, match="1 of 1 answers are empty"):
        whole_replies([asked(" ")])


def test_a_model_without_gated_mlp_is_refused(tokenizer: Any) -> None:
    import transformers

    config = transformers.GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=4)
    model = load(transformers.GPT2LMHeadModel(config).eval(), tokenizer=tokenizer)
    with pytest.raises(InputError, match=r"the MLP of layer 0 \(mlp.c_proj\) has no gate"):
        neuron_activity(model, [Reply(asked("attic"), (0, 5))])
