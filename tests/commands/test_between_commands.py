"""`directions neither`, `tuned`, `relative`, `series`: what they write, and every bad input."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import refused, run

from lens_truth.ablation.indirect_result import Indirect
from lens_truth.data.examples import write_examples
from lens_truth.data.loading import load_examples
from lens_truth.geometry.relative_result import Relative
from lens_truth.geometry.series_result import Series
from lens_truth.geometry.stability_result import Stability
from lens_truth.geometry.tuned_result import Tuned
from lens_truth.models.names import ZOO
from lens_truth.page.write import write_report

pytestmark = [pytest.mark.zoo, pytest.mark.usefixtures("no_pdfs")]


def _written(out: Path) -> set[str]:
    return {path.name for path in out.iterdir() if path.is_file() and path.suffix in (".json", ".png")}


def test_neither(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "neither"
    flags = ("--data", "zoo:text", "--neither", "zoo:presence", "--limit", "120", "--draws", "5")
    code, said, _ = run(capsys, "directions", "neither", *flags, "--out", out)
    assert code == 0
    assert _written(out) == {"result.json", "stability.png"}
    found = Stability.load(out)
    assert (found.n_rows, found.n_neither, found.n_draws) == (120, 120, 5)
    assert found.three_way.surface > 0.5
    assert all(sentence in said for sentence in found.verdicts())
    assert "Where the boundary goes" in write_report([out], out=tmp_path / "page.html").read_text()


def test_labels_of_rows_that_are_neither_are_not_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Nor need they be of two kinds."""
    rows = load_examples("zoo:presence", limit=60)
    found: list[Stability] = []
    for name, labels in (("same", [0] * 60), ("other", [1, 0] * 30)):
        given = [replace(row, label=label) for row, label in zip(rows, labels, strict=True)]
        write_examples(tmp_path / f"{name}.jsonl", given)
        flags = ("--data", "zoo:text", "--neither", tmp_path / f"{name}.jsonl", "--limit", "60", "--draws", "2")
        assert run(capsys, "directions", "neither", *flags, "--out", tmp_path / name)[0] == 0
        found.append(Stability.load(tmp_path / name))
    assert found[0] == found[1]


def test_tuned_and_relative(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "tuned"
    assert run(capsys, "directions", "tuned", "--limit", "60", "--random", "20", "--steer", "--out", out)[0] == 0
    assert _written(out) == {"result.json", "tuned-zoo-llama-chat.png"}
    found = Tuned.load(out, "zoo:llama-chat")
    assert found.names == ("zoo:llama-base", "zoo:llama-chat") == Indirect.load(out, "zoo:llama-chat").names
    page = write_report([out], out=tmp_path / "a.html").read_text()
    assert "Truth directions before and after tuning" in page
    assert "Steering along the other model's directions" in page.replace("&#x27;", "'").replace("&#39;", "'")
    out = tmp_path / "relative"
    flags = ("--limit", "160", "--null", "5", "--anchors", "12")
    assert run(capsys, "directions", "relative", *flags, "--out", out)[0] == 0
    assert _written(out) == {"result.json", "relative-zoo-mistral-base.png"}
    assert Relative.load(out, "zoo:mistral-base").n_anchors == 12
    assert "anchors permuted" in write_report([out], out=tmp_path / "b.html").read_text()


def test_series(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Of four models in the place of checkpoints."""
    steps, out = tmp_path / "steps", tmp_path / "series"
    for step, name in enumerate(("llama-seed1", "llama-seed2", "llama-base", "llama-memory")):
        shutil.copytree(ZOO / name, steps / f"step-{100 * step:06}")
    flags = ("--limit", "120", "--draws", "50", "--out", out)
    code, said, _ = run(capsys, "directions", "series", "--series", steps, *flags)
    assert code == 0
    assert _written(out) == {"result.json", "series.png"}
    found = Series.load(out)
    assert found.steps == (0, 100, 200, 300)
    assert all(sentence in said for sentence in found.verdicts())
    assert "Scores over the training of series" in write_report([out], out=tmp_path / "page.html").read_text()
    named = [str(steps / f"step-{step:06}") for step in (0, 100, 200, 300)]
    assert (
        run(capsys, "directions", "series", "--checkpoints", *named, *flags[:-2], "--out", tmp_path / "again")[0] == 0
    )
    assert Series.load(tmp_path / "again") == found


def test_what_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def no(complaint: str, *arguments: str | Path) -> None:
        refused(capsys, complaint, "directions", *arguments, "--out", tmp_path / "out")

    no("one of the two", "series")
    (tmp_path / "steps" / "step-1").mkdir(parents=True)
    no("holds 0 checkpoints", "series", "--series", tmp_path / "steps")
    base = [str(tmp_path / f"step-{n}") for n in (1, 2, 4, 3)]
    for folder in base:
        shutil.copytree(ZOO / "llama-base", folder)
    no("names 1 checkpoints", "series", "--checkpoints", base[0])
    no("step-3 (step 3) comes after", "series", "--checkpoints", *base)
    no("has no step in its name", "series", "--checkpoints", "zoo:llama-base", *base)
    no("rows that are neither join one", "neither", "--data", "zoo:text", "zoo:conflict")
    no("two models are compared on one", "tuned", "--data", "zoo:text", "zoo:conflict")
    few = ("--data", "zoo:text", "--limit", "48")
    for n in ("0", "-1"):
        no(f"{n} random directions were asked for", "tuned", *few, "--random", n)
        no(f"{n} orders of the anchors were asked for", "relative", *few, "--anchors", "4", "--null", n)
    for n in ("0", "1000"):
        no(f"{n} neighbours were asked for; a row has 1 to 31", "relative", *few, "--anchors", "4", "--neighbours", n)
    assert not (tmp_path / "out" / "result.json").exists()
    no("20 anchors were asked for", "relative", "--limit", "40", "--anchors", "20")
    same = [str(tmp_path / f"step-{n}") for n in (1, 2, 3, 4)]
    no("step-1 and", "series", "--checkpoints", *same, "--limit", "44")
    no("-1 draws were asked for; an interval needs at least 2", "series", "--checkpoints", *same, "--draws", "-1")
