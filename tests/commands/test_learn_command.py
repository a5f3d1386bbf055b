"""`lens-truth learn`: what it writes, what a page shows of it, what it refuses, and that it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import refused, run

from lens_truth.ablation.frontier_result import Frontier
from lens_truth.ablation.learned_result import LearnedGates
from lens_truth.ablation.roles_result import RoleCheck
from lens_truth.data.examples import write_examples
from lens_truth.data.loading import load_examples
from lens_truth.gates.gate import HeadGate
from lens_truth.page.write import write_report
from lens_truth.scoring.learned import Descent

FEW = ("--questions", "16", "--steps", "2", "--starts", "1", "--random", "1")
pytestmark = pytest.mark.zoo


def test_all_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    out, flags = tmp_path / "out", ("learn", *FEW, "--ways", "signed-l1", "--child", "zoo:llama-memory")
    code, said, _ = run(capsys, *flags, "--out", out)
    assert code == 0 and "How many questions" in said and "Effect against heads touched" in said
    figures = {f"{name}.{kind}" for name in ("learned", "roles", "frontier") for kind in ("png", "pdf")}
    logs = {f"zoo-{name}-answers.jsonl" for name in ("llama-memory-chat", "llama-memory")}
    assert {path.name for path in out.iterdir()} == {*figures, *logs, "fits", "gate.safetensors", "result.json"}
    found = LearnedGates.load(out)
    assert list(found.ways) == ["signed l1"] and list(found.children) == ["zoo:llama-memory"]
    assert set(Frontier.load(out).orders) == {"learned", "truth", "causal", "random 0"}
    assert RoleCheck.load(out).starts == 1 and HeadGate.load(out / "gate.safetensors").values.shape == (6, 8)
    page = tmp_path / "page.html"
    write_report([out], out=page)
    assert all(title in page.read_text() for title in ("Learned gates of zoo", "Roles of heads", "Few heads"))
    monkeypatch.setattr(Descent, "run", lambda *_, **__: pytest.fail("fitted again"))
    before = (out / "zoo-llama-memory-answers.jsonl").read_bytes()
    assert run(capsys, *flags, "--parts", "ways", "curve", "--out", out)[0] == 0
    assert LearnedGates.load(out) == found and (out / "zoo-llama-memory-answers.jsonl").read_bytes() == before


def test_a_file_is_split_by_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_examples(tmp_path / "rows.jsonl", load_examples("zoo:conflict", limit=80))
    flags = ("learn", *FEW, "--parts", "ways", "--ways", "sigmoid-l0", "--data", tmp_path / "rows.jsonl")
    code, said, _ = run(capsys, *flags, "--penalty", "1", "0.1", "--out", tmp_path / "out")
    assert code == 0 and "How many questions" not in said
    found = LearnedGates.load(tmp_path / "out")
    assert not found.curve and set(found.ways["sigmoid l0"].tried) == {"1", "0.1"} and found.n_fitted <= 16


def test_too_few_groups_for_probes_are_told_before_gates_are_fitted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = load_examples("zoo:conflict", limit=400)
    few = list(dict.fromkeys(row.group for row in rows))[:6]
    write_examples(tmp_path / "rows.jsonl", [row for row in rows if row.group in few])
    monkeypatch.setattr(Descent, "run", lambda *_, **__: pytest.fail("fitted"))
    flags = ("learn", *FEW, "--data", tmp_path / "rows.jsonl", "--out", tmp_path / "out")
    refused(capsys, "fewer than the 5 folds", *flags)


def test_the_curve_alone_is_of_the_first_way_and_penalty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("learn", *FEW, "--parts", "curve", "--ways", "signed-l1", "signed-l2", "--penalty", "1", "0.1")
    assert run(capsys, *flags, "--out", tmp_path / "out")[0] == 0
    found = LearnedGates.load(tmp_path / "out")
    assert list(found.ways) == ["signed l1"] and found.curve
    assert found.ways["signed l1"].penalty == 1 and not found.ways["signed l1"].tried


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--questions", "15"), "--questions is 15; it must be at least 16"),
        (("--random", "0"), "--random must be at least 1"),
        (("--parts", "roles", "--child", "zoo:llama-memory"), "--child goes with the part ways"),
        (("--data", "zoo:conflict/test"), "name none"),
        (("--child", "zoo:llama-memory-chat"), "two models are called 'zoo:llama-memory-chat'; name each once"),
        (("--steps", "0"), "in 0 steps"),
        (("--starts", "0"), "from 0 starts"),
        (("--penalty", "-1"), "the penalty of a learned gate is -1.0"),
    ],
)
def test_what_it_refuses(
    flags: tuple[str, ...], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(capsys, complaint, "learn", *flags, "--out", tmp_path / "out")
