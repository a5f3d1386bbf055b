"""An ablation as a result: it goes round, is put together with others, and shows itself."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import reports
from report_pages import damaged, drop, put

import lens_truth
from lens_truth.ablation.rows import Candidate
from lens_truth.errors import InputError
from lens_truth.io.tables import html, terminal

FOUND = reports.ablation()
BOTH = FOUND | reports.ablation("org/child")


@pytest.mark.parametrize("ablation", [FOUND, BOTH], ids=["one model", "two models"])
def test_what_is_saved_is_loaded(tmp_path: Path, ablation: lens_truth.Ablation) -> None:
    ablation.save(tmp_path)
    assert lens_truth.Ablation.load(tmp_path) == ablation


def test_from_the_folder_of_a_command(tmp_path: Path) -> None:
    assert lens_truth.Ablation.load(reports.ablate_run(tmp_path)) == FOUND


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (put(1, "results", "ablation", "colour"), "results.ablation.colour is a field that this version of lens_truth"),
        (drop("results", "ablation", "search"), "results.ablation has no 'search'"),
        (put("good", "results", "ablation", "rows", 3, "accuracy"), "rows[3].accuracy is 'good', not a number"),
        (put(2.5, "results", "ablation", "rows", 0, "n"), "rows[0].n is 2.5, not a whole number"),
        (put(3, "format"), "format is 3, and lens_truth 0.1.0 reads format 2"),
        (drop("results", "ablation"), "is of the command 'ablate' and holds no ablation"),
    ],
)
def test_what_is_not_an_ablation_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    with pytest.raises(InputError, match=re.escape(complaint)) as refused:
        lens_truth.Ablation.load(damaged(reports.ablate_run(tmp_path), change))
    assert str(refused.value).startswith(f"{tmp_path / 'result.json'}") and "\n" not in str(refused.value)


def test_models_are_put_together() -> None:
    assert BOTH.models == ("org/base", "org/child") == tuple(BOTH.search) == tuple(BOTH.validation)
    assert lens_truth.Ablation.joined([FOUND, reports.ablation("org/child")]) == BOTH
    assert [table.caption for table in BOTH.tables()] == [
        "Accuracy of org/base under each gate",
        "Accuracy of org/child under each gate",
        "Captions of org/base, conflict (n=200)",
        "Captions of org/child, conflict (n=200)",
        "Side effects in org/base",
        "Side effects in org/child",
    ]
    assert [sentence.split(",")[0] for sentence in BOTH.verdicts()] == ["org/base", "org/child"]
    with pytest.raises(InputError, match="two ablations of 'org/base' cannot be put together"):
        _ = FOUND | FOUND


def test_what_was_chosen() -> None:
    best = FOUND.chosen("causal")
    assert best == Candidate(0.2, "minmax", 0.1, {"conflict": 0.8})  # of equals the weaker gate
    assert BOTH.chosen("causal", "org/child") == best
    assert FOUND.vanilla_objective("org/base") == 0.625
    with pytest.raises(InputError, match="there was no search for a gate 'probe', only for causal"):
        FOUND.chosen("probe")
    with pytest.raises(InputError, match="for a gate 'causal' of 'org/x', only for none"):
        FOUND.chosen("causal", "org/x")


def test_warnings() -> None:
    inverted = "org/base, causal: 2 gates are negative, so those heads are inverted"
    unread = [f"org/base, causal on {name}: 12% of the answers could not be read" for name in ("conflict", "open")]
    assert FOUND.warnings() == [inverted, *unread]
    strong = replace(FOUND, validation={"org/base": {"conflict": 0.9}})
    assert strong.warnings()[3:] == [
        "org/base, causal: on validation no lambda does better than no gate (0.800 against 0.900)"
    ]


def test_the_table_in_a_terminal_and_in_a_notebook() -> None:
    lines = terminal(FOUND.tables()[0]).splitlines()
    assert [line.split("  ")[0] for line in lines[2:]] == [
        "vanilla",
        "causal, 2 negative",
        "permuted (causal) ×5",
        "uniform (causal)",
        "uniform (tuned)",
        "random ×3",
    ]
    assert "0.600 ± 0.020 [0.54, 0.65] +0.000" in lines[4] and "0.65 minmax" in lines[4]
    shown = html(*FOUND.tables())
    assert shown.count("<table>") == 3 and "✓ beaten by its gate" in shown


def test_the_rule_of_being_beaten() -> None:
    for difference, p, as_good, beaten in (
        (0.1, 0.01, 0, True),
        (0.1, 0.01, 1, False),
        (0.1, 0.2, 0, False),
        (-0.1, 0.01, 0, False),
        (0.0, 1.0, 1, False),
    ):
        assert reports.comparison(difference, p, as_good, 5).beaten == beaten


@pytest.mark.parametrize(
    ("detectable", "said", "cell"),
    [
        (0.0, "; no significant gain.", ""),  # of an earlier build
        (0.12, "; no significant gain (200 questions could show +0.120).", ", could show +0.120"),
        (0.5, " (200 questions could show +0.500, and the model without a gate leaves 0.400).", ", could show +0.500"),
        (math.nan, " (200 questions could show no gain).", ", could show no gain"),
    ],
)
def test_a_null_says_what_could_have_been_shown(tmp_path: Path, detectable: float, said: str, cell: str) -> None:
    null = replace(reports.comparison(0.02, 0.4), detectable=detectable)
    rows = [replace(row, against={"vanilla": null}) if row.gate == "causal" else row for row in FOUND.rows]
    found = replace(FOUND, rows=tuple(rows))
    assert said in found.verdicts()[0].replace("It was compared with no control", "").replace(". .", ".")
    assert found.tables()[0].rows[1].cells[2].more[0] == f"+0.020 [-0.03, +0.07] p\u00a00.4{cell}"
    found.save(tmp_path)
    assert lens_truth.Ablation.load(tmp_path) == found


def test_results_of_earlier_builds_are_read(tmp_path: Path) -> None:
    """They do not say what a comparison could have shown."""
    folder = reports.ablate_run(tmp_path)
    damaged(folder, lambda record: record["results"]["ablation"]["rows"][1]["against"]["vanilla"].pop("detectable"))
    assert lens_truth.Ablation.load(folder) == FOUND


def test_all_candidates_in_tables() -> None:
    (table,) = FOUND.search_tables("org/base")
    assert table.caption == "causal: λ = 0.2, minmax" and table.header == ("distance from 1", "center", "minmax")
    assert table.texts() == [["no gate", "0.625", "0.625"], ["0.1", "0.700", "0.800"], ["0.2", "0.800", ""]]
    assert [[cell.strong for cell in row.cells] for row in table.rows] == [[False] * 2, [False, True], [False] * 2]
    bar = table.rows[1].cells[0].bar
    assert bar is not None and (bar.point, bar.mark) == (0.7, 0.625)


@pytest.mark.parametrize(("what", "panels"), [("gates", 4), ("random gate", 2), ("search", 2)])
def test_figures(what: str, panels: int) -> None:
    assert len(BOTH.plot(what).axes) == panels


def test_a_warning_stands_in_the_figure() -> None:
    figure = BOTH.plot(warning="SURFACE CONFOUND: the supported answer is the shorter one " * 3)
    assert "accuracy\nSURFACE CONFOUND: the supported" in str(figure.get_supxlabel())
    assert figure.get_supxlabel().count("shorter") == 3 and BOTH.plot().get_supxlabel() == "accuracy"


def test_a_figure_that_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match="an ablation has no figure 'pie', only gates, random gate, search"):
        FOUND.plot("pie")


def test_json_is_plain() -> None:
    assert json.loads(json.dumps(FOUND.as_dict(), allow_nan=False)) == FOUND.as_dict()
    assert lens_truth.Ablation.from_dict(FOUND.as_dict()) == FOUND
