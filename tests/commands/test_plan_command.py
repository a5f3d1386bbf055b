"""`lens-truth plan`: what it writes, what it says, what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import refused, run

from lens_truth.planning.result import StudyCost


def test_plan_tells_stages_and_what_they_rest_on(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    flags = ("--data", "paper", "--device", "h100", "--devices", "8")
    code, said, _ = run(capsys, "plan", "--model", "70b", *flags, "--out", tmp_path)
    assert code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"result.json"}
    assert "70b: 69 billion weights, 138 GB in bfloat16; 8 x h100, 4 copies each on 2" in said
    for words in (
        "capture",
        "CHAIR (child)",
        "total",
        "memory read, GB",
        "assumed",
        "NVIDIA H100 data sheet",
        "27,000",
    ):
        assert words in said
    assert "lens-truth evaluate pope --model CHILD --gate GATE" in said and "WARNING" in said
    cost = StudyCost.load(tmp_path)
    assert cost.n_devices == 8 and cost.group == 2 and cost.total.hours.low < cost.total.hours.high
    assert json.loads((tmp_path / "result.json").read_text())["warnings"] == list(cost.warnings)


def test_rows_and_tokens_stand_for_data(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, said, _ = run(
        capsys, "plan", "--model", "7b", "--rows", "4000", "--tokens", "300", "--device", "a100", "--out", tmp_path
    )
    assert code == 0 and "4,000 rows in 2,000 questions" in said
    code, said, _ = run(capsys, "plan", "--model", "7b", "--data", "zoo:text", "--tokens", "40", "--out", tmp_path)
    assert code == 0 and "1,200 rows" in said and "--model MODEL --data zoo:text" in said


@pytest.mark.usefixtures("unchecked")
def test_a_users_model_and_rows(capsys: pytest.CaptureFixture[str], tiny_folder: Path, tmp_path: Path) -> None:
    flags = ("--data", "zoo:conflict", "--limit", "50", "--dtype", "bfloat16", "--split", "tensor", "--workers", "1")
    code, said, _ = run(capsys, "plan", "--model", tiny_folder, *flags, "--device", "cpu", "--out", tmp_path)
    assert code == 0 and "50 rows in" in said and "counted by the model's tokenizer" in said
    assert "measured on this machine" in said and "in bfloat16" in said


def test_what_plan_refuses(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    refused(capsys, "there is no device 'tpu' in the table; it has h100", "plan", "--model", "7b", "--data", "paper",
            "--device", "tpu", *out)  # fmt: skip
    refused(capsys, "has no tokenizer", "plan", "--model", "7b", "--data", "zoo:text", *out)
    refused(capsys, "--rows goes with --tokens", "plan", "--model", "7b", "--rows", "5", *out)
    refused(capsys, "--data paper has its own rows", "plan", "--model", "7b", "--data", "paper", "--limit", "5", *out)
    refused(capsys, "--devices is 0", "plan", "--model", "7b", "--data", "paper", "--devices", "0", *out)
    refused(capsys, "there is no data set 'nothing'", "plan", "--model", "7b", "--data", "nothing", *out)
    (tmp_path / "config.json").write_text('{"model_type": "llama", "hidden_size": "wide"}')
    refused(capsys, "tells no shape", "plan", "--model", tmp_path / "config.json", "--data", "paper", *out)
    assert not (tmp_path / "out" / "result.json").exists()


def test_a_shape_needs_no_library_that_takes_long(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from lens_truth.cli import main\n"
        "try:\n"
        f"    main(['plan', '--model', '13b', '--data', 'paper', '--out', {str(tmp_path)!r}])\n"
        "except SystemExit as stop:\n"
        "    assert stop.code == 0\n"
        "assert {'torch', 'transformers', 'sklearn'}.isdisjoint(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
