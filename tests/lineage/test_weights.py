"""`weights`: equal to dense circuits, for every family, shard and tower; read lazily; damaged checkpoints named."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import build
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from lens_truth.errors import InputError
from lens_truth.io.numbers import short
from lens_truth.lineage.kept import MEASURES, Preservation, WeightSimilarity, circuits_table, preservation
from lens_truth.lineage.weights import weight_similarity
from lens_truth.models.checkpoint import open_checkpoint
from lens_truth.models.structure import heads_of
from lens_truth.scoring.scores import HeadScores


def child_of(model: Any, seed: int = 1, scale: float = 0.1) -> Any:
    """The same model with noise on its attention weights."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "self_attn" in name and name.endswith("proj.weight"):
                weight += scale * weight.std() * torch.randn_like(weight)
    return model


def saved(model: Any, folder: Path, **more: Any) -> Path:
    model.save_pretrained(folder, **more)
    return folder


def dense(model: Any, layer: int, head: int) -> dict[str, torch.Tensor]:
    """One head's matrices and its circuits, formed in full."""
    h, attention = heads_of(model), model.model.layers[layer].self_attn
    own = slice(head * h.d_head, (head + 1) * h.d_head)
    kv_head = head // (h.n_heads // h.n_kv_heads)
    shared = slice(kv_head * h.d_head, (kv_head + 1) * h.d_head)
    q, k, v = attention.q_proj.weight[own], attention.k_proj.weight[shared], attention.v_proj.weight[shared]
    o = attention.o_proj.weight[:, own]
    return {n: w.detach().double() for n, w in {"q": q, "k": k, "v": v, "o": o, "qk": q.T @ k, "ov": o @ v}.items()}


def test_equals_dense_circuits(family: str, tmp_path: Path) -> None:
    base = build(family)
    kept = weight_similarity(saved(base, tmp_path / "base"), saved(child_of(build(family)), tmp_path / "child"))
    child = child_of(build(family))
    for layer, head in np.ndindex(3, 4):
        one, other = dense(base, layer, head), dense(child, layer, head)
        for part in one:
            cosine = torch.cosine_similarity(one[part].flatten(), other[part].flatten(), dim=0)
            assert getattr(kept, part)[layer, head] == pytest.approx(cosine.item(), abs=1e-6)
        parts = [(other[part] - one[part], one[part]) for part in "qkvo"]
        distance, size = (sum(w.square().sum().item() for w in side) for side in zip(*parts, strict=True))
        assert kept.change[layer, head] == pytest.approx((distance / size) ** 0.5, rel=1e-5)
    assert kept.n_kv_heads == heads_of(base).n_kv_heads
    assert 0.9 < kept.means()["ov"] < 0.999


def test_a_model_keeps_itself(tmp_path: Path) -> None:
    base = saved(build("qwen3"), tmp_path / "base")
    kept = weight_similarity(base, base)
    assert all(getattr(kept, part) == pytest.approx(1, abs=1e-12) for part in ("q", "k", "v", "o", "qk", "ov"))
    assert (kept.change == 0).all() and kept.hashes[0] == kept.hashes[1]


def test_circuits_do_not_depend_on_the_basis_inside_a_head(tmp_path: Path) -> None:
    base, turned = build("llama"), build("llama")
    rotation = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))[0]
    attention = turned.model.layers[1].self_attn
    with torch.no_grad():
        for weight in (attention.q_proj.weight[:8], attention.k_proj.weight[:8], attention.v_proj.weight[:8]):
            weight.copy_(rotation @ weight)
        attention.o_proj.weight[:, :8] = attention.o_proj.weight[:, :8] @ rotation.T
    kept = weight_similarity(saved(base, tmp_path / "base"), saved(turned, tmp_path / "turned"))
    assert abs(kept.q[1, 0]) < 0.9 and kept.qk[1, 0] == pytest.approx(1, abs=1e-5)
    assert abs(kept.o[1, 0]) < 0.9 and kept.ov[1, 0] == pytest.approx(1, abs=1e-5)
    assert kept.change[1, 0] > 0.1 and (np.delete(kept.change.ravel(), 4) == 0).all()


