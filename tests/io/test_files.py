"""Whole files or none, one run at a time in a folder, and one sentence where the system cannot write."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import flat_scores, killed, refused, run

from lens_truth.commands import audit
from lens_truth.commands.gate import GATE
from lens_truth.errors import InputError
from lens_truth.evaluate.answer_log import AnswerLog
from lens_truth.evaluate.answers import Answer
from lens_truth.io.files import alone_at, alone_in, write_bytes, write_folder_with, write_json
from lens_truth.io.runs import version_of
from lens_truth.plots.style import new_figure, save
from lens_truth.scoring.activations import ActivationWriter, rows_record
from lens_truth.scoring.scores import HeadScores


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# -- what killed runs leave -------------------------------------------------------------------------------------------


def test_only_what_a_killed_run_had_begun_is_removed(tmp_path: Path) -> None:
    def writes() -> None:
        pytest.MonkeyPatch().setattr(Path, "replace", die)
        write_bytes(tmp_path / "map.png", b"half")

    killed(writes)
    (left,) = names(tmp_path)
    assert left.startswith(".map.png.") and left.endswith(".lens-truth")
    alive = f".map.png.{os.getppid()}.lens-truth"
    theirs = {".map.123.png", ".tmpAbC123", ".notes.partial", ".a.b.lens-truth", "map.1.lens-truth", alive}
    for name in theirs:
        (tmp_path / name).write_text("mine")
    with alone_in(tmp_path, tmp_path / "lock"):
        assert names(tmp_path) == {*theirs, "lock"}
    assert names(tmp_path) == theirs


def test_a_folder_has_one_run_at_a_time(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"question": "a", "answer": "b", "label": 1}\n')
    with alone_in(tmp_path / "out", tmp_path / "out" / ".lens-truth.lock"):
        refused(
            capsys,
            "another run of lens_truth writes there now",
            "audit",
            tmp_path / "rows.jsonl",
            "--out",
            tmp_path / "out",
        )
    assert names(tmp_path) == {"rows.jsonl"}


def test_the_lock_of_a_killed_run_holds_nobody_up(tmp_path: Path) -> None:
    def holds() -> None:
        with alone_in(tmp_path, tmp_path / "lock"):
            die()

    killed(holds)
    assert names(tmp_path) == {"lock"}
    with alone_in(tmp_path, tmp_path / "lock"):
        pass
    assert names(tmp_path) == set()


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_folder_is_replaced_whole_whenever_the_kill_comes(tmp_path: Path, renames: int) -> None:
    """It is the old one, the new one, or, between two renames, away until the next run puts it back."""
    folder, rename = tmp_path / "made", Path.rename

    def fill(new: Path) -> None:
        new.mkdir()
        (new / "new").touch()

    def dies(path: Path, to: Path, left: list[int] = [renames]) -> None:  # noqa: B006 (it counts)
        if not left[0]:
            die()
        left[0] -= 1
        rename(path, to)

    def replaces() -> None:
        patch = pytest.MonkeyPatch()
        patch.setattr(Path, "rename", dies)
        patch.setattr(shutil, "rmtree", lambda path, **_: None if not path.exists() else die())
        write_folder_with(folder, fill)

    folder.mkdir()
    (folder / "old").touch()
    killed(replaces)
    with alone_at(folder):
        assert names(folder) == {"new" if renames == 2 else "old"}
    assert names(tmp_path) == {"made"}
    write_folder_with(folder, fill)
    assert names(folder) == {"new"} and names(tmp_path) == {"made"}


# -- a system that cannot write ---------------------------------------------------------------------------------------


@contextmanager
def full_disk(n_bytes: int = 100) -> Iterator[None]:
    """No file can have more bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def log_answers(path: Path, model: Any) -> None:
    with AnswerLog(path, model, "m", "w") as log:
        log.add("k", "b", "i", "g", Answer("word " * 50))


def save_figure(path: Path, model: Any) -> None:
    figure = new_figure(2, 2)
    figure.subplots()
    save(figure, path)


