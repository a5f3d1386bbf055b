"""What a number is kept under changes with everything that decides it, and with nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import run

from lens_truth.models.hashing import weights_hash
from lens_truth.models.loading import load
from lens_truth.models.provenance import setup_hash
from lens_truth.scoring.scores import HeadScores


def edited(folder: Path, file: str, old: str, new: str) -> None:
    text = (folder / file).read_text(encoding="utf-8")
    assert old in text
    (folder / file).write_text(text.replace(old, new), encoding="utf-8")


def rotated(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"]["rope_theta"] = 30.0
    (folder / "config.json").write_text(json.dumps(config))


CHANGES: dict[str, Callable[[Path], object]] = {
    "rotation": rotated,
    "activation": lambda folder: edited(folder, "config.json", '"silu"', '"gelu"'),
    "chat template": lambda folder: (folder / "chat_template.jinja").write_text("{{ messages[0].content }}!"),
    "tokenizer": lambda folder: edited(folder, "tokenizer.json", '"!"', '"?!"'),
}


@pytest.fixture
def mine(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "mine"))


@pytest.mark.parametrize("change", CHANGES)
def test_what_decides_a_number_changes_the_setup(mine: Path, tiny_folder: Path, change: str) -> None:
    before = load(tiny_folder)
    assert setup_hash(load(mine)) == setup_hash(before)  # wherever it lies
    CHANGES[change](mine)
    after = load(mine)
    assert weights_hash(after) == weights_hash(before)
    assert setup_hash(after) != setup_hash(before)


def test_attention_and_precision_belong_to_the_setup(tiny_folder: Path) -> None:
    made = [load(tiny_folder), load(tiny_folder, attn="eager"), load(tiny_folder, dtype="bfloat16")]
    assert len({setup_hash(model) for model in made}) == 3


@pytest.mark.usefixtures("no_pdfs")
@pytest.mark.parametrize("command", ["probe", "inherit"])
def test_no_stale_scores(mine: Path, tiny_folder: Path, tmp_path: Path, capsys: Any, command: str) -> None:
    """Kept activations and scores are those of the folder as it is now."""
    flags = ["--data", "zoo:text", "--limit", "24", "--permutations", "20"]
    models = ["--model", mine]
    if command == "inherit":
        models, flags = [f"a={mine}", f"b={tiny_folder}"], [*flags, "--scores", "truth", "--probe-seeds", "1"]

    def scored(out: Path) -> Any:
        code, _, err = run(capsys, command, *models, *flags, "--out", out)
        assert code == 0, err
        (file,) = out.glob("scores.safetensors" if command == "probe" else "**/*mine-truth.safetensors")
        return HeadScores.load(file).values

    before = scored(tmp_path / "out")
    rotated(mine)
    after, fresh = scored(tmp_path / "out"), scored(tmp_path / "fresh")
    assert (after == fresh).all() and (before != fresh).any()