def test_shards_are_the_same_model(tmp_path: Path) -> None:
    base, child = build("llama-gqa-head-dim"), child_of(build("llama-gqa-head-dim"))
    whole = weight_similarity(saved(base, tmp_path / "base"), saved(child, tmp_path / "child"))
    folder = saved(child, tmp_path / "shards", max_shard_size="8KB")
    assert len(list(folder.glob("*.safetensors"))) > 3
    parts = weight_similarity(tmp_path / "base", folder)
    assert all(np.array_equal(getattr(whole, m), getattr(parts, m)) for m in MEASURES) and whole.hashes == parts.hashes


def llava(text: Any) -> Any:
    """A tiny LLaVA around the weights of a language model."""
    vision = CLIPVisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2)
    config = LlavaConfig(vision_config=vision, text_config=text.config, image_token_index=59)
    model = LlavaForConditionalGeneration(config)
    model.model.language_model.load_state_dict(text.model.state_dict())
    return model


@pytest.mark.parametrize("names", ["as saved", "model.language_model.", "language_model.model."])
def test_the_tower_inside_a_multimodal_child(tmp_path: Path, names: str) -> None:
    """Whatever a version of transformers called it; the vision tower has q_proj and k_proj of its own."""
    base, child = build("llama"), child_of(build("llama"))
    alone = weight_similarity(saved(base, tmp_path / "base"), saved(child, tmp_path / "child"))
    folder = saved(llava(child), tmp_path / "llava")
    if names != "as saved":
        weights = load_file(folder / "model.safetensors")
        text = {n: w for n, w in weights.items() if "language_model" in n and ".layers." in n}
        renamed = {f"{names}layers.{n.partition('.layers.')[2]}": w for n, w in text.items()}
        vision = {n: w for n, w in weights.items() if "vision" in n}
        save_file({**renamed, **vision}, folder / "model.safetensors")
    inside = weight_similarity(tmp_path / "base", folder)
    assert all(np.allclose(getattr(alone, m), getattr(inside, m), atol=1e-12) for m in MEASURES)


def test_pruned_heads_have_no_cosine(tmp_path: Path) -> None:
    pruned = build("llama")
    with torch.no_grad():
        pruned.model.layers[2].self_attn.o_proj.weight[:, 8:16] = 0
    kept = weight_similarity(saved(build("llama"), tmp_path / "base"), saved(pruned, tmp_path / "pruned"))
    assert kept.undefined == 1 and np.isnan(kept.o[2, 1]) and np.isnan(kept.ov[2, 1]) and kept.q[2, 1] == 1
    scores = HeadScores(np.random.default_rng(0).normal(size=(3, 4)))
    related = preservation(scores, scores, kept)
    assert related.score["o"] is None and related.top["ov"] is None and related.p_holm["o"] == (None, None)
    assert related.score["change"] is not None
    assert all(mean is not None for mean in kept.means().values())
    with torch.no_grad():
        for layer in pruned.model.layers:
            layer.self_attn.v_proj.weight.zero_()
    blank = weight_similarity(tmp_path / "base", saved(pruned, tmp_path / "blank"))
    assert blank.means()["v"] is None and blank.undefined == 12
    assert blank.tables()[0].texts()[2] == ["1 - cosine of W_V", ""]
    kept.save(tmp_path / "kept")
    related.save(tmp_path / "related")
    again = WeightSimilarity.load(tmp_path / "kept")
    assert again == kept and again.child.endswith("pruned") and again.plot().axes
    assert Preservation.load(tmp_path / "related") == related
    with pytest.raises(InputError, match="result does not fit"):  # other heads
        WeightSimilarity.from_dict(kept.as_dict() | {"q": [[1.0]]})
    with pytest.raises(InputError, match="not of the same measures"):
        Preservation.from_dict(related.as_dict() | {"top": {}})


