"""The report shows maps of heads under the model, the data and the name that their run states."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reports
from report_pages import damaged, drop, put, reported, viewed
from reports import BASE, OTHER

from lens_truth.page.blocks import Drawing, Side, Table, Text
from lens_truth.page.drawn import map_data, scatter_data
from lens_truth.page.drawn import scale as scale_of
from lens_truth.page.heads import MEANING, HeadMap, notes, what
from lens_truth.page.view import Scatter, View
from lens_truth.scoring.scores import HeadScores


def test_maps_of_one_model_stand_together(tmp_path: Path) -> None:
    base, more, child = reports.scores(), reports.scores("causal", seed=1), reports.scores(weights=OTHER, model="org/x")
    for name, made in {"one": base, "again": base, "causal": more, "child": child}.items():
        reports.probe_run(tmp_path / name, made)
    view = viewed(*(tmp_path / name for name in ("one", "child", "causal", "again")))
    assert [(model.name, model.weights) for model in view.models] == [("org/base", BASE), ("org/x", OTHER)]
    truth, causal = view.models[0].maps
    assert (truth.kind, truth.runs) == ("truth", ("one", "again"))  # equal maps once
    assert (causal.kind, scale_of(causal), scale_of(truth)) == ("causal", "zero", "range")
    np.testing.assert_allclose(truth.scores.values, base.values, rtol=1e-4)
    i, j = base.best()
    assert f"highest: layer {i} head {j} ({base.values.max():.3f})" in notes(truth)[1]


def test_maps_of_other_shapes_or_without_weights_stand_apart(tmp_path: Path) -> None:
    cropped = reports.scores(shape=(2, 4))  # of the same weights, on a shared grid
    files = [HeadScores(reports.scores(seed=i).values, provenance={"file_hash": str(i)}) for i in (1, 2)]
    maps = {"truth scores of a": cropped, "truth scores of b": files[0], "truth scores of c": files[1]}
    named = {title: made.as_dict() for title, made in maps.items()}
    reports.write_run(tmp_path / "x", "inherit", {"head_scores": named})
    view = viewed(reports.probe_run(tmp_path / "probe", reports.scores()), tmp_path / "x")
    assert [model.maps[0].scores.values.shape for model in view.models] == [(3, 4), (2, 4), (3, 4), (3, 4)]
    assert [model.name for model in view.models] == [f"org/base ({BASE})"] * 2 + ["b", "c"]


@pytest.mark.parametrize(
    ("kind", "values", "scale"),
    [
        ("causal", [[-1.0, 2.0]], "zero"),
        ("causal", [[1.0, 2.0]], "range"),
        ("evidence", [[0.0, 2.0]], "one"),
        ("evidence over control", [[-0.5, 2.0]], "zero"),
        ("retrieval", [[0.0, 0.5]], "range"),
    ],
)
def test_scale_of_colours(kind: str, values: list[list[float]], scale: str) -> None:
    assert scale_of(HeadMap(HeadScores(np.array(values), kind), ())) == scale


def test_surface_baseline_and_significance_are_told_with_the_map(tmp_path: Path) -> None:
    made = reports.scores(surface_accuracy=0.975)
    folder = reports.probe_run(tmp_path / "probe", made, warnings=["SURFACE CONFOUND: x"])
    text, _ = reported(tmp_path / "r.html", folder)
    assert "surface baseline (the answer&#39;s length and last character alone): 0.975" in text
    above = int((made.metrics["p_familywise"] < 0.05).sum())
    assert f"{above} head{'s' if above != 1 else ''} of 12 above chance" in text
    assert text.index("<h2") < text.index("SURFACE CONFOUND") < text.index('id="heads"')


def test_matched_rows_and_what_heads_add_are_told_with_the_map(tmp_path: Path) -> None:
    made = reports.scores(matched={"said": "matched on length: 40 of 120 rows"})
    twin = made.values - 0.25
    made = replace(made, metrics={**made.metrics, "matched": twin})
    text, _ = reported(tmp_path / "r.html", reports.probe_run(tmp_path / "probe", made))
    at = made.best()
    said = f"on matched rows the best head, {at[0]}.{at[1]}, goes from {made.values[at]:.3f} to {twin[at]:.3f}"
    assert said in text and "matched on length: 40 of 120 rows" in text
    surface = {"name": "last", "what": "last character", "accuracy": 0.75}
    ends = {"above_low": np.array([[-0.1, 0.1]]), "ci_low": np.array([[-0.2, -0.1]])}
    told = HeadScores(np.array([[0.0, 0.1]]), "residual", ends, provenance={"model": "m", "best_surface": surface})
    sentences = notes(HeadMap(told, ()))
    assert sentences[0] == MEANING["residual"] and what(HeadMap(told, ())) == "residual scores"
    assert "1 of 2 heads is above the best surface classifier (last character, 0.750); 0 add to it" in sentences


def drawings(view: View) -> list[Drawing]:
    """Of heads."""
    sides = [block for block in view.sections[0].blocks if isinstance(block, Side)]
    return [one for side in sides for one in side.blocks if isinstance(one, Drawing)]


def test_data_are_those_that_the_scores_state(tmp_path: Path) -> None:
    """Not what a title seems to say: a model's name may hold anything."""
    made = reports.scores(model="org/base on a diet", data="a.jsonl")
    silent = reports.scores(seed=1, model="org/base")
    maps = {"truth scores of org/base on a diet": made, "truth scores of org/base on b.jsonl": silent}
    results = {"head_scores": {title: its.as_dict() for title, its in maps.items()}}
    first, second = drawings(viewed(reports.write_run(tmp_path / "x", "probe", results)))
    assert (first.about, second.about) == ("a.jsonl, n = 120, run x", "n = 120, run x")


