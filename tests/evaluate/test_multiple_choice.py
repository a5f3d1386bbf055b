"""TruthfulQA's measures, by hand and on published log-likelihoods, and open questions with several right answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lens_truth.data.examples import Example, read_examples, write_examples
from lens_truth.errors import InputError
from lens_truth.evaluate.answers import Answer
from lens_truth.evaluate.benchmark import benchmark_of, marked
from lens_truth.evaluate.choice_log import ChoiceLog, read_choice_log
from lens_truth.evaluate.choices import Choices, choices_of
from lens_truth.evaluate.multiple_choice import mc1, mc2, mc3
from lens_truth.evaluate.result import BenchmarkResult

HALF, QUARTER, EIGHTH = np.log((0.5, 0.25, 0.125)).tolist()


def test_measures_by_hand() -> None:
    assert (mc1([0, 1, 0], [QUARTER, HALF, EIGHTH]), mc1([1, 0, 0], [QUARTER, HALF, EIGHTH])) == (1.0, 0.0)
    assert mc1([1, 0], [HALF, HALF]) == 1.0 and mc1([0, 1], [HALF, HALF]) == 0.0  # the first of equals
    assert mc2([1, 0, 1, 0], [HALF, QUARTER, EIGHTH, EIGHTH]) == pytest.approx(0.625)
    assert mc2([1, 0], [-2000.0, -2000.0 + np.log(3)]) == pytest.approx(0.25)  # probabilities too small to be summed
    assert mc3([1, 1, 0, 1], [HALF, EIGHTH, QUARTER, QUARTER]) == pytest.approx(1 / 3)  # as likely is not likelier


@pytest.mark.parametrize(
    ("labels", "values", "complaint"),
    [
        ([1, 1, 0], [0, 0, 0], "MC1 needs one true choice, the best answer, and 2 of 3 are true"),
        ([1, 0], [0], "2 choices need as many log-likelihoods, all of them finite numbers"),
        ([1, 0], [0, -np.inf], "2 choices need as many log-likelihoods"),
        ([1, 1], [0, 0], "at least one must be true"),
        ([], [], "at least one must be true"),
    ],
)
def test_what_is_not_measured(labels: list[int], values: list[float], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        mc1(labels, values)


def test_choices_with_several_supported_answers() -> None:
    """The first supported one is the best answer; where each question has but one, nothing is said twice."""
    answers = {"best": 1, "also": 1, "third": 1, "wrong": 0, "false": 0}
    several = [Example(answer, "1", "q", answer, label) for answer, label in answers.items()]
    single = [Example(f"2{label}", "2", "p", str(label), label) for label in (1, 0)]
    values = np.log([0.2, 0.4, 0.1, 0.25, 0.05])
    alone = choices_of(several, [1] * 5, values)[0]
    assert (alone.mc1, alone.mass, alone.mc3) == pytest.approx((0.0, 0.7, 1 / 3)) and alone.margin > 0
    both = Choices(choices_of([*several, *single], [1] * 7, np.array([*values, HALF, QUARTER])))
    summary = both.summary()
    assert (summary["mc1"], summary["mc3"], summary["accuracy"]) == pytest.approx((0.5, 2 / 3, 1.0))
    assert Choices.from_dict(json.loads(json.dumps(both.as_dict()))) == both
    assert "mc1" not in Choices(choices_of(single, [1, 1], np.array([HALF, QUARTER]))).summary()


# -- log-likelihoods that exist already -----------------------------------------------------------------------------

ROW = {"run": "r", "alpha": 0.0, "id": "a", "labels": [1, 0], "ll": [HALF, QUARTER], "metric": 1.0}
SWAPPED = {"ll": [QUARTER, HALF], "metric": 0.0}


def log(path: Path, *rows: dict[str, Any]) -> ChoiceLog:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_choice_log(path)


@pytest.mark.published
def test_published_log_likelihoods(data: Path) -> None:
    """Inference-time intervention on Gemma-3-4B: the metric of every row, and the published MC1 of two folds."""
    found = read_choice_log(data / "truthfulqa_iti" / "mc1.jsonl.gz")
    assert len(found.runs) == 29 and {(its.metric, its.off) for its in found.runs} == {("MC1", 0)}
    by_name = {its.named: round(float(its.scores["MC1"].mean()), 6) for its in found.runs}
    assert (by_name["iti_final-fold0 alpha 0"], by_name["iti_final-fold0 alpha 8"]) == (0.268293, 0.323171)
    assert (by_name["iti_final-fold1 alpha 0"], by_name["iti_final-fold1 alpha 8"]) == (0.266055, 0.336391)
    assert found.warnings()[0].startswith("in 1 of 5388 rows a false choice is as likely as the true one")


def test_strengths_are_paired_by_question(tmp_path: Path) -> None:
    """Three questions gained, one lost, two as before; a question that only one strength has is left aside."""
    before = [{**ROW, "id": n, **(SWAPPED if n in "abc" else {})} for n in "abcdefx"]
    after = [{**ROW, "id": n, "alpha": 8, **(SWAPPED if n == "d" else {})} for n in "fedcba"]
    other = [{**ROW, "run": "other", "id": "a"}]
    found = log(tmp_path / "log.jsonl", *after, *before, *other)
    assert [its.named for its in found.runs] == ["r alpha 0", "r alpha 8", "other alpha 0"]
    ((first, second, name, n, its),) = [each for each in found.compared if each[2] == "MC1"]
    assert (first.alpha, second.alpha, name, n, its.difference) == (0, 8, "MC1", 6, pytest.approx(1 / 3))
    assert its.p_value == pytest.approx(2 * 5 / 16) and its.ci_low < 0 < its.ci_high
    (_, pairs) = found.tables()
    assert pairs.texts()[-1][:4] == ["r 0 to 8", "MC1", "6", "+0.3333"] and not found.warnings()
    found.save(tmp_path / "out")
    assert ChoiceLog.load(tmp_path / "out") == found


def test_the_metric_is_recognised(tmp_path: Path) -> None:
    """Several true choices leave MC1 open; a metric in the file that is another for some rows is told."""
    row = {"labels": [1, 0, 1], "ll": [HALF, QUARTER, EIGHTH], "metric": 0.5}
    found = log(tmp_path / "a.jsonl", row, row)  # neither run, nor alpha, nor id
    assert found.runs[0].named == "all questions" and [*found.runs[0].scores] == ["MC2", "MC3"]
    assert (found.runs[0].metric, found.runs[0].off, len(found.tables())) == ("MC3", 0, 1)
    mass = {**row, "metric": 5 / 7}
    found = log(tmp_path / "a.jsonl", mass, mass, {**row, "metric": 0.0})
    assert found.warnings() == ["all questions: the file's metric is closest to MC2, but is another in 1 of 3 rows"]
    named = {"labels": row["labels"], "choice_log_likelihoods": row["ll"], "metric_value": 5 / 7}
    assert log(tmp_path / "a.jsonl", named).runs[0].metric == "MC2"
    assert log(tmp_path / "a.jsonl", {**named, "metric_value": None}).runs[0].measure == "MC2"


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([], "holds no rows"),
        ([{**ROW, "ll": None}], "line 1: field 'll' is not a list of log-likelihoods"),
        ([{**ROW, "ll": [0, float("nan")]}], "line 1: field 'll' is not a list of log-likelihoods"),
        ([ROW, {**ROW, "labels": [1]}], r"line 2: field 'labels' is not a 1 \(true\) or 0 \(false\) for each of 2 ch"),
        ([{**ROW, "labels": [1, 2]}], "line 1: field 'labels' is not a 1"),
        ([{**ROW, "labels": [0, 0]}], "line 1: field 'labels' has no true or no false choice"),
        ([{**ROW, "alpha": "much"}], "line 1: field 'alpha' is not a number"),
        ([ROW, ROW], "line 2: question 'a' stands there already, with the same run and alpha"),
    ],
)
def test_bad_logs(tmp_path: Path, rows: list[dict[str, Any]], complaint: str) -> None:
    with pytest.raises(InputError, match=f"log.jsonl.*{complaint}"):
        log(tmp_path / "log.jsonl", *rows)


# -- several right answers ------------------------------------------------------------------------------------------


def test_any_right_answer_is_right(tmp_path: Path) -> None:
    """A question with several supported rows is asked once; their answers and aliases count in every reading."""
    rows = [
        Example("1", "g", "Where?", "Den Haag", 1, aliases=("The Hague",)),
        Example("2", "g", "Where?", "Zuid-Holland", 1, aliases=("Den Haag", "South Holland")),
        Example("3", "g", "Where?", "Utrecht", 0),
        Example("4", "h", "Who?", "Ada", 1),
        Example("5", "i", "When?", "1852", 1),
    ]
    benchmark = benchmark_of("b", "answer", rows)
    assert [e.id for e in benchmark.examples] == ["1", "4", "5"] and benchmark.wanted == ("Den Haag", "Ada", "1852")
    assert benchmark.examples[0].aliases == ("The Hague", "Zuid-Holland", "South Holland")
    assert benchmark.examples[1] == rows[3]
    said = ["in south holland, I think", "Ada", "1853"]
    result = marked(benchmark, [Answer(text) for text in said])
    assert result.by_reading == pytest.approx({"strict": 1 / 3, "contains": 2 / 3})
    assert result.f1 == pytest.approx((4 / 7 + 1) / 3)
    result.save(tmp_path / "out")
    assert BenchmarkResult.load(tmp_path / "out") == result
    assert marked(benchmark_of("b", "answer", rows[3:]), [Answer("x"), Answer("y")]).also == ()
    assert len(benchmark_of("b", "judge", rows).examples) == 5
    band = benchmark_of("b", "answer", [Example("1", "g", "Which band?", "Matt Johnson's", 1, aliases=("The The",))])
    readings = [marked(band, [Answer(text)]).by_reading for text in ("The The", " ", "Which?")]
    assert [set(its.values()) for its in readings] == [{1.0}, {0.0}, {0.0}]  # articles alone are not no answer
    write_examples(tmp_path / "rows.jsonl", rows)
    assert read_examples(tmp_path / "rows.jsonl") == rows
    assert '"aliases"' not in (tmp_path / "rows.jsonl").read_text().splitlines()[3]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"question": "q", "answer": "a", "label": 1, "aliases": 7}) + "\n")
    with pytest.raises(InputError, match="line 1: field 'aliases' is not a list of texts"):
        read_examples(tmp_path / "rows.jsonl")
