"""`NAME@REVISION`: from a hub's cache, without a network."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import refused, run

from lens_truth.commands.directions_series import _places  # pyright: ignore[reportPrivateUsage]
from lens_truth.errors import InputError
from lens_truth.geometry.series_result import Series
from lens_truth.models.checkpoint import open_checkpoint
from lens_truth.models.loading import load
from lens_truth.models.names import ZOO, model_source
from lens_truth.models.revisions import revision_of, snapshot

STEPS = {100: "llama-seed1", 200: "llama-seed2", 300: "llama-base", 400: "llama-memory"}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of four revisions of one model, as huggingface_hub lays it out."""
    repo = tmp_path / "hub" / "models--org--tiny"
    (repo / "refs").mkdir(parents=True)
    for step, name in STEPS.items():
        commit = f"{step:040x}"
        (repo / "refs" / f"stage1-step{step}-tokens{9 * step}B").write_text(commit)
        shutil.copytree(ZOO / name, repo / "snapshots" / commit)
    (repo / "refs" / "main").write_text(f"{300:040x}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    snapshot.cache_clear()
    return repo


def _name(step: int) -> str:
    return f"org/tiny@stage1-step{step}-tokens{9 * step}B"


def test_what_is_a_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [revision_of(its) for its in ("gpt2@main", "org/name@refs/pr/1", "org/name.v2@step3")] == [
        "main",
        "refs/pr/1",
        "step3",
    ]
    assert [revision_of(its) for its in ("org/name", "facts:text@far", "zoo:a@b", "/a/b@c", "./a@b", "@b")] == [
        None
    ] * 6
    (tmp_path / "mine@2").mkdir()
    monkeypatch.chdir(tmp_path)
    assert revision_of("mine@2") is None


@pytest.mark.zoo
def test_a_revision_is_its_folder(hub: Path) -> None:
    assert Path(model_source(_name(300))) == hub / "snapshots" / f"{300:040x}"
    one, other = load(_name(300)), load("zoo:llama-base")
    ids = torch.tensor([[1, 5, 9]])
    with torch.no_grad():
        assert torch.equal(one(ids), other(ids))
    assert one.tokenizer is not None
    assert open_checkpoint(_name(400)).heads == open_checkpoint("zoo:llama-memory").heads
    assert open_checkpoint("org/tiny").heads == open_checkpoint("zoo:llama-base").heads  # no revision: main


@pytest.mark.zoo
@pytest.mark.usefixtures("hub", "no_pdfs")
def test_a_series_of_revisions(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out, names = tmp_path / "series", [_name(step) for step in STEPS]
    flags = ("--limit", "60", "--draws", "20", "--out", out)
    assert run(capsys, "directions", "series", "--checkpoints", *names, *flags)[0] == 0
    assert Series.load(out).steps == tuple(STEPS)
    backwards = ("--checkpoints", *names[::-1])
    refused(capsys, "out of order", "directions", "series", *backwards, "--out", tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_steps_in_names() -> None:
    names = [f"EleutherAI/pythia-70m@step{step}" for step in (0, 1, 512, 143000)]
    assert [step for step, _ in _places(None, names)] == [0, 1, 512, 143000]
    with pytest.raises(InputError, match="checkpoint 'main' has no step in its name"):
        _places(None, ["EleutherAI/pythia-70m@main", *names])


def test_what_is_not_there(hub: Path) -> None:
    with pytest.raises(InputError, match=r"model 'org/tiny@step7' cannot be found: "):
        model_source("org/tiny@step7")
    shutil.rmtree(hub / "snapshots" / f"{100:040x}")
    (hub / "snapshots" / f"{100:040x}").mkdir()
    with pytest.raises(InputError, match="holds no weights"):
        model_source(_name(100))


def test_a_command_refuses_in_one_sentence(hub: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    refused(
        capsys, "model 'org/none@main' cannot be found", "probe", "--model", "org/none@main", "--out", tmp_path / "no"
    )
    assert not (tmp_path / "no").exists()
