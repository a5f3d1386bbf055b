"""From runs to one HTML file that loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from lens_truth.errors import InputError, notice
from lens_truth.io.files import check_out, remove_leftovers, write_text
from lens_truth.io.numbers import count
from lens_truth.io.tables import Table, html, html_environment, row
from lens_truth.page.drawn import model_data, scatter_data
from lens_truth.page.plain import plain
from lens_truth.page.reading import RunRecord, listed, read_runs
from lens_truth.page.sections import view_of
from lens_truth.page.view import View

LARGE = 5_000_000
"""Bytes of a page from which its size is warned of."""

_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'sha256-"
)
"""The browser lets the page load nothing, and run no script but its own."""


def write_report(
    runs: Sequence[str | Path], *, out: str | Path = "runs/report.html", max_examples: int | None = None
) -> Path:
    """Writes one HTML page that shows everything the runs' `result.json` files hold, and returns its path.

    The page is one file that loads nothing, so it can be opened from a disk and sent to others. The same runs give the
    same bytes. What is wrong with a run stands at the top of the page and is warned of (`DataWarning`), and so is a
    page that is large.

    >>> write_report(["runs/probe", "runs/ablate"], out="report.html")

    Args:
        runs: folders with a `result.json`, or such files themselves.
        out: a file whose name ends in .html, or a folder, in which the page is called report.html.
        max_examples: how many example rows are shown at most; all by default.

    Raises:
        InputError: if none of the runs can be read; nothing is written then.
    """
    paths, out = [Path(run) for run in runs], Path(out)
    if not out.suffix or (out.is_dir() and out.suffix != ".html"):
        out /= "report.html"
    if out.suffix != ".html":
        raise InputError(f"{out}: a report is a file whose name ends in .html, or a folder")
    if out.is_dir():
        raise InputError(f"{out}: is a folder")
    check_out(out.parent)
    remove_leftovers(out.parent)
    if not paths:
        raise InputError("no runs were named")
    if max_examples is not None and max_examples < 0:
        raise InputError(f"at most {max_examples} examples were asked for; it must not be negative")
    records, problems = read_runs(paths)
    if not records:
        raise InputError(f"there is no run to report on: {'; '.join(map(str, problems))}")
    view = view_of(records, problems, max_examples)
    write_text(out, text := rendered(view))
    for problem in view.problems:
        notice(str(problem))
    if (size := len(text.encode())) > LARGE:
        fewer = "; --max-examples N leaves example rows out" if view.rows else ""
        notice(f"{out}: has {size / 1e6:.1f} MB, which browsers take long to open{fewer}")
    return out


def rendered(view: View) -> str:
    """The page."""
    ids = {model.maps[0].key: model.id for model in view.models}
    data = {
        "models": [model_data(model, view.attention[model.id]) for model in view.models],
        "rows": view.rows,
        "scatters": [scatter_data(id, ids[scatter.model], scatter) for id, scatter in view.scatters.items()],
    }
    environment, assets = html_environment("lens_truth.page", "assets"), files("lens_truth.page") / "assets"
    environment.filters |= {"code": code, "table": html}
    css, *scripts = ((assets / name).read_text(encoding="utf-8") for name in ("page.css", "panel.js", "page.js"))
    script = Markup("\n".join(scripts))
    n_warnings, n_problems = sum(len(run.warnings) for run in view.runs), len(view.problems)
    first = [count(n_warnings, "warning")] if n_warnings else []
    first += [f"{count(n_problems, 'problem')} with the runs"] if n_problems else []
    text = environment.get_template("page.html.j2").render(
        title="lens_truth: " + ", ".join(run.name for run in view.runs),
        runs=_runs_table(view.runs),
        n_runs=count(len(view.runs), "run"),
        first=" and ".join(first),
        warned=[run for run in view.runs if run.warnings],
        problems=view.problems,
        sections=view.sections,
        css=Markup(css),
        script=script,
        policy=_POLICY + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() + "'",
        data=Markup(_script_json(data)),
    )
    return text.lstrip()


def code(text: str) -> Markup:
    """Escaped, with what stands between backticks as code."""
    parts = (escape(part) for part in text.split("`"))
    return Markup("").join(Markup("<code>%s</code>") % part if i % 2 else part for i, part in enumerate(parts))


def _script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in, whatever texts it holds."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "&<>\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _runs_table(runs: Sequence[RunRecord]) -> Table:
    """One line a run; time and versions stand under provenance."""
    rows = (row(run.name, run.record.command, listed(run.models()), _data(run)) for run in runs)
    return Table("Runs in this report", ("run", "command", "models", "data"), tuple(rows), form="words")


def _data(run: RunRecord) -> str:
    """What a run was made on, as far as it says."""
    given = run.config.get("data")  # None where the command chose
    said = [given] if given is not None else [its.provenance.get("data") for its in run.maps.values()]
    return ", ".join(dict.fromkeys(plain(its) for its in said if its))
