"""`lens-truth heads`: what it writes, every flag, every bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import refused, run

from lens_truth.page.write import write_report
from lens_truth.scoring.list_result import ListAgreement

pytestmark = pytest.mark.usefixtures("no_pdfs")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A list that stands for high scores, one for none, one by name in an object, and two files of scores."""
    rng = np.random.default_rng(0)
    truth = rng.random((10, 8))
    np.save(tmp_path / "truth.npy", truth)
    np.save(tmp_path / "causal.npy", rng.normal(size=(10, 8)))
    best = [[layer, int(head)] for layer in range(10) for head in np.argsort(-truth[layer])[:2]]
    (tmp_path / "best.json").write_text(json.dumps(best))
    (tmp_path / "some.txt").write_text("".join(f"{layer}-0\n" for layer in range(10)))
    (tmp_path / "adhh.json").write_text(json.dumps({"hal_heads": [[1, 2], [3, 4]], "non_hal_heads": [[5, 6]]}))
    return tmp_path


def test_lists_against_files_of_scores(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    out = files / "heads"
    lists = (files / "best.json", f"few={files / 'some.txt'}", f"{files / 'adhh.json'}#non_hal_heads")
    scores = ("--scores", files / "truth.npy", f"patching={files / 'causal.npy'}")
    code, said, _ = run(capsys, "heads", *lists, *scores, "--permutations", "999", "--out", out)
    assert code == 0 and {path.name for path in out.iterdir()} == {"result.json", "lists.png", "lists.pdf"}
    found = ListAgreement.load(out)
    assert list(found.lists) == ["best", "few", "non_hal_heads"] and found.lists["non_hal_heads"] == ((5, 6),)
    assert [list(its) for its in found.against.values()] == [["truth", "patching"]] * 3
    assert found.against["best"]["truth"].auroc == 1 and found.p_holm["best"]["truth"] < 0.01
    assert "best: its heads have higher truth scores than the others of their layers" in said
    assert "say it with --kv-heads" in said  # which is not known
    for sentence in found.verdicts():
        assert sentence in said
    assert json.loads((out / "result.json").read_text())["config"]["data"] == ""  # of a model's heads there are none
    text = write_report([out], out=files / "page.html").read_text()
    assert "Known lists of heads" in text and "Heads that two lists share" in text


def test_flags(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    common = ("heads", files / "best.json", "--scores", files / "truth.npy", "--permutations", "99")
    found: dict[str, ListAgreement] = {}
    for name, more in {"": (), "top": ("--top", "3"), "kv": ("--kv-heads", "4"), "seed": ("--seed", "5")}.items():
        code, said, _ = run(capsys, *common, *more, "--out", files / f"out{name}")
        assert code == 0 and ("--kv-heads" in said) == (name != "kv")
        found[name] = ListAgreement.load(files / f"out{name}")
    assert len(found["top"].lists["best"]) == 3 and found["kv"].n_kv_heads == 4
    plain = found[""].against["best"]["truth"]
    assert plain.null != found["kv"].against["best"]["truth"].null
    assert plain.interval == plain.interval and found["seed"] != found[""]
    again = files / "outagain"
    assert run(capsys, *common, "--out", again)[0] == 0 and ListAgreement.load(again) == found[""]


def test_without_lists_the_best_quarter_by_each_score(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    code, _, _ = run(capsys, "heads", "--scores", files / "truth.npy", files / "causal.npy", "--out", files / "out")
    found = ListAgreement.load(files / "out")
    assert code == 0 and [len(its) for its in found.lists.values()] == [20, 20]
    assert list(found.against["best by truth"]) == ["causal"] and list(found.relations["best by truth"]) == ["causal"]


@pytest.mark.zoo
def test_a_model_is_scored(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("4-0\n4-1\n5-2\n")
    how = ("--model", "zoo:llama-base", "--data", "zoo:text", "--limit", "24", "--probe-seeds", "1")
    out = tmp_path / "out"
    code, said, _ = run(capsys, "heads", tmp_path / "mine.txt", *how, "--kinds", "truth", "--out", out)
    assert code == 0 and "scoring zoo:llama-base on zoo:text" in said
    assert (out / "scores" / "zoo-llama-base-truth.safetensors").exists()
    found = ListAgreement.load(out)
    assert (found.n_layers, found.n_heads, found.n_kv_heads) == (6, 8, 8) and list(found.against["mine"]) == ["truth"]
    record = json.loads((out / "result.json").read_text())
    assert list(record["results"]["head_scores"]) == ["truth scores truth"] and record["hashes"]["truth"]


def test_bad_input(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    best, truth, out = files / "best.json", files / "truth.npy", ("--out", files / "out")
    for flag, value, complaint in [
        ("--permutations", "0", "0 permutations were asked for; at least 1 is needed"),
        ("--top", "0", "--top is 0; it must be at least 1"),
        ("--kv-heads", "0", "--kv-heads is 0; it must be at least 1"),
        ("--kv-heads", "3", "3 KV heads were named for 8 heads"),
        ("--top", "99", "the first 99 heads were asked for of a list of 20"),
    ]:
        refused(capsys, complaint, "heads", best, "--scores", truth, flag, value, *out)
    refused(capsys, "there is no such file", "heads", files / "gone.txt", "--scores", truth, *out)
    refused(capsys, "there is no such file", "heads", best, "--scores", files / "gone.npy", *out)
    refused(capsys, "there is nothing to compare", "heads", "--scores", truth, *out)
    refused(capsys, "no list of heads called 'x'", "heads", f"{files / 'adhh.json'}#x", "--scores", truth, *out)
    refused(capsys, "truth was cut from the only scores there are", "heads", truth, "--scores", truth, *out)
    for flag, value in [("--data", "zoo:text"), ("--kinds", "truth"), ("--limit", "5")]:
        said = f"{flag} goes with --model: of files nothing is scored"
        refused(capsys, said, "heads", best, "--scores", truth, flag, value, *out)
    (files / "deep.txt").write_text("30-1")
    refused(
        capsys, "list 'deep': layer 30, head 1 is on the list", "heads", files / "deep.txt", "--scores", truth, *out
    )
    refused(capsys, "two inputs are called 'best'", "heads", best, f"best={best}", "--scores", truth, *out)
