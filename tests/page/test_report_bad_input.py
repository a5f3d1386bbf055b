"""What is wrong with a run is named in the report, and the rest is shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reports
from report_pages import Elements, damaged, drop, put, reported, viewed
from reports import BASE, OTHER

from lens_truth.io.runs import write_record
from lens_truth.page import write
from lens_truth.page.blocks import Text
from lens_truth.page.reading import read_runs
from lens_truth.page.sections import view_of

Make = Callable[..., Path]


def truncated(folder: Path) -> Path:
    (folder / "result.json").write_text('{"command": "pro')
    return folder


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda path: path / "nowhere", "nowhere: there is no such file or folder"),
        (lambda path: path, "has no result.json, so no run of lens_truth has finished there"),
        (
            lambda path: truncated(reports.probe_run(path / "bad", reports.scores())),
            "bad: result.json, line 1: is not JSON",
        ),
        (
            lambda path: damaged(reports.probe_run(path / "bad", reports.scores()), lambda r: r.pop("results")),
            "bad: result.json: has no results, so it is not the record of a run",
        ),
        (
            lambda path: damaged(reports.probe_run(path / "bad", reports.scores()), lambda r: r.update(results=[1])),
            "bad: result.json, line 1, column 139: results is not an object",
        ),
        (
            lambda path: damaged(reports.probe_run(path / "bad", reports.scores()), lambda r: r.update(command=3)),
            "bad: result.json, line 1, column 83: command is not text",
        ),
        (
            lambda path: damaged(reports.probe_run(path / "bad", reports.scores()), drop("format")),
            "bad: result.json: was written by a lens_truth before format 2; run `probe` again",
        ),
        (
            lambda path: damaged(reports.probe_run(path / "bad", reports.scores()), put(3, "format")),
            "column 12: format is 3, and lens_truth 0.1.0 reads format 2",
        ),
    ],
)
def test_a_run_that_cannot_be_read_is_named_and_left_out(
    tmp_path: Path, spoil: Callable[[Path], Path], complaint: str
) -> None:
    good = reports.probe_run(tmp_path / "good", reports.scores())
    (tmp_path / "made").mkdir()
    text, warned = reported(tmp_path / "r.html", good, spoil(tmp_path / "made"))
    assert len(warned) == 1 and complaint in warned[0]
    assert "truth scores" in text and "Report on 1 run<" in text
    assert complaint.split(": ", 1)[-1].replace("`probe`", "<code>probe</code>") in text


_TITLE = "truth scores of org/base on zoo:text"


@pytest.mark.parametrize(
    ("make", "change", "complaint", "kept"),
    [
        (reports.probe_run, drop("results", "head_scores"), "", "missing: no run holds scores of heads"),
        (reports.probe_run, put([1], "versions"), "versions cannot be read", "truth scores"),
        (reports.probe_run, put("long", "seconds"), "seconds cannot be read", "truth scores"),
        (reports.probe_run, put("much", "warnings"), "warnings cannot be read", "truth scores"),
        (reports.probe_run, put("dance", "command"), "'dance', which is not known here", "truth scores"),
        (reports.probe_run, put([1], "results", "head_scores"), "head_scores is not an object", "Provenance"),
        (
            reports.probe_run,
            put([[1.0], [2.0, 3.0]], "results", "head_scores", _TITLE, "values"),
            "values is not an array of numbers (is [1.0], not a number); this map is left out",
            "Provenance",
        ),
        (
            reports.probe_run,
            put([[None, None]], "results", "head_scores", _TITLE, "values"),
            "does not fit (the score of layer 0, head 0 is nan, not a number); this map is left out",
            "Provenance",
        ),
        *(
            (
                reports.inherit_run,
                put(huge, "results", "head_scores", "truth scores of model-1", "values", 0, 0),
                f"truth scores of model-1.values is not an array of numbers (is {str(huge)[:37]}",
                "causal scores",
            )
            for huge in (1e308, -1e308, 10**400)
        ),
        (
            reports.probe_run,
            put([[0.5] * 4], "results", "head_scores", _TITLE, "metrics", "ci_low"),
            "does not fit (metric 'ci_low' has shape (1, 4), the scores (3, 4)); this map is left out",
            "Provenance",
        ),
        (
            reports.ablate_run,
            put("good", "results", "ablation", "rows", 3, "accuracy"),
            "results.ablation.rows[3].accuracy is 'good', not a number",
            "causal scores",
        ),
        (
            reports.ablate_run,
            put(float("nan"), "results", "ablation", "rows", 0, "ci_low"),
            "rows[0].ci_low is nan, not a number",
            "causal scores",
        ),
        (
            reports.ablate_run,
            put(10**400, "results", "ablation", "rows", 0, "n"),
            "rows[0].n is 1000",
            "causal scores",
        ),
        (
            reports.ablate_run,
            drop("results", "ablation", "search"),
            "results.ablation has no 'search'",
            "causal scores",
        ),
        (reports.ablate_run, put([], "results", "ablation", "side_effects"), "", "measured no side effects"),
        (
            reports.inherit_run,
            put(["a", "b"], "results", "heritability", "causal", "names"),
            "heritability.causal does not fit (its parts are not all of the 2 models that it names)",
            "truth scores",
        ),
        (
            reports.inherit_run,
            put([[1.0, 2.0]], "results", "heritability", "truth", "correlations", "pearson"),
            "heritability.truth.correlations.pearson is an array of shape (1, 2), which is not the shape of m m",
            "truth scores",
        ),
        (
            reports.inherit_run,
            put(["a", "b", "c"], "results", "heritability", "truth", "verdicts"),
            "heritability.truth.verdicts is a field that this version of lens_truth does not know",
            "truth scores",
        ),
        (reports.inherit_run, drop("results", "verdicts"), "", "above what shuffled heads give"),
        (
            reports.weights_run,
            drop("results", "weight_similarity", "org/child", "ov"),
            "results.weight_similarity.org/child has no 'ov'",
            "truth scores",
        ),
        (
            reports.weights_run,
            drop("results", "preservation", "org/child", "top", "q"),
            "score, top and p_holm are not of the same measures",
            "truth scores",
        ),
        (
            reports.weights_run,
            drop("results", "preservation"),
            "",
            "org/child was not related to scores",
        ),
        (
            reports.evidence_run,
            put(0.5, "results", "evidence", "measures", "lookback", "n_examples"),
            "results.evidence.measures.lookback.n_examples is 0.5, not a whole number",
            "truth scores",
        ),
        (
            reports.evidence_run,
            drop("results", "relations", "truth", "top"),
            "truth has no 'top'",
            "lookback",
        ),
        (reports.evidence_run, put({}, "results", "relations"), "", "had no scores to relate attention to"),
    ],
)
def test_a_damaged_part_is_named_and_the_rest_is_shown(
    tmp_path: Path, unchecked: None, make: Make, change: Callable[[dict[str, Any]], object], complaint: str, kept: str
) -> None:
    arguments = (reports.scores(),) if make is reports.probe_run else ()
    folder = damaged(make(tmp_path / "run", *arguments), change)
    text, warned = reported(tmp_path / "r.html", folder)
    plain = text.replace("&#39;", "'")
    if complaint:
        assert len([sentence for sentence in warned if complaint in sentence]) >= 1, warned
        assert complaint in plain
    else:
        assert not warned
    assert kept in plain


def places(value: Any, *before: str | int) -> Iterator[tuple[str | int, ...]]:
    """Where there is anything in nested JSON."""
    yield before
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in inside:
        yield from places(member, *before, name)


@pytest.mark.parametrize("make", [reports.evidence_run, reports.inherit_run, reports.weights_run, reports.ablate_run])
def test_whatever_is_damaged_a_page_is_made(tmp_path: Path, make: Make) -> None:
    folder = make(tmp_path / "run")
    odd = [None, "x", -1, 0.5, [], {}, True, [[]], [None], {"a": 1}, float("nan"), 10**400, 1e308, "`", [0.1, 0.2]]
    rng = np.random.default_rng(0)
    for file in folder.iterdir():
        whole = file.read_text()
        deep = {n: [at for at in places(json.loads(whole)) if len(at) == n] for n in range(1, 7)}
        for _ in range(30):
            some = deep[int(rng.choice([n for n, there in deep.items() if there]))]
            place, value = some[rng.integers(len(some))], odd[rng.integers(len(odd))]
            damaged(folder, put(value, *place), file.name)
            runs, problems = read_runs([folder])
            assert runs or problems
            if runs:
                shown = write.rendered(view_of(runs, problems))
                json.loads(Elements(shown).scripts[0])
            file.write_text(whole)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (drop("weights"), "attention.json has no 'weights'"),
        (put(99, "rows", 0, "query"), "rows[0].query is not a whole number from 0 to 8"),
        (put([[5, 2]], "rows", 0, "evidence"), "rows[0].evidence[0] is [5, 2], which is no span of 9 tokens"),
        (put([[0, 10]], "rows", 0, "evidence"), "rows[0].evidence[0] is [0, 10], which is no span of 9 tokens"),
        (put([[3, 1001]], "rows", 0, "heads", "1.2"), "heads.1.2 holds [3, 1001]"),
        (put([[99, 1]], "rows", 0, "heads", "1.2"), "heads.1.2 holds [99, 1]"),
        (put([["a", 1]], "rows", 0, "heads", "1.2"), "does not hold [token, thousandths]"),
        (put([], "rows", 0, "heads", "first"), "names 'first', which is not layer.head"),
        (put("yes", "rows", 0, "label"), "rows[0].label is 'yes', not a whole number"),
        (put(2, "rows", 0, "label"), "rows[0].label is not a whole number from 0 to 1"),
        (put(None, "threshold"), "attention.json.threshold is not a number"),
        (put(1, "rows", 0, "mood"), "rows[0].mood is a field that this version of lens_truth does not know"),
    ],
)
def test_damaged_attention_is_named_and_not_shown(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    folder = damaged(reports.evidence_run(tmp_path / "evidence"), change, "attention.json")
    text, (warned,) = reported(tmp_path / "r.html", folder)
    assert complaint in warned and "so what its heads look at cannot be shown" in warned
    assert "scene-0" not in text and "truth scores" in text


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (put("https://example.org/x.png", "src"), "src is not a picture inside the file"),
        (put("data:image/svg+xml;base64,AAAA", "src"), "src is not a picture inside the file"),
        (put('data:image/png;base64,AAAA" onload="x', "src"), "src is not a picture inside the file"),
        (put([[0, 0, 1, 1]], "boxes"), "has 1 boxes for 4 image tokens"),
        (put([1, 99], "span"), "image.boxes has 4 boxes for 98 image tokens"),
        (put([[0, 0, 1, None]], "evidence"), "rows[1].image.evidence[0] is not a box of four numbers"),
        (put(0, "width"), "rows[1].image.width is not a number of pixels"),
        (put([[0, 0, 1]], "evidence"), "rows[1].image.evidence[0] has 3 items, not 4"),
    ],
)
def test_pictures_come_from_inside_the_file(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    folder = reports.evidence_run(tmp_path / "evidence", image=True)
    damaged(folder, lambda record: change(record["rows"][1]["image"]), "attention.json")
    _, (warned,) = reported(tmp_path / "r.html", folder)
    assert complaint in warned


def test_missing_attention_is_named(tmp_path: Path) -> None:
    folder = reports.evidence_run(tmp_path / "evidence")
    (folder / "attention.json").unlink()
    text, (warned,) = reported(tmp_path / "r.html", folder)
    assert warned == "evidence: has no attention.json, so what its heads look at cannot be shown"
    assert "No attention: no run holds any" in text


def test_attention_is_shown_for_the_weights_it_was_read_from_only(tmp_path: Path) -> None:
    looked = reports.evidence_run(tmp_path / "evidence")
    other = reports.probe_run(tmp_path / "probe", reports.scores(weights=OTHER, model="org/x"))
    view = viewed(looked, other)
    text, _ = reported(tmp_path / "r.html", looked, other)
    assert "Attention on 2 examples from run evidence." in text
    assert f"what there is was read from other weights, those of org/base ({BASE[:8]})" in text
    assert [row["weights"] for row in view.rows] == [BASE, BASE]


def test_runs_of_different_models_and_versions_are_named(tmp_path: Path) -> None:
    one = reports.probe_run(tmp_path / "one", reports.scores())
    two = reports.ablate_run(tmp_path / "two", model="org/x", weights=OTHER, version="0.2.0")
    three = reports.probe_run(tmp_path / "three", reports.scores(seed=1))
    text, warned = reported(tmp_path / "r.html", one, two, three)
    assert warned == [
        f"the runs are not of one model (org/base ({BASE[:8]}): one, three; org/x ({OTHER[:8]}): two)",
        "the runs were made by different versions of lens_truth (0.1.0: one, three; 0.2.0: two)",
    ]
    assert all(sentence in text for sentence in warned)
    assert not reported(tmp_path / "r.html", one, three)[1]


def test_one_name_for_two_weights_is_named(tmp_path: Path) -> None:
    one = reports.probe_run(tmp_path / "one", reports.scores())
    two = reports.probe_run(tmp_path / "two", reports.scores(weights=OTHER))
    _, warned = reported(tmp_path / "r.html", one, two)
    assert f"'org/base' stands for different weights: {BASE} in one, {OTHER} in two" in warned
    assert [model.name for model in viewed(one, two).models] == [f"org/base ({BASE})", f"org/base ({OTHER})"]


def test_hashes_of_an_earlier_build_are_not_compared_with_those_of_now(tmp_path: Path) -> None:
    """Of which nothing follows, so the name counts."""
    now = f"2-{OTHER}"
    one = reports.probe_run(tmp_path / "one", reports.scores())
    two = reports.probe_run(tmp_path / "two", reports.scores(weights=now))
    _, warned = reported(tmp_path / "r.html", one, two)
    assert warned == [
        "'org/base': whether its weights are the same is not known, since earlier builds hashed them otherwise "
        f"({BASE} in one, {now} in two); run again what has no '2-'"
    ]


def test_a_run_of_a_lineage_shares_a_model_with_a_run_of_one(tmp_path: Path) -> None:
    lineage = reports.inherit_run(tmp_path / "inherit")
    probe = reports.probe_run(tmp_path / "probe", reports.scores(model="zoo:model-1", weights=f"{1:016x}"))
    assert not reported(tmp_path / "r.html", lineage, probe)[1]


def test_what_a_script_saved_is_shown_without_complaints(tmp_path: Path) -> None:
    """It has results and a command, no flags, hashes, time, nor scores and attention beside them."""
    folders = [reports.evidence_run(tmp_path / "evidence"), reports.inherit_run(tmp_path / "inherit")]
    for folder in folders:
        record = json.loads((folder / "result.json").read_text())
        del record["results"]["head_scores"]
        write_record(folder, {"command": record["command"], "results": record["results"]})
    (folders[0] / "attention.json").unlink()
    text, warned = reported(tmp_path / "r.html", *folders)
    assert not warned and "No command line: a script called the library." in text
    assert "All runs could be read whole." in text and "Every pair" in text


def test_every_section_says_what_is_missing(tmp_path: Path) -> None:
    view = viewed(reports.write_run(tmp_path / "audit", "audit", {}))
    missing = {one.id: one.blocks[0].text for one in view.sections if isinstance(one.blocks[0], Text)}
    for id, command in {
        "heads": "probe",
        "evidence": "evidence",
        "lineage": "inherit",
        "weights": "weights",
        "ablation": "ablate",
        "side-effects": "ablate",
        "search": "ablate",
        "benchmarks": "evaluate",
    }.items():
        assert missing[id].startswith("missing: no ") and f"`python -m lens_truth.{command}" in missing[id]
