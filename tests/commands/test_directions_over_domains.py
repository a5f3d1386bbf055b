"""`directions transfer` and `directions erase`, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import refused, run

from lens_truth.geometry.cosine_result import Cosines
from lens_truth.geometry.erasure_result import Erasure
from lens_truth.geometry.shared_result import SharedDirections
from lens_truth.geometry.transfer_result import Transfer
from lens_truth.page.write import write_report
from lens_truth.scoring.head_probes import HeadProbes
from lens_truth.scoring.scores import HeadScores

pytestmark = [pytest.mark.usefixtures("no_pdfs"), pytest.mark.zoo]

QUICK = ("--limit", "80", "--folds", "3")


def test_transfer(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "transfer"
    code, said, _ = run(
        capsys, "directions", "transfer", *QUICK, "--permutations", "50", "--random", "10", "--out", str(out)
    )
    assert code == 0 and "Probes from domain to domain" in said and "What cosines predict" in said
    found = Transfer.load(out)
    assert found.names == ("zoo:text", "zoo:conflict", "zoo:presence") and found.auroc.shape == (4, 3)
    assert found.auroc[0, 1] > 0.8 and np.isfinite(found.surface).all()
    assert Cosines.load(out).names == found.names
    assert {"transfer.png", "cosines.png"} <= {path.name for path in out.iterdir()}
    page = tmp_path / "page.html"
    write_report([out], out=page)
    assert "Do angles foretell it?" in page.read_text()


def test_fit_tells_of_matched_rows(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, said, _ = run(capsys, "directions", "fit", *QUICK, "--data", "zoo:text", "zoo:conflict", "--out", tmp_path)
    assert code == 0 and "best  accuracy  matched  AUROC" in said and "zoo:text: on matched rows the best head" in said
    maps = json.loads((tmp_path / "result.json").read_text())["results"]["head_scores"]
    scores = HeadScores.from_dict(maps["truth scores of zoo:llama-base on zoo:text"])
    kept = HeadProbes.load(tmp_path / "zoo-text.safetensors").scores
    assert scores.metrics["matched"].shape == (6, 8) and (scores.values == kept.values).all()
    assert scores.provenance["matched"]["of"] == 80


def test_erase_leaves_a_result_and_a_section(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "erase"
    code, said, _ = run(capsys, "directions", "erase", *QUICK, "--controls", "2", "--steps", "2", "--out", str(out))
    assert code == 0 and "Probes after erasure" in said
    found = Erasure.load(out)
    np.testing.assert_allclose(np.diag(found.after[:3]), 0.5)
    assert SharedDirections.load(out).general.shape == (3, 3)
    assert {"erasure.png", "shared.png"} <= {path.name for path in out.iterdir()}
    page = tmp_path / "page.html"
    write_report([out], out=page)
    assert "General and specific directions" in page.read_text()


def test_nothing_to_compare_with_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    given = ("--data", "zoo:text", "zoo:conflict", "--limit", "48", "--out", tmp_path / "out")
    refused(capsys, "0 draws of each control were asked for", "directions", "erase", *given, "--controls", "0")
    refused(capsys, "0 random directions were asked for", "directions", "transfer", *given, "--random", "0")


def test_a_single_domain_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for command in ("transfer", "erase"):
        out = tmp_path / command
        refused(capsys, "at least two", "directions", command, "--data", "zoo:text", *QUICK, "--out", out)
