"""From runs to one HTML file that loads nothing and stays under its size."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from lens_truth.commands.common import check_out
from lens_truth.datasets.notices import notice
from lens_truth.errors import InputError
from lens_truth.files import write_text
from lens_truth.report.blocks import Row, Table, row
from lens_truth.report.heads import maps_data
from lens_truth.report.models import listed, models_of
from lens_truth.report.numbers import NONE, count, number
from lens_truth.report.reading import Problem, RunRecord, read_runs
from lens_truth.report.sections import View, attention_words, view_of

LIMIT = 5_000_000
"""Bytes of a page at most."""

_ESSENTIAL = frozenset({"ci_low", "ci_high", "p_value", "p_familywise"})
"""Metrics of a map that stay in a page which has no room for all of them."""

_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'sha256-"
)
"""The browser lets the page load nothing, and run no script but its own."""

MARKS = ("M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0Z", "M-3-3h6v6h-6Z", "M0-4 4 3h-8Z", "M0-4.2 4.2 0 0 4.2-4.2 0Z")
"""Shapes of a chart's points: circle, square, triangle, diamond."""


def write_report(paths: Sequence[Path], out: Path) -> Path:
    """See `lens_truth.report`."""
    if out.suffix != ".html":
        raise InputError(f"{out}: a report is a file whose name ends in .html")
    if out.is_dir():
        raise InputError(f"{out}: is a folder")
    check_out(out.parent)
    if not paths:
        raise InputError("no runs were named")
    runs, problems = read_runs(paths)
    if not runs:
        raise InputError(f"there is no run to report on: {'; '.join(map(str, problems))}")
    view = view_of(runs, problems)
    text = fitted(view)
    write_text(out, text)
    for problem in view.problems:
        notice(str(problem))
    return out


def fitted(view: View) -> str:
    """The page, under its limit: without room for everything it does without the last example rows, then without the
    metrics of heads that are not their interval or null; what was left out is said among the problems.

    Raises:
        InputError: if that is not enough.
    """
    rows, before = example_rows(view.runs), list(view.problems)
    for metrics, dropped in ((None, []), (_ESSENTIAL, ["further metrics of the heads"])):
        kept = len(rows)
        while True:
            left_out = [f"the last {len(rows) - kept} of {count(len(rows), 'example row')}"] if kept < len(rows) else []
            left_out += dropped
            view.problems[:] = before
            if left_out:
                limit = f"{LIMIT / 1e6:g} MB"
                view.problems.append(
                    Problem("", f"the page would exceed {limit}, so it lacks {' and '.join(left_out)}")
                )
            text = rendered(view, rows[:kept], metrics)
            excess = len(text.encode()) - LIMIT
            if excess <= 0:
                return text
            if kept == 0:
                break
            while excess > 0 and kept:  # the sentence that is added may need another round
                kept -= 1
                excess -= len(script_json(rows[kept]).encode()) + 1
    raise InputError(f"the page would exceed {LIMIT / 1e6:g} MB even without examples; name fewer runs")


def _first(n_warnings: int, n_problems: int) -> str:
    """What stands under the title if there is anything to be warned of."""
    parts = [count(n_warnings, "warning")] if n_warnings else []
    parts += [f"{count(n_problems, 'problem')} with the runs"] if n_problems else []
    return f"{' and '.join(parts)}: read first" if parts else ""


def example_rows(runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """The examples in which attention was kept, for the page's script."""
    return [
        {**example, "run": run.name, "weights": run.attention.weights, "threshold": run.attention.threshold}
        for run in runs
        if run.attention is not None
        for example in run.attention.rows
    ]


def rendered(view: View, rows: Sequence[dict[str, Any]], metrics: frozenset[str] | None) -> str:
    """The page with these example rows and metrics of heads."""
    ids = {model.maps[0].key: model.id for model in view.models}
    data = {
        "models": [
            {**maps_data(model, metrics), "attention": attention_words(model, view.runs)} for model in view.models
        ],
        "rows": list(rows),
        "scatters": [scatter.data(id, ids[scatter.model]) for id, scatter in view.scatters.items()],
    }
    assets = files("lens_truth.report") / "assets"
    css, *scripts = ((assets / name).read_text(encoding="utf-8") for name in ("page.css", "panel.js", "page.js"))
    script = Markup("\n".join(scripts))
    text = _template().render(
        marks=MARKS,
        title="lens_truth: " + ", ".join(run.name for run in view.runs),
        runs=runs_table(view.runs),
        n_runs=count(len(view.runs), "run"),
        first=_first(sum(len(run.warnings) for run in view.runs), len(view.problems)),
        warned=[run for run in view.runs if run.warnings],
        problems=view.problems,
        sections=view.sections,
        css=Markup(css),
        script=script,
        policy=_POLICY + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() + "'",
        data=Markup(script_json(data)),
    )
    return text.lstrip()


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("lens_truth.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = code
    return environment.get_template("page.html.j2")


def code(text: str) -> Markup:
    """Escaped, with what stands between backticks as code."""
    parts = (escape(part) for part in text.split("`"))
    return Markup("").join(Markup("<code>%s</code>") % part if i % 2 else part for i, part in enumerate(parts))


def script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in, whatever texts it holds."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "&<>\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def runs_table(runs: Sequence[RunRecord]) -> Table:
    """One line a run."""
    rows: list[Row] = []
    for run in runs:
        models = listed(models_of(run)) or NONE
        version = str(run.versions.get("lens-truth", NONE))
        rows.append(row(run.name, run.command, models, _data(run), number(run.seconds, 1), version))
    header = ("run", "command", "models", "data", "seconds", "lens_truth")
    return Table("Runs in this report", header, tuple(rows), form="words")


def _data(run: RunRecord) -> str:
    """What a run was made on, as far as it says."""
    said = run.config.get("data")
    if said is None:  # chosen by the command
        maps = run.results.value.get("head_scores")
        of_maps = (
            [one.get("provenance") for one in maps.values() if isinstance(one, dict)] if isinstance(maps, dict) else []
        )
        found = [its.get("data") for its in of_maps if isinstance(its, dict)]
        by_model = run.results.value.get("data")
        found += by_model.values() if isinstance(by_model, dict) else [by_model]
        said = list(dict.fromkeys(its for its in found if isinstance(its, str)))
    if isinstance(said, list):
        return ", ".join(map(str, said)) or NONE
    return said if isinstance(said, str) else NONE