@pytest.mark.parametrize("provenance", [{"file_hash": "1"}, {"file_hash": "1", "file": "truth scores of x.npy"}])
def test_a_file_that_says_nothing_has_no_model_and_no_meaning(tmp_path: Path, provenance: dict[str, Any]) -> None:
    made = HeadScores(reports.scores().values, provenance=provenance)
    title = "truth scores from truth scores of x.npy"
    folder = reports.evidence_run(tmp_path / "evidence")
    damaged(folder, put(made.as_dict(), "results", "head_scores", title))
    view = viewed(folder)
    assert [model.name for model in view.models] == ["org/base", "truth scores of x.npy: model not known"]
    drawn = drawings(view)[-1]
    assert drawn.about == "run evidence" and drawn.notes[0] == "the file does not say how these scores were computed"
    assert MEANING["truth"] not in drawn.notes and not any("surface" in note for note in drawn.notes)
    text, _ = reported(tmp_path / "r.html", folder)
    assert "truth scores of x.npy: model not known</h3>" in text


def test_a_file_that_names_its_model_stands_with_it(tmp_path: Path) -> None:
    folder = reports.evidence_run(tmp_path / "evidence")
    damaged(
        folder, put(reports.scores("causal").as_dict(), "results", "head_scores", "causal scores from c.safetensors")
    )
    (model,) = viewed(folder).models
    assert model.name == "org/base" and "causal" in [one.kind for one in model.maps]


def with_evidence_file(folder: Path, measured: HeadScores) -> Path:
    """An evidence run against a file with a score of the measure's own kind."""
    name, title = "evidence (Base.safetensors)", "evidence scores from Base.safetensors"

    def change(record: dict[str, Any]) -> None:
        results = record["results"]
        results["head_scores"] = {title: measured.as_dict(), **results["head_scores"]}
        results["relations"] = {name: results["relations"]["truth"]}
        results["score_maps"] = {name: title}

    return damaged(reports.evidence_run(folder), change)


def test_scores_are_found_by_name_where_a_measure_is_of_their_kind(tmp_path: Path) -> None:
    other = reports.scores("evidence", seed=99)
    folder = with_evidence_file(tmp_path / "evidence", other)
    view = viewed(folder)
    (scatter,) = view.scatters.values()
    lift = json.loads((folder / "result.json").read_text())["results"]["head_scores"][
        "evidence of org/base on zoo:text"
    ]
    np.testing.assert_allclose(scatter.x, other.values, rtol=1e-4)
    np.testing.assert_allclose(scatter.y, np.array(lift["values"]), rtol=1e-4)
    (section,) = (one for one in view.sections if one.id == "evidence")
    related = [block for block in section.blocks if isinstance(block, Table)][-1]
    assert related.caption.startswith("Evidence (Base.safetensors) score") and related.note.endswith(
        "Scores: evidence scores from Base.safetensors."
    )


def test_a_map_under_two_titles_is_found_under_both(tmp_path: Path) -> None:
    """The score file of an earlier run of the same command is equal to the measure, and is shown once."""
    record = reports.looked_at((3, 4))[0]["evidence"]
    view = viewed(reports.evidence_run(tmp_path / "a"), with_evidence_file(tmp_path / "evidence", record))
    assert [one.kind for one in view.models[0].maps].count("evidence") == 1
    assert len(view.scatters) == 2


