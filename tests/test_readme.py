"""What the README promises, run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from lens_truth.cli import COMMANDS
from lens_truth.zoo.recipes import RECIPES

README = Path(__file__).parent.parent / "README.md"


def test_python_example_says_what_its_comments_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
    promised = re.findall(r"print\(answer\(\)\) +# (\w+):", code)
    exec(compile(code, str(README), "exec"), {})
    assert capsys.readouterr().out.split() == promised == ["black", "lilac"]
    assert AutoModelForCausalLM.from_pretrained("gated").config.num_hidden_layers == 6


def test_names_every_command_and_model() -> None:
    text = README.read_text()
    assert all(f"lens-truth {name}" in text for name in COMMANDS)
    assert all(f"zoo:{name}" in text for name in RECIPES)
