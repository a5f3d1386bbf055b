"""From runs to one HTML file that loads nothing and stays under its size."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from lens_truth.errors import InputError, notice
from lens_truth.io.files import check_out, write_text
from lens_truth.io.numbers import count, number
from lens_truth.io.readers import is_list, is_object
from lens_truth.io.tables import Row, Table, html, row
from lens_truth.page.heads import map_data, maps_data, source, what
from lens_truth.page.models import listed, models_of
from lens_truth.page.reading import Problem, RunRecord, read_runs
from lens_truth.page.sections import View, view_of

LIMIT = 5_000_000
"""Bytes of a page at most."""

_ESSENTIAL = frozenset({"ci_low", "ci_high", "p_value", "p_familywise"})
"""Metrics of a map that stay in a page which has no room for all of them."""

_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'sha256-"
)
"""The browser lets the page load nothing, and run no script but its own."""


def write_report(runs: Sequence[str | Path], *, out: str | Path = "runs/report.html") -> Path:
    """Writes one HTML page that shows everything the runs' `result.json` files hold, and returns its path.

    The page is one file that loads nothing, so it can be opened from a disk and sent to others. The same runs give the
    same bytes. What is wrong with a run stands at the top of the page and is warned of (`DataWarning`).

    Args:
        runs: folders with a `result.json`, or such files themselves.
        out: a file name that ends in .html.

    Raises:
        InputError: if none of the runs can be read, or the page cannot be kept under 5 MB; nothing is written then.
    """
    paths, out = [Path(run) for run in runs], Path(out)
    if out.suffix != ".html":
        raise InputError(f"{out}: a report is a file whose name ends in .html")
    if out.is_dir():
        raise InputError(f"{out}: is a folder")
    check_out(out.parent)
    if not paths:
        raise InputError("no runs were named")
    records, problems = read_runs(paths)
    if not records:
        raise InputError(f"there is no run to report on: {'; '.join(map(str, problems))}")
    text, problems = fitted(records, problems)
    write_text(out, text)
    for problem in problems:
        notice(str(problem))
    return out


def fitted(runs: list[RunRecord], problems: list[Problem]) -> tuple[str, list[Problem]]:
    """The page, under its limit, and what is wrong. Without room for everything the page does without the last example
    rows, then without the metrics of heads that are not their interval or null, then without the last maps; what was
    left out is said among the problems.

    Raises:
        InputError: if the page is too large even with one map.
    """
    view = view_of(runs, problems)
    n = len(view.rows)
    further = any(maps_data(model, None) != maps_data(model, _ESSENTIAL) for model in view.models)
    dropped: list[str] = []
    excess = 0
    for metrics in (None, _ESSENTIAL) if further else (None,):
        dropped = ["further metrics of the heads"] if metrics else []
        kept = n
        while True:
            text, found = _lacking(view, kept, metrics, dropped)
            excess = len(text.encode()) - LIMIT
            if excess <= 0:
                return text, found
            if kept == 0:
                break
            while excess > 0 and kept:  # the sentence that is added may need another round
                kept -= 1
                excess -= _size(view.rows[kept])

    maps = [(model.name, one) for model in view.models for one in model.maps]
    kept = len(maps)
    while kept > 1:
        while excess > 0 and kept > 1:
            kept -= 1
            excess -= _size(map_data(maps[kept][1], _ESSENTIAL))
        names = "; ".join(f"{what(one)} of {name}, {source(one)}" for name, one in maps[kept:])
        lost = f"the last {len(maps) - kept} of {count(len(maps), 'map')} ({names})"
        text, found = _lacking(view_of(runs, problems, kept), 0, _ESSENTIAL, [*dropped, lost])
        excess = len(text.encode()) - LIMIT
        if excess <= 0:
            return text, found
    most = "examples and with one map of heads only" if maps else "examples"
    advice = "; name fewer runs" if len(runs) > 1 else ""
    raise InputError(f"the page would exceed {LIMIT / 1e6:g} MB even without {most}{advice}")


def _lacking(
    view: View, kept: int, metrics: frozenset[str] | None, dropped: Sequence[str]
) -> tuple[str, list[Problem]]:
    """The page with the first `kept` example rows, and what is wrong, which is also that it lacks the others."""
    n = len(view.rows)
    left_out = [f"the last {n - kept} of {count(n, 'example row')}"] if kept < n else []
    left_out += dropped
    problems = list(view.problems)
    if left_out:
        said = " and ".join(filter(None, (", ".join(left_out[:-1]), left_out[-1])))
        problems.append(Problem("", f"the page would exceed {LIMIT / 1e6:g} MB, so it lacks {said}"))
    return rendered(replace(view, problems=problems), view.rows[:kept], metrics), problems


def _size(value: Any) -> int:
    """Bytes that it takes in a list."""
    return len(script_json(value).encode()) + 1


def _first(n_warnings: int, n_problems: int) -> str:
    """What stands under the title if there is anything to be warned of."""
    parts = [count(n_warnings, "warning")] if n_warnings else []
    parts += [f"{count(n_problems, 'problem')} with the runs"] if n_problems else []
    return f"{' and '.join(parts)}: read first" if parts else ""


def rendered(view: View, rows: Sequence[dict[str, Any]], metrics: frozenset[str] | None) -> str:
    """The page with these example rows and metrics of heads."""
    ids = {model.maps[0].key: model.id for model in view.models}
    data = {
        "models": [{**maps_data(model, metrics), "attention": view.attention[model.id]} for model in view.models],
        "rows": list(rows),
        "scatters": [scatter.data(id, ids[scatter.model]) for id, scatter in view.scatters.items()],
    }
    assets = files("lens_truth.page") / "assets"
    css, *scripts = ((assets / name).read_text(encoding="utf-8") for name in ("page.css", "panel.js", "page.js"))
    script = Markup("\n".join(scripts))
    text = _template().render(
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
        loader=PackageLoader("lens_truth.page", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"code": code, "table": _table}
    return environment.get_template("page.html.j2")


def _table(table: Table) -> Markup:
    return Markup(html(table))


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
        models = listed(models_of(run)) or ""
        version = str(run.versions.get("lens-truth", ""))
        rows.append(row(run.name, run.command, models, _data(run), number(run.seconds, 1), version))
    header = ("run", "command", "models", "data", "seconds", "lens_truth")
    return Table("Runs in this report", header, tuple(rows), form="words")


def _data(run: RunRecord) -> str:
    """What a run was made on, as far as it says."""
    said = run.config.get("data")
    if said is None:  # chosen by the command
        maps = run.results.value.get("head_scores")
        of_maps = [one.get("provenance") for one in maps.values() if is_object(one)] if is_object(maps) else []
        found = [its.get("data") for its in of_maps if is_object(its)]
        by_model = run.results.value.get("data")
        found += by_model.values() if is_object(by_model) else [by_model]
        said = list(dict.fromkeys(its for its in found if isinstance(its, str)))
    if is_list(said):
        return ", ".join(map(str, said)) or ""
    return said if isinstance(said, str) else ""
