"""`neurons rescore`: what it writes and says, every flag, every bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import refused, run

from lens_truth.neurons.dose_result import DoseCurves
from lens_truth.neurons.neuron_set import NeuronSet
from lens_truth.page.write import write_report

pytestmark = pytest.mark.usefixtures("no_pdfs")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A curve with a slope, a control without, at three doses; alpha 1 is the same."""
    rng = np.random.default_rng(0)
    skill = rng.normal(size=200)
    rows: list[str] = []
    for name, slope in (("mine", 0.5), ("seed_0", 0.0), ("seed_1", 0.0)):
        for alpha in (0.0, 1.0, 2.0):
            noise = 0.2 * rng.normal(size=200) if alpha != 1 else 0
            right = skill + slope * (alpha - 1) + noise > 0
            rows += [
                json.dumps({"run": name, "alpha": alpha, "id": f"q{i}", "mc": bool(x)}) for i, x in enumerate(right)
            ]
    path = tmp_path / "logs" / "log.jsonl"
    path.parent.mkdir()
    path.write_text("\n".join(rows))
    return path


def test_it_writes_what_it_says(capsys: pytest.CaptureFixture[str], log: Path, tmp_path: Path) -> None:
    out, sets = tmp_path / "out", tmp_path / "sets"
    sets.mkdir()
    NeuronSet(np.array([0, 1]), np.array([3, 4]), np.ones(2)).save(sets / "neurons_mine.json")
    flags = ("--value", "mc", "--reference", "1", "--controls", "seed_*", "--sets", sets, "--seed", "1")
    code, said, _ = run(capsys, "neurons", "rescore", "--log", log, *flags, "--out", out)
    assert code == 0
    assert {path.name for path in out.iterdir() if path.suffix in (".json", ".png")} == {"result.json", "curves.png"}
    found = DoseCurves.load(out)
    assert found.curves["mine"].response.slope.clear
    assert not found.curves["seed_0"].response.slope.clear
    assert list(found.sets) == ["mine"]
    assert all(sentence in said for sentence in found.verdicts())
    page = write_report([out], out=tmp_path / "page.html").read_text()
    assert "Dose curves of log.jsonl" in page
    assert "is not known here" not in page


def test_several_logs(capsys: pytest.CaptureFixture[str], log: Path, tmp_path: Path) -> None:
    (tmp_path / "more.jsonl").write_text(log.read_text())
    out = tmp_path / "out"
    flags = ("--value", "mc", "--out", out)
    assert run(capsys, "neurons", "rescore", "--log", log, tmp_path / "more.jsonl", *flags)[0] == 0
    found = DoseCurves.load(out)
    assert list(found.curves)[::3] == ["log/mine", "more/mine"]
    assert ("more/mine", "copied curve") in [(its.curve, its.kind) for its in found.flags]


def test_bad_input(capsys: pytest.CaptureFixture[str], log: Path, tmp_path: Path) -> None:
    rescore = ("neurons", "rescore", "--out", tmp_path / "out", "--log")
    refused(capsys, "no field 'value, metric", *rescore, log)
    refused(capsys, "there is no such file", *rescore, tmp_path / "none.csv")
    refused(capsys, "is a folder without files alpha_NUMBER", *rescore, log.parent)
    refused(capsys, "no curve matches 'x_*'", *rescore, log, "--value", "mc", "--controls", "x_*")
    refused(capsys, "--sets is a folder", *rescore, log, "--value", "mc", "--sets", log)
    refused(capsys, "--log names no file", *rescore)
    refused(capsys, "another log has a curve log/mine", *rescore, log, log, "--value", "mc")
    for wrong in ("nan", "inf", "7"):
        refused(capsys, f"no curve has alpha {wrong}", *rescore, log, "--value", "mc", "--reference", wrong)
    (table := tmp_path / "table.csv").write_text("id,a@0,a@1\nq1,1,0\nq2,0,1\n")
    refused(capsys, "columns NAME@ALPHA hold the outcomes", *rescore, table, "--value", "a@1")
    table.write_text("id,a@0,a@1\nq1,1,0\n")
    refused(capsys, "of items of one group alone", *rescore, table)
    table.write_text("id,a@0,a@1\nq1,1e308,-1e308\nq2,1e308,1\n")
    refused(capsys, "line 2: 'a@0' is '1e308'", *rescore, table)
    assert not (tmp_path / "out" / "result.json").exists()


def test_the_curve_with_the_fewest_groups_is_warned_of(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (few := tmp_path / "few.csv").write_text("id,a@0,a@1\n" + "".join(f"x{n},{n % 2},1\n" for n in range(4)))
    flags = ("--out", tmp_path / "out")
    (many := tmp_path / "many.csv").write_text("id,a@0,a@1\n" + "".join(f"q{n},{n % 2},1\n" for n in range(40)))
    assert "intervals rest on 4 groups" in run(capsys, "neurons", "rescore", "--log", many, few, *flags)[1]
