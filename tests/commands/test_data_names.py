"""`--data` takes the same names in every command, and its help says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import build, run

from lens_truth.data.examples import Example, write_examples

COMMANDS = (
    "probe",
    "audit",
    "evidence",
    "inherit",
    "weights",
    "ablate",
    "gate",
    "evaluate judge",
    "evaluate choose",
    "evaluate halueval",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_exchanged_answers(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, said, _ = run(capsys, *command.split(), "--help")
    assert code == 0 and "conflict:FILE" in " ".join(said.replace("│", " ").split())


@pytest.fixture(scope="module")
def model(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With room for the longest prompt, HaluEval's."""
    folder = tmp_path_factory.mktemp("model")
    build("qwen2", len(tokenizer), max_position_embeddings=512).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.usefixtures("no_pdfs")
@pytest.mark.parametrize("command", COMMANDS)
def test_exchanged_answers_are_taken(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path, command: str
) -> None:
    """Sixty questions about years, in thirty pairs."""
    rows = [
        Example(f"{n}", f"{n}", f"When was house {n} made?", f"{1850 + n}", 1, f"House {n} was made in {1850 + n}.")
        for n in range(60)
    ]
    write_examples(tmp_path / "rows.jsonl", rows)
    name, out = f"conflict:{tmp_path / 'rows.jsonl'}", tmp_path / "out"
    flags: dict[str, tuple[str | Path, ...]] = {
        "audit": (name,),
        "inherit": (model, f"again={model}", "--data", name, "--scores", "truth"),
        "weights": ("--base", model, "--child", model, "--data", name),
        "gate": ("--model", model, "--data", name, "--scores", "truth", "--lam", "0.5", "--save", out),
        "ablate": ("--model", model, "--data", name, "--scores", "truth", "--trials", "1", "--questions", "8"),
        "probe": ("--model", model, "--data", name, "--permutations", "0"),
    }
    given = flags.get(command, ("--model", model, "--data", name))
    code, _, err = run(capsys, *command.split(), *given, *(() if command == "gate" else ("--out", out)))
    assert code == 0, err
    if command == "gate":
        assert (out / "config.json").is_file()
    else:
        assert "conflict:" in (out / "result.json").read_text()
