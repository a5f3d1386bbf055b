"""`python -m lens_truth.evidence`: what it writes, and what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import flat_scores, refused, run

from lens_truth.attention.evidence import Evidence
from lens_truth.attention.measuring import evidence_attention
from lens_truth.data.examples import write_examples
from lens_truth.data.loading import load_examples
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.relations import Relations

pytestmark = pytest.mark.usefixtures("no_pdfs")

CAPTURED = pytest.CaptureFixture[str]


@pytest.mark.zoo
def test_on_words(tmp_path: Path, capsys: CAPTURED, zoo: Callable[[str], Any]) -> None:
    out = tmp_path / "out"
    code, said, err = run(capsys, "evidence", "--limit", "40", "--scores", "truth", "--out", out)
    assert code == 0, err
    result = json.loads((out / "result.json").read_text())
    found = result["results"]
    held = Evidence.load(out)
    assert len(held.ids) == 20 and found["evidence"]["measures"]["retrieval"]["n_examples"] == 20
    model, examples = zoo("llama-base"), [example for example in load_examples("zoo:text", limit=40) if example.label]
    assert held == evidence_attention(model, examples)
    assert Relations.load(out, "truth").as_dict() == found["relations"]["truth"]
    assert list(found["relations"]) == ["truth"]
    relation = found["relations"]["truth"]["score"]["evidence"]
    looked = HeadScores.load(out / "evidence.safetensors")
    (values,) = (np.array(its["values"]) for its in found["head_scores"].values() if its["kind"] == "truth")
    assert relation["pearson"] == pytest.approx(np.corrcoef(values.ravel(), looked.values.ravel())[0, 1])
    assert looked.kind == "evidence" and looked.provenance["weights"] == result["hashes"]["weights"]
    assert f"inside layers {relation['pearson_within_layer']:.2f}" in said
    assert 0 <= found["mean_evidence_hallucinated"] != found["evidence"]["measures"]["evidence"]["mean"]
    written = re.search(f"written to {out}/: (.*) \\(each", said)
    assert written is not None
    for name in (*written[1].split(", "), "heatmaps.pdf"):
        assert (out / name).stat().st_size > 0

    record = json.loads((out / "attention.json").read_text())
    assert record["weights"] == result["hashes"]["weights"] and len(record["rows"]) == 4
    for row in record["rows"]:
        assert row["label"] == 1 and row["query"] == len(row["tokens"]) - 1 and row["image"] is None
        ((start, stop),) = row["evidence"]
        told = "".join(row["tokens"][start:stop])
        assert row["answer"] in told or row["question"].split()[-1].strip("?") in told
        assert len(row["heads"]) == 48
        assert all(at <= row["query"] and 10 <= weight <= 1000 for kept in row["heads"].values() for at, weight in kept)
        assert all(sum(weight for _, weight in kept) <= 1000 + len(kept) for kept in row["heads"].values())


@pytest.mark.zoo
def test_on_pictures_with_scores_from_words(tmp_path: Path, capsys: CAPTURED) -> None:
    scores = tmp_path / "base.npy"
    np.save(scores, np.random.default_rng(0).random((6, 8)))
    code, said, err = run(
        capsys, "evidence", "--model", "zoo:llava", "--limit", "40", "--scores", scores, "--out", tmp_path
    )
    assert code == 0, err
    assert "zoo:image" in said
    found = json.loads((tmp_path / "result.json").read_text())["results"]
    measures = found["evidence"]["measures"]
    assert "retrieval" not in measures and measures["evidence over control"]["n_examples"] == 20
    for row in json.loads((tmp_path / "attention.json").read_text())["rows"]:
        image = row["image"]
        assert image["src"].startswith("data:image/png;base64,") and (image["width"], image["height"]) == (48, 48)
        assert image["span"] == [2, 18] and len(image["boxes"]) == 16
        ((left, top, right, bottom),) = image["evidence"]
        assert (left, right, bottom - top) == (0, 48, 12)


def test_on_own_files_of_supported_answers(tmp_path: Path, capsys: CAPTURED, tiny_folder: Path) -> None:
    examples = [example for example in load_examples("zoo:text", limit=24) if example.label]
    write_examples(tmp_path / "own.jsonl", examples)
    own = ("evidence", "--model", tiny_folder, "--data", tmp_path / "own.jsonl", "--out", tmp_path / "out")
    refused(capsys, "all 12 answers are supported, so no truth scores can be computed on them", *own)
    np.save(tmp_path / "wrong.npy", np.ones((3, 5)))
    refused(capsys, "wrong.npy: holds scores of 3 x 5 heads", *own, "--scores", tmp_path / "wrong.npy")
    scores = flat_scores(tmp_path)
    refused(capsys, "names two sets of scores called truth", *own, "--scores", scores, scores)
    again = scores.rename(tmp_path / "again.npy")
    np.save(scores, np.full((3, 4), 0.5))
    code, said, err = run(capsys, *own, "--scores", scores, again)
    assert code == 0, err
    assert "\ntruth scores against" in said and "\nagain.npy truth scores against" in said
    assert "no correlation over heads is defined" in said  # all heads have the same score
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.zoo
def test_names_what_has_no_evidence(tmp_path: Path, capsys: CAPTURED) -> None:
    rows = [{"question": "Is it?", "answer": word, "label": label} for label, word in ((1, "yes"), (0, "no"))]
    (tmp_path / "bare.jsonl").write_text("\n".join(map(json.dumps, rows)))
    own = ("evidence", "--data", tmp_path / "bare.jsonl", "--scores", "causal", "--out", tmp_path / "out")
    refused(capsys, "none of its 1 supported answers has evidence", *own)
    rows[0] |= {"context": "It is.", "evidence": ["It was."]}
    (tmp_path / "bare.jsonl").write_text("\n".join(map(json.dumps, rows)))
    refused(capsys, "bare.jsonl, line 1: evidence 'It was.' does not occur in the context", *own)
    assert not (tmp_path / "out").exists()


@pytest.mark.zoo
def test_scores_of_another_model_are_named(tmp_path: Path, capsys: CAPTURED) -> None:
    kept = HeadScores(
        np.random.default_rng(0).random((6, 8)), kind="evidence", provenance={"model": "base", "weights": "other"}
    )
    kept.save(tmp_path / "base.safetensors")
    code, said, err = run(
        capsys, "evidence", "--limit", "20", "--scores", tmp_path / "base.safetensors", "--out", tmp_path / "out"
    )
    assert code == 0, err
    assert "the scores are those of base" in said
    found = json.loads((tmp_path / "out" / "result.json").read_text())["results"]
    (name,) = found["relations"]
    assert name == "evidence"
    its, measured = (
        found["head_scores"][found[key][at]] for key, at in (("score_maps", name), ("measure_maps", "evidence"))
    )
    assert its["provenance"]["model"] == "base" and "data" not in its["provenance"]
    assert measured["provenance"]["data"] == "zoo:text"
    header = (tmp_path / "out" / "evidence.csv").read_text().splitlines()[0].split(",")
    assert "evidence" in header and f"{name} scores" in header and len(header) == 2 + 6
