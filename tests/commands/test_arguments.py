"""What flags name is looked at before anything heavy is imported, in every command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import refused

MISSING = {
    "check": ("./nowhere",),
    "check --model": ("--model", "./nowhere"),
    "probe": ("--model", "./nowhere"),
    "gate": ("--model", "./nowhere", "--save", "new"),
    "evaluate": ("judge", "--model", "./nowhere"),
    "ablate": ("--model", "zoo:llama-base", "./nowhere"),
    "evidence": ("--model", "./nowhere"),
    "inherit": ("zoo:llama-base", "mine=./nowhere"),
    "weights": ("--unrelated", "./nowhere"),
    "probe of data": ("--data", "./nowhere.jsonl"),
    "probe of a setting": ("--setting", "A", "--halueval", "./nowhere"),
    "evaluate of data": ("judge", "--data", "halueval:./nowhere.csv"),
    "evaluate pope": ("pope", "--questions", "./nowhere.json"),
    "ablate of data": ("--data", "./nowhere.csv"),
    "evidence of scores": ("--scores", "truth", "./nowhere.npy"),
    "inherit of files": ("one=./nowhere.npy", "other=./nowhere.csv"),
    "weights of scores": ("--base-scores", "./nowhere.safetensors"),
    "gate of scores": ("--scores", "./nowhere.csv"),
    "audit": ("./nowhere.jsonl",),
    "report": ("./nowhere",),
}


@pytest.mark.parametrize("case", list(MISSING))
def test_what_is_not_there_is_named_first(
    case: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(capsys, "nowhere", case.partition(" ")[0], *MISSING[case])
    assert not list(tmp_path.iterdir())


def test_nothing_heavy_is_imported_for_that() -> None:
    code = """
import sys
from lens_truth.cli import main
for arguments in (["probe", "--model", "./nowhere"], ["inherit", "a=./no", "b=zoo:llama-base"], ["check", "zoo:no"]):
    try:
        main(arguments)
    except SystemExit as stop:
        assert stop.code == 2
assert not {"torch", "transformers", "transformer_lens", "numpy", "sklearn", "matplotlib"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
