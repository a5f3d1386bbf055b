"""What came out of a benchmark goes round: from memory, and from every subcommand's output folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import run
from matplotlib.figure import Figure

from lens_truth.errors import InputError
from lens_truth.evaluate.answers import binary_metrics
from lens_truth.evaluate.chair import Caption, TrueObjects, object_names, score_captions
from lens_truth.evaluate.choices import Choices
from lens_truth.evaluate.figures import benchmark_dots
from lens_truth.evaluate.result import BenchmarkResult, caption_result
from lens_truth.io.results import Result

TEXTS = ("Yes.", "no", "I see", "No", "Yes", "no way")
WANTED = ("yes", "no", "yes", "no", "no", "no")


def yes_no(**more: Any) -> BenchmarkResult:
    ids, groups = tuple("abcdef"), ("g", "g", "h", "h", "i", "i")
    return BenchmarkResult("b", "yes-no", ids, groups, WANTED, TEXTS, ("pope", "strict"), **more)


def captions() -> BenchmarkResult:
    names = object_names({"cat": "cat", "dog": "dog"})
    said = [Caption("1", "a cat and a dog"), Caption("2", "Nothing."), Caption("2", "a dog")]
    true = TrueObjects("here", {"1": frozenset({"cat"}), "2": frozenset({"dog"})})
    return caption_result("chair", said, score_captions(said, true, names), seed=3)


RESULTS = [
    yes_no(),
    yes_no(splits=("x", "x", "x", "y", "y", "y"), margins=np.array([0.1, -2.0, 0.25, -0.5, 1.0, -1.0]), seed=5),
    BenchmarkResult("open", "answer", ("a", "b"), ("g", "h"), ("coral", "blue"), ("The Coral.\nAnd", ""), seed=1),
    captions(),
]


@pytest.mark.parametrize("result", RESULTS, ids=["plain", "splits", "open", "captions"])
def test_results_are_read_back(result: BenchmarkResult, tmp_path: Path) -> None:
    result.save(tmp_path)
    again = BenchmarkResult.load(tmp_path)
    assert again == result and again.tables() == result.tables() and again.summary() == result.summary()
    assert isinstance(again.plot(), Figure) and "<table" in again._repr_html_()


def test_what_a_result_says() -> None:
    plain, split, opened, described = RESULTS
    assert plain.accuracy == plain.metrics("pope").accuracy == 5 / 6 and plain.correct.tolist() == [1, 1, 1, 1, 0, 1]
    assert plain.unparsed == plain.by_parse["strict"].unparsed == 1 / 6 and plain.by_margin is None
    assert plain.by_parse["strict"] == binary_metrics(["yes", "no", None, "no", "yes", "no"], WANTED)
    assert split.by_margin is not None and split.by_margin.accuracy == 5 / 6
    assert {name: its.accuracy for name, its in split.by_split.items()} == {"x": 1.0, "y": pytest.approx(2 / 3)}
    assert split.summary()["splits"]["y"]["strict"]["n"] == 3
    by_parse, by_split = split.tables()
    assert [line[0] for line in by_parse.texts()] == ["pope", "strict", "logit margin"]
    assert [line[:3] for line in by_split.texts()][-1] == ["pooled", "strict", "0.667"]
    assert (opened.accuracy, opened.f1, opened.unparsed, opened.answer_words) == (0.5, 0.5, 0.5, 1.5)
    assert described.correct.tolist() == [0, 1, 1] and described.f1 == pytest.approx(2 * (2 / 3) ** 2 / (4 / 3))
    assert described.summary()["n_images"] == 2 and described.tables()[0].texts()[0][:2] == ["chair_s", "0.333"]


def wrong(folder: Path, change: Any) -> str:
    RESULTS[3].save(folder)
    file = folder / "result.json"
    record = json.loads(file.read_text())
    change(record)
    file.write_text(json.dumps(record, indent=1))
    with pytest.raises(InputError) as refused:
        BenchmarkResult.load(folder)
    return str(refused.value)


def test_results_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    def in_caption(record: Any) -> None:
        record["results"]["benchmark"]["chair"]["captions"][1]["length"] = "long"

    said = wrong(tmp_path, in_caption)
    assert "result.json, line " in said and "column" in said
    assert "results.benchmark.chair.captions[1].length is 'long', not a whole number" in said
    assert "results.benchmark.colour is a field that this version of lens_truth does not know" in wrong(
        tmp_path, lambda record: record["results"]["benchmark"].update(colour=1)
    )
    assert "format is 3" in wrong(tmp_path, lambda record: record.update(format=3))
    assert "holds no benchmark" in wrong(tmp_path, lambda record: record.update(results={}))


@pytest.mark.zoo
@pytest.mark.usefixtures("no_pdfs")
@pytest.mark.parametrize("benchmark", ["judge", "halueval", "pope", "chair", "choose"])
def test_every_subcommand_leaves_a_result(benchmark: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    kind: type[Result] = Choices if benchmark == "choose" else BenchmarkResult
    code, said, _ = run(capsys, "evaluate", benchmark, "--limit", "20", "--out", tmp_path)
    result = kind.load(tmp_path)
    assert code == 0 and all(cell in said for line in result.tables()[0].texts() for cell in line)
    result.save(tmp_path / "again")
    assert kind.load(tmp_path / "again") == result
    if isinstance(result, BenchmarkResult):
        recorded = json.loads((tmp_path / "result.json").read_text())["results"]
        shown = json.loads(json.dumps(result.summary()))
        assert {name: recorded[name] for name in shown} == shown


def test_a_figure_of_the_hardest_result() -> None:
    """Long names, many splits: the axes leave room for all of them."""
    splits = tuple(f"coco_pope_of_a_rather_long_name_{i % 6}" for i in range(60))
    many = tuple("yes" for _ in range(60))
    result = BenchmarkResult("pope " * 12, "yes-no", splits, splits, many, many, ("pope", "strict"), splits)
    figure = benchmark_dots(result)
    (axes,) = figure.axes
    box, page = axes.get_tightbbox(), figure.bbox
    assert box is not None and box.x0 >= 0 and box.y0 >= 0 and box.x1 <= page.x1 and box.y1 <= page.y1
    assert len(axes.get_yticklabels()) == 12