def test_only_what_is_needed_leaves_the_disk(tmp_path: Path) -> None:
    """A checkpoint of 4 GB (its embeddings are holes in the file) in far less memory than that."""
    model = build("llama")
    for name in ("base", "child"):
        folder = saved(child_of(model), tmp_path / name)
        weights = {n: w.clone() for n, w in load_file(folder / "model.safetensors").items()}  # not views of the file
        header, offset = {}, 0
        for tensor, weight in weights.items():
            shape = [500_000_000, 2] if tensor == "model.embed_tokens.weight" else list(weight.shape)
            size = 4 * shape[0] * shape[1] if len(shape) == 2 else 4 * shape[0]
            header[tensor] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + size]}
            offset += size
        text = json.dumps(header).encode()
        with (folder / "model.safetensors").open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.truncate(8 + len(text) + offset)
            for tensor, weight in weights.items():
                file.seek(8 + len(text) + header[tensor]["data_offsets"][0])
                file.write(weight.numpy().tobytes())
    code = (
        "import resource, sys\n"
        "from lens_truth import weight_similarity\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "kept = weight_similarity(sys.argv[1], sys.argv[2])\n"
        "assert kept.undefined == 0\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "base", tmp_path / "child"],
        text=True,
        stdout=subprocess.PIPE,
        check=True,
    )
    assert float(done.stdout) < 200  # MB


def test_scores_that_follow_the_weights() -> None:
    """Heads with high scores keep their circuits here, by construction; shuffled scores do not."""
    draw = np.random.default_rng(0)
    scores, noise = draw.normal(size=(8, 8)), draw.normal(size=(8, 8))
    depth = np.linspace(0, 1, 8)[:, None]
    maps = dict.fromkeys(("q", "k", "v", "o", "qk", "ov"), 0.9 + 0.01 * (scores + noise) - 0.05 * depth)
    kept = WeightSimilarity(
        **maps, change=0.2 - 0.01 * scores, n_kv_heads=8, hashes=("", ""), base="base", child="child"
    )
    base = HeadScores(scores)
    child = HeadScores(scores + 0.1 * (0.2 - 0.01 * scores))
    related = preservation(base, child, kept)
    ov, top = related.score["ov"], related.top["ov"]
    assert ov is not None and ov.pearson_within_layer > 0.5 and ov.p_value == 1 / 10_000
    assert top is not None and top.n_top == 16 and top.difference_within_layer > 0 and top.p_value < 0.001
    assert related.p_holm["ov"][0] == pytest.approx(7 / 10_000)
    assert related.score_change is not None and related.score_change.pearson == pytest.approx(1)
    other = preservation(HeadScores(draw.normal(size=(8, 8))), None, kept)
    assert other.score["ov"] is not None and other.score["ov"].p_value > 0.05 and other.score_change is None
    rows = related.tables()[0].texts()
    assert rows[5][0] == "cosine of the OV circuit" and rows[5][1] == f"{ov.pearson:.2f}"
    assert circuits_table("base", {"child": (kept, related)}).texts()[0][:4] == [
        "child",
        "OV",
        short(1 - float(kept.ov.mean())),
        rows[5][1],
    ]
    far = kept.distances()
    np.testing.assert_allclose(far["ov"], 1 - kept.ov)
    assert min(float(its.min()) for its in far.values()) >= 1e-12
    with pytest.raises(InputError, match="the child's scores are 2 x 2, the weights 8 x 8 heads"):
        preservation(base, HeadScores(np.eye(2)), kept)


