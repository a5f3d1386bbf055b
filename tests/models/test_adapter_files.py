"""Adapters on disk: what `weights` compares is what `merge_and_unload` makes; what does not fit the base is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from adapted import QUIET, SIDES, adapted, folders, peft
from conftest import build, refused, run
from safetensors.torch import load_file, save_file

from lens_truth.errors import InputError
from lens_truth.lineage.kept import MEASURES
from lens_truth.lineage.weights import weight_similarity
from lens_truth.models.checkpoint import open_checkpoint
from lens_truth.models.loading import load_plain

pytestmark = QUIET
FILE = "adapter_model.safetensors"


def lora(targets: Any = SIDES, **more: Any) -> Any:
    return peft.LoraConfig(r=3, lora_alpha=5, target_modules=targets, **more)


KINDS: dict[str, tuple[Callable[[], Any], int]] = {
    "lora": (lambda: lora([*SIDES, "up_proj"]), 12),
    "rslora": (lambda: lora(use_rslora=True), 12),
    "patterns": (lambda: lora(rank_pattern={"1.self_attn.q_proj": 4}, alpha_pattern={"o_proj": 7}), 12),
    "a pattern": (lambda: lora(r".*\.[02]\.self_attn\.[qo]_proj"), 4),
    "some layers": (lambda: lora(["q_proj", "o_proj"], layers_to_transform=[1]), 2),
    "dora": (lambda: lora(use_dora=True), 12),
    "pissa": (lambda: lora(init_lora_weights="pissa"), 12),
    "bias": (lambda: lora(["q_proj"], bias="all", lora_bias=True), 3),
    "saved whole": (lambda: lora(["q_proj"], modules_to_save=["o_proj", "lm_head"]), 6),
    "mlp only": (lambda: lora(["up_proj"]), 0),
    "ia3": (lambda: peft.IA3Config(target_modules=["k_proj", "v_proj", "o_proj"], feedforward_modules=["o_proj"]), 9),
    "loha": (lambda: peft.LoHaConfig(r=2, alpha=4, target_modules=SIDES), 12),
    "oft": (lambda: peft.OFTConfig(r=0, oft_block_size=4, target_modules=SIDES), 12),
}
"""Configs, and how many of the twelve projections they change."""


@pytest.mark.parametrize("kind", list(KINDS))
def test_equals_the_merged_model(kind: str, tmp_path: Path) -> None:
    config, n_changed = KINDS[kind]
    family = "llama-bias-tied" if kind == "bias" else "llama-gqa-head-dim"
    base, adapter = folders(tmp_path, config(), family)
    merged = peft.PeftModel.from_pretrained(build(family), adapter).merge_and_unload()
    checkpoint, plain, changed = open_checkpoint(f"{base}+{adapter}"), open_checkpoint(base), 0
    for layer, side in product(range(3), "qkvo"):
        weight = checkpoint.projection(layer, cast("Any", side))
        assert torch.equal(weight, merged.model.layers[layer].self_attn.get_submodule(f"{side}_proj").weight)
        changed += not torch.equal(weight, plain.projection(layer, cast("Any", side)))
    assert changed == n_changed


def test_weights_of_an_adapter_are_those_of_the_merged_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], no_pdfs: None
) -> None:
    base, adapter = folders(tmp_path, lora())
    peft.PeftModel.from_pretrained(build("llama-gqa-head-dim"), adapter).merge_and_unload().save_pretrained(
        tmp_path / "merged"
    )
    merged, apart = (weight_similarity(base, child) for child in (tmp_path / "merged", f"{base}+{adapter}"))
    assert all(np.array_equal(getattr(merged, m), getattr(apart, m)) for m in MEASURES)
    assert merged.hashes == apart.hashes and apart.child == f"{base}+{adapter}" and apart.means()["o"] < 0.999
    alone = renamed(adapter, tmp_path / "alone", base_model_name_or_path=str(base))
    code, out, _ = run(
        capsys, "weights", "--base", base, "--child", alone, "--base-scores", flat(tmp_path), "--out", tmp_path / "out"
    )
    assert code == 0 and str(alone) in out


def flat(folder: Path) -> Path:
    np.save(folder / "flat.npy", np.random.default_rng(0).random((3, 4)))
    return folder / "flat.npy"


def test_a_small_change_is_not_rounded_away(tmp_path: Path) -> None:
    """As in the model that runs, whose base is in half precision and whose adapter is not."""
    build("llama").bfloat16().save_pretrained(tmp_path / "base")
    adapted(build("llama"), lora(["q_proj"], alpha_pattern={"q_proj": 1e-5})).save_pretrained(tmp_path / "adapter")
    plain = open_checkpoint(tmp_path / "base").projection(0, "q")
    assert plain.dtype == torch.bfloat16
    assert 0 < (open_checkpoint(f"{tmp_path}/base+{tmp_path}/adapter").projection(0, "q") - plain).abs().max() < 1e-4


def renamed(adapter: Path, folder: Path, **config: Any) -> Path:
    """A copy with other entries in its config."""
    shutil.copytree(adapter, folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    return folder


def written(text: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / "adapter_config.json").write_text(text)


def without(part: str) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        path = folder / FILE
        save_file({name: t for name, t in load_file(path).items() if part not in name}, path)

    return change


def pickled(folder: Path) -> None:
    (folder / FILE).unlink()
    torch.save({"a": Path("x")}, folder / "adapter_model.bin")


BROKEN: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "narrower heads": ("llama-gqa-head-dim", lambda _: None, r"q_proj\S* has shape 32, 3, and its place 48, 3"),
    "fewer layers": ("2", lambda _: None, r"layers?\.?.2"),
    "more layers": ("4", lambda _: None, r"layers\.3\.self_attn\.q_proj"),
    "a tensor lost": ("llama", without("layers.1.self_attn.q_proj.lora_B"), r"layers\.1.*q_proj.*is not in its file"),
    "a projection lost": ("llama", without("layers.1.self_attn.q_proj"), r"layers\.1\.self_attn\.q_proj"),
    "no JSON": ("llama", written("{"), r"its adapter_config.json cannot be read \(Expecting"),
    "no kind": ("llama", written('{"r": 3}'), r"its adapter_config.json cannot be read .*peft_type"),
    "no such kind": ("llama", written('{"peft_type": "NONE"}'), r"its adapter_config.json cannot be read \('NONE'\)"),
    "no weights": ("llama", lambda folder: (folder / FILE).unlink(), "config of an adapter, but no adapter_model"),
    "cut off": ("llama", lambda folder: (folder / FILE).write_bytes(b"x"), "is not a readable file of weights"),
    "pickle": ("llama", pickled, "adapter_model.bin: is not a readable file of weights"),
    "no folder": ("llama", shutil.rmtree, "adapter '.*' of model '.*': there is no such folder"),
    "no adapter": ("llama", lambda folder: (folder / "adapter_config.json").unlink(), "holds no adapter_config"),
}  # fmt: skip


@pytest.mark.parametrize("kind", list(BROKEN))
def test_what_does_not_fit_is_refused(kind: str, tmp_path: Path) -> None:
    base, change, complaint = BROKEN[kind]
    hf = build("llama", num_hidden_layers=int(base)) if base.isdigit() else build(base)
    hf.save_pretrained(tmp_path / "base")
    adapted(build("llama"), lora()).save_pretrained(tmp_path / "adapter")
    change(tmp_path / "adapter")
    name = f"{tmp_path / 'base'}+{tmp_path / 'adapter'}"
    with pytest.raises(InputError, match=complaint):
        load_plain(name)
    with pytest.raises(InputError, match=complaint.replace(" is not in its file", "")):
        [open_checkpoint(name).projection(layer, cast("Any", side)) for layer, side in product(range(3), "qkvo")]


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (lambda: peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2), "PROMPT_TUNING puts virtual"),
        (lambda: peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2), "PREFIX_TUNING puts virtual"),
        (lambda: lora(alora_invocation_tokens=[3]), "LORA with alora_invocation_tokens changes with the text"),
        (lambda: peft.VeraConfig(r=2, target_modules=["q_proj"]), "VERA keeps weights that layers share"),
    ],
)  # fmt: skip
def test_kinds_that_are_refused(config: Callable[[], Any], complaint: str, tmp_path: Path) -> None:
    base, adapter = folders(tmp_path, config())
    for act in (load_plain, open_checkpoint):
        with pytest.raises(InputError, match=complaint):
            act(f"{base}+{adapter}")


def test_commands_name_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, adapter = folders(tmp_path, lora())
    refused(capsys, "has two adapters; merge the first", "check", f"{base}+{adapter}", "--adapter", adapter)
    nameless = renamed(adapter, tmp_path / "nameless", base_model_name_or_path=None)
    refused(capsys, "does not say which model it is for: name it in front, as BASE+", "probe", "--model", nameless)
    lost = renamed(adapter, tmp_path / "lost", base_model_name_or_path="/no/where")
    refused(capsys, "is for '/no/where', which is not there: name its base in front", "weights", "--child", lost)
    refused(capsys, "there is no such folder", "evidence", "--model", base, "--adapter", "./nowhere")
    shutil.copytree(base, adapter, dirs_exist_ok=True)
    refused(capsys, "holds an adapter beside full weights", "gate", "--model", adapter, "--save", tmp_path / "new")


def test_without_peft_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, adapter = folders(tmp_path, lora())
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(InputError, match=r"adapters need peft: pip install 'lens-truth\[peft\]'"):
        open_checkpoint(f"{base}+{adapter}")