_TRUTH = "truth scores of org/base on zoo:text"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (drop("results", "score_maps"), "nothing says which maps here are 'truth'"),
        (drop("results", "measure_maps"), "nothing says which maps here are 'evidence'"),
        (put(["x"], "results", "score_maps"), "nothing says which maps here are 'truth'"),
        (put({"truth": "another"}, "results", "score_maps"), "nothing says which maps here are 'truth'"),
        (put({"evidence": [1]}, "results", "measure_maps"), "nothing says which maps here are 'evidence'"),
        (
            put(
                reports.scores(shape=(2, 4)).as_dict(), "results", "head_scores", "truth scores of org/base on zoo:text"
            ),
            "their maps have different shapes",
        ),
    ],
)
def test_a_scatter_whose_maps_are_not_named_is_missing(tmp_path: Path, change: Any, why: str) -> None:
    view = viewed(damaged(reports.evidence_run(tmp_path / "evidence"), change))
    (section,) = (one for one in view.sections if one.id == "evidence")
    said = [block.text for block in section.blocks if isinstance(block, Text) and block.missing]
    assert said == [f"missing: no scatter of truth scores against evidence: {why}"]
    assert not view.scatters and not view.problems


def test_weights_say_where_no_map_is_the_bases(tmp_path: Path) -> None:
    folder = reports.weights_run(tmp_path / "weights")

    def unknown(record: dict[str, Any]) -> None:
        maps = record["results"]["head_scores"]
        for at, its in enumerate(maps.values()):
            its["provenance"] = {"file_hash": str(at)}
        record["results"]["head_scores"] = {f"truth scores from {at}.npy": its for at, its in enumerate(maps.values())}

    text, warned = reported(tmp_path / "r.html", damaged(folder, unknown))
    assert "missing: no scatter: nothing says which map here is that of org/base" in text and not warned


def test_a_run_and_its_copy_show_each_example_once(tmp_path: Path) -> None:
    folder = reports.evidence_run(tmp_path / "evidence", n_rows=2)
    shutil.copytree(folder, tmp_path / "copy")
    more = reports.evidence_run(tmp_path / "more", n_rows=3)
    other = reports.evidence_run(tmp_path / "other", n_rows=1)
    damaged(other, put(OTHER, "weights"), "attention.json")
    view = viewed(folder, tmp_path / "copy", more, other)
    assert [(row["id"], row["run"], row["weights"]) for row in view.rows] == [
        ("scene-0", "evidence, copy, more", BASE),
        ("scene-1", "evidence, copy, more", BASE),
        ("scene-2", "more", BASE),
        ("scene-0", "other", OTHER),
    ]
    assert view.attention["m0"] == "Attention on 3 examples from run evidence, copy, more."


def test_a_folder_is_one_run_however_it_is_named(tmp_path: Path) -> None:
    folder = reports.evidence_run(tmp_path / "evidence")
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    ways = (folder, folder / ".." / "evidence", tmp_path / "link", folder / "result.json", tmp_path / "loop")
    view = viewed(*ways)
    assert [run.name for run in view.runs] == ["evidence"] and len(view.rows) == 2
    assert [str(problem) for problem in view.problems] == ["loop: there is no such file or folder"]


def test_colours_and_ticks_of_what_the_script_draws() -> None:
    values = np.array([[0.5, 1.0, 4.0], [1.0, 0.0, 2.0]])
    for kind, shades, legend in (
        ("evidence", [[-0.5, 0.0, 1.0], [0.0, -1.0, 0.5]], ["≤ 0.25", "1", "≥ 4"]),  # both ways from chance, in powers
        ("lookback", [[-0.75, -0.5, 1.0], [-0.5, -1.0, 0.0]], ["0", "2", "4"]),
    ):
        shown = map_data(HeadMap(HeadScores(values, kind), (("run", "title"),)))
        assert (shown["shades"], shown["legend"]) == (shades, legend)
    assert shown["ranks"] == [[5, 3, 1], [3, 6, 2]] and shown["intervals"] == [[None] * 3] * 2
    around = map_data(HeadMap(HeadScores(values - 1, "causal"), (("run", "title"),)))
    assert around["legend"] == ["−3", "0", "3"] and around["shades"][0] == [-0.167, 0.0, 1.0]

    heights = np.array([[1.0, 2.0, 8.0], [1.0, np.nan, 4.0]])
    scatter = Scatter(("", 2, 3), "x", "y", values, heights, True, "", "")
    data = scatter_data("s0", "m0", scatter)
    assert [text for _, text in data["xTicks"]] == ["0", "1", "2", "3", "4"]
    assert data["yTicks"] == [(220.0, "1"), (156.7, "2"), (93.3, "4"), (30.0, "8")]
    assert data["points"][0] == [0, 0, 91.8, 220.0, "0.5", "1"] and len(data["points"]) == 5