WRITERS: dict[str, Callable[[Path, Any], object]] = {
    "text.json": lambda path, _: write_json(path, ["word"] * 50),
    "scores.safetensors": lambda path, _: HeadScores(np.full((9, 9), 0.5)).save(path),
    "scores.npy": lambda path, _: HeadScores(np.full((9, 9), 0.5)).save(path),
    "figure.png": save_figure,
    "answers.jsonl": log_answers,
    "z.partial.npy": lambda path, _: ActivationWriter(path.parent, (9, 9, 9, 9), rows_record([], [], [], {})),
    "checkpoint": lambda path, model: write_folder_with(path, model.original_model.save_pretrained),
    "tokens": lambda path, model: write_folder_with(path, model.tokenizer.save_pretrained),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(tiny: Any, tmp_path: Path, name: str) -> None:
    with full_disk(), pytest.raises(InputError) as caught:
        WRITERS[name](tmp_path / name, tiny)
    assert str(caught.value) == f"{tmp_path / name}: cannot be written (File too large)"
    assert names(tmp_path) <= {"rows.json", "answers.jsonl"}


def test_a_capture_goes_on_when_there_is_room_again(tmp_path: Path) -> None:
    """Batch by batch: what was counted is there, and no write into a map of memory kills the process."""
    shape, rows = (6, 2, 2, 4), rows_record([0] * 6, ["g"] * 6, ["i"] * 6, {})
    z = torch.arange(6.0 * 16).reshape(shape)
    writer = ActivationWriter(tmp_path, shape, rows)
    writer.write([5, 0], z[[5, 0]])
    with full_disk(), pytest.raises(InputError, match=r"z\.partial\.npy: cannot be written"):
        writer.write([1, 2, 3, 4], z[1:5])
    again = ActivationWriter(tmp_path, shape, rows)
    assert again.rows_done == 2
    again.write([1, 2, 3, 4], z[1:5])
    again.finish()
    assert np.array_equal(np.load(tmp_path / "z.npy"), z.numpy())


@pytest.mark.parametrize("damage", ["", "nonsense", "-1", "true", "[1]", "1.5", "[" * 5000])
def test_a_damaged_count_of_rows_begins_anew(tmp_path: Path, damage: str) -> None:
    rows = rows_record([0] * 6, ["g"] * 6, ["i"] * 6, {})
    ActivationWriter(tmp_path, (6, 2, 2, 4), rows).write([0], torch.ones(1, 2, 2, 4))
    (tmp_path / "progress.json").write_text(damage)
    assert ActivationWriter(tmp_path, (6, 2, 2, 4), rows).rows_done == 0


@pytest.mark.parametrize(("number", "said"), [(errno.ENOSPC, "No space left"), (errno.EROFS, "Read-only file system")])
def test_whatever_cannot_be_written_is_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    def fails(config: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(audit, "run", fails)
    refused(capsys, said, "audit", "--out", tmp_path)


def test_what_is_stopped_says_so_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lens_truth.confounds.audit_result.audit_table", stopped)
    code, _, err = run(capsys, "audit", "zoo:text", "--limit", "20", "--folds", "2", "--out", tmp_path / "out")
    assert code == 130 and err.startswith("interrupted") and err.count("\n") == 1
    assert names(tmp_path) == set()


def test_a_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    assert version_of("numpy") == np.__version__
    monkeypatch.setattr(metadata, "version", missing)
    assert version_of("lens-truth") == "not installed"


# -- places that cannot be written to ---------------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["file", "file/inside", "dangling", "dangling/inside"])
def test_an_output_folder_that_cannot_be_is_refused_before_any_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("dangling").symlink_to("nowhere")
    for command in ("audit", "probe", "ablate", "evidence", "inherit", "weights", "evaluate judge"):
        refused(capsys, f"--out {out}: ", *command.split(), "--out", out)
    refused(capsys, "is not a folder that can be written to", "gate", "--save", "file/inside")
    refused(capsys, "--out file: ", "report", "somewhere", "--out", "file/x.html")


def test_an_output_folder_may_be_a_link(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    flags = ("--limit", "20", "--folds", "2", "--out", tmp_path / "link")
    assert run(capsys, "audit", "zoo:text", *flags)[0] == 0
    assert names(tmp_path / "there") == {"result.json"}


# -- gate --save ------------------------------------------------------------------------------------------------------


@pytest.fixture
def gate(capsys: pytest.CaptureFixture[str], tiny_folder: Path, tmp_path: Path) -> Callable[..., str]:
    """Runs `gate --save` into a place; what it says if it refuses."""
    scores = flat_scores(tmp_path)

    def to(save: str | Path, model: Path = tiny_folder) -> str:
        code, _, err = run(capsys, "gate", "--model", model, "--scores", scores, "--save", save)
        assert (code, err.count("\n")) == ((2, 1) if err else (0, 0))
        return err

    return to


def test_gate_replaces_what_it_wrote_and_nothing_else(
    gate: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated = tmp_path / "gated"
    assert not gate(gated) and not gate(gated)
    assert "is the folder of the model itself" in gate(gated, model=gated)
    (gated / "lens_truth" / "notes.txt").write_text("years of work")
    assert "holds lens_truth/notes.txt, which this command did not write" in gate(gated)
    (gated / "lens_truth" / "notes.txt").unlink()
    monkeypatch.chdir(gated)
    assert "is the folder that you are in" in gate(".")
    assert "is the folder that you are in or one above" in gate("..")
    monkeypatch.chdir("/")
    (tmp_path / "link").symlink_to("gated")
    before = (gated / GATE).stat().st_ino
    assert not gate(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (gated / GATE).stat().st_ino != before
    monkeypatch.setattr(Path, "is_mount", lambda self: self == gated)
    assert "is a mount point, which cannot be replaced" in gate(gated)
    assert names(tmp_path) == {"gated", "link", "good.npy"}
