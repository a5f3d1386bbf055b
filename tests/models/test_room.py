"""A device that is not there, or is too small, is said before anything is loaded; no GPU is needed for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from conftest import build
from safetensors.torch import load_file, save_file

from lens_truth.errors import InputError
from lens_truth.models import loading
from lens_truth.models.loading import load, load_plain
from lens_truth.models.room import bytes_needed, check_device, check_room

FLOATS = torch.randn(64, 8)


def gpus(patch: pytest.MonkeyPatch, n: int, free: int = 10**9, reserved: int = 0) -> None:
    """A machine that seems to have some."""
    patch.setattr(torch.cuda, "is_available", lambda: n > 0)
    patch.setattr(torch.cuda, "device_count", lambda: n)
    patch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 2 * 10**9))
    patch.setattr(torch.cuda, "memory_reserved", lambda device: reserved)
    patch.setattr(torch.cuda, "memory_allocated", lambda device: 0)


def memory(patch: pytest.MonkeyPatch, free: int) -> None:
    patch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    patch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(free=0))


@pytest.mark.parametrize(
    ("n", "name", "complaint"),
    [
        (0, "cuda", "sees no GPU here; --device cpu"),
        (0, "cuda:7", "sees no GPU here"),
        (1, "cuda:7", "the only one is cuda:0"),
        (2, "cuda:2", "sees cuda:0 to cuda:1 here"),
        (0, "gpu", "torch knows none of that name; give cpu, cuda"),
        (0, "cuda:one", "torch knows none of that name"),
        (0, "", "torch knows none of that name"),
        (0, "meta", "cannot be used"),
    ],
)
def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch, n: int, name: str, complaint: str) -> None:
    gpus(monkeypatch, n)
    with pytest.raises(InputError, match=f"device '{name}' cannot be used.*{complaint.replace('cannot be used', '')}"):
        check_device(name)


def test_apples_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match="device 'mps' cannot be used: PyTorch has no such one here"):
        check_device("mps")
    check_device("cpu")


def test_a_device_that_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 1, free=10**9, reserved=5 * 10**8)
    check_room("org/model", 15 * 10**8, "cuda:0")
    with pytest.raises(InputError, match=r"'org/model': its weights need 1\.60 GB, and 'cuda:0' has 1\.50 GB free"):
        check_room("org/model", 16 * 10**8, "cuda:0")
    memory(monkeypatch, 1000)
    with pytest.raises(InputError, match="'cpu' has 0.00 GB free"):
        check_room("org/model", 1001, "cpu")
    check_room("org/model", 10**15, "mps")  # which does not tell


def test_memory_of_a_model_before_this_one_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([10, 20])
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=next(told)))
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(free=0))
    check_room("org/model", 15, "cpu")


@pytest.mark.parametrize("shards", ["5GB", "20KB"])
def test_what_weights_take(tmp_path: Path, shards: str) -> None:
    hf = build("llama-bias-tied")
    hf.save_pretrained(tmp_path, max_shard_size=shards)
    assert (shards == "5GB") == (tmp_path / "model.safetensors").is_file()
    n = sum(weight.numel() for weight in hf.parameters())
    assert bytes_needed(tmp_path, None, quantised=False) == bytes_needed(tmp_path, torch.float32, quantised=False)
    assert bytes_needed(tmp_path, torch.float32, quantised=False) == 4 * n
    assert bytes_needed(tmp_path, torch.bfloat16, quantised=False) == 2 * n
    assert bytes_needed(tmp_path, torch.bfloat16, quantised=True) == 4 * n  # as they are stored


def test_what_is_not_loaded_takes_nothing(tmp_path: Path) -> None:
    save_file({"thinker.a": FLOATS, "talker.b": FLOATS.clone()}, tmp_path / "model.safetensors")
    assert bytes_needed(tmp_path, None, quantised=False) == FLOATS.nbytes
    assert bytes_needed(tmp_path / "none", None, quantised=False) == 0


def test_files_without_a_head_count_as_they_are(tmp_path: Path) -> None:
    build("llama").save_pretrained(tmp_path)
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    size = (tmp_path / "pytorch_model.bin").stat().st_size
    assert bytes_needed(tmp_path, torch.bfloat16, quantised=False) == size


def test_nothing_is_loaded_where_there_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hf = build("llama")
    hf.save_pretrained(tmp_path)
    n = sum(weight.numel() for weight in hf.parameters())
    memory(monkeypatch, 2 * n)
    assert next(load_plain(str(tmp_path), dtype="bfloat16").parameters()).dtype == torch.bfloat16
    untouched: Callable[..., None] = lambda *args, **more: pytest.fail("was loaded")  # noqa: E731
    monkeypatch.setattr(loading, "load_whole", untouched)
    with pytest.raises(InputError, match="its weights need 0.00 GB, and 'cpu' has 0.00 GB free: bfloat16 takes half"):
        load(tmp_path)