def without(name: str) -> Any:
    def change(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        save_file({n: w for n, w in weights.items() if name not in n}, folder / "model.safetensors")

    return change


def quantised(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    name = "model.layers.0.self_attn.k_proj.weight"
    save_file({**weights, name: weights[name].to(torch.int8)}, folder / "model.safetensors")


def infinite(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.self_attn.v_proj.weight"][0, 0] = torch.inf
    save_file(weights, folder / "model.safetensors")


def other_heads(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "head_dim": 4}))


def missing_shard(folder: Path) -> None:
    names = list(load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").rename(folder / "one.safetensors")
    index = {"weight_map": {n: "two.safetensors" if "layers.2" in n else "one.safetensors" for n in names}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def no_index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text("[]")


def wrong_index(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "one.safetensors")
    index = {"weight_map": {"model.layers.0.self_attn.q_proj.weight": "one.safetensors", "ghost": "one.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def cut_off(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def pickled(folder: Path, shards: int = 1) -> Path:
    """The same weights as torch.save writes them."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = [f"pytorch_model-{n}-of-{shards}.bin" for n in range(shards)] if shards > 1 else ["pytorch_model.bin"]
    held = {name: dict(list(weights.items())[place :: len(names)]) for place, name in enumerate(names)}
    for name, tensors in held.items():
        torch.save(tensors, folder / name)
    if shards > 1:
        index = {"weight_map": {tensor: name for name, tensors in held.items() for tensor in tensors}}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return folder


def code_in_a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"weights": Path("x")}, folder / "pytorch_model.bin")  # an object of a class that is not torch's


@pytest.mark.parametrize("shards", [1, 3])
def test_weights_of_a_pickle_are_those_of_safetensors(shards: int, tmp_path: Path) -> None:
    folders = [saved(build("qwen2"), tmp_path / name) for name in ("child", "pickled")]
    for layer, side in product(range(3), "qkvo"):
        its = [open_checkpoint(folder).projection(layer, side) for folder in folders]
        assert torch.equal(*its)


BROKEN = {
    "layer": (without("layers.1.self_attn.o_proj"), "lacks model.layers.1.self_attn.o_proj.weight"),
    "attention": (without("self_attn"), "holds no layers.N.self_attn.q_proj.weight"),
    "quantised": (quantised, r"holds whole numbers \(model.layers.0.self_attn.k_proj.weight: I8\)"),
    "infinite": (infinite, "layers.1.self_attn.v_proj.weight holds numbers that are not finite"),
    "shard": (missing_shard, "1 of the 2 files of weights that model.safetensors.index.json names are not there"),
    "index": (wrong_index, "one.safetensors: lacks tensor ghost"),
    "cut": (cut_off, "model.safetensors: is cut off after"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "the folder holds no config.json"),
    "no weights": (
        lambda folder: (folder / "model.safetensors").unlink(),
        "holds neither model.safetensors nor",
    ),
    "no pickle": (
        lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
        "is not a readable file of weights",
    ),
    "code in a pickle": (code_in_a_pickle, "pytorch_model.bin: is not a readable file of weights"),
    "not an index": (no_index, "is not an index of weight files"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_checkpoints_are_named(tmp_path: Path, case: str) -> None:
    change, complaint = BROKEN[case]
    good, bad = saved(build("llama"), tmp_path / "good"), saved(build("llama"), tmp_path / "bad")
    change(bad)
    with pytest.raises(InputError, match=complaint):
        weight_similarity(good, bad)


def test_a_config_of_another_model_is_noticed(tmp_path: Path) -> None:
    folder = saved(build("llama"), tmp_path / "model")
    other_heads(folder)
    with pytest.raises(InputError, match=r"q_proj.weight has shape \(32, 32\), the config says \(16, 32\)"):
        weight_similarity(folder, folder)


def test_other_heads_are_not_compared(tmp_path: Path) -> None:
    one, other = saved(build("llama"), tmp_path / "one"), saved(build("llama-gqa-head-dim"), tmp_path / "other")
    with pytest.raises(InputError, match=r"4 heads \(4 KV heads\) of width 8 on 32 and .* \(2 KV heads\) of width 12"):
        weight_similarity(one, other)


def test_other_parts_of_a_checkpoint_are_left_alone(tmp_path: Path) -> None:
    """A resampler, a talker and heads that predict further tokens have attention of their own."""
    folder = saved(build("llama"), tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    layer = {n.partition("layers.0.")[2]: w for n, w in weights.items() if "layers.0." in n}
    for part in ("connector.perceiver_resampler.layers.0", "talker.model.layers.0", "model.mtp_layers.0"):
        weights |= {f"{part}.{name}": weight.clone() for name, weight in layer.items()}
    weights |= {f"model.layers.3.{name}": weight.clone() for name, weight in layer.items()}  # of 3 in the config
    save_file(weights, folder / "model.safetensors")
    assert open_checkpoint(folder).heads.n_layers == 3
    assert (weight_similarity(folder, folder).change == 0).all()


def test_a_whole_file_goes_before_a_stale_index(tmp_path: Path) -> None:
    """As in transformers, which would load the same."""
    folder = saved(build("llama"), tmp_path / "model")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"ghost": "ghost.safetensors"}}')
    assert open_checkpoint(folder).heads.n_heads == 4


def test_two_language_towers_are_not_guessed_at(tmp_path: Path) -> None:
    folder = saved(build("llama"), tmp_path / "two")
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {f"draft.{n}": w.clone() for n, w in weights.items()}, folder / "model.safetensors")
    with pytest.raises(InputError, match=r"several language towers \(draft.model., model.\)"):
        open_checkpoint(folder)
    assert isinstance(build("llama").config, LlamaConfig)
