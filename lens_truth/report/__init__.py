"""`report`: one self-contained page from the `result.json` of any runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lens_truth.callable_module import make_callable

DEFAULT_OUT = Path("runs/report.html")


def report(runs: Sequence[str | Path], *, out: str | Path = DEFAULT_OUT) -> Path:
    """Writes one HTML page that shows everything the runs' `result.json` files hold, and returns its path.

    The page is one file that loads nothing, so it can be opened from a disk and sent to others. The same runs give the
    same bytes. What is wrong with a run stands at the top of the page and is warned of (`DataWarning`).

    Args:
        runs: folders with a `result.json`, or such files themselves.
        out: a file name that ends in .html.

    Raises:
        InputError: if none of the runs can be read, or the page cannot be kept under 5 MB; nothing is written then.
    """
    from lens_truth.report.page import write_report

    return write_report([Path(run) for run in runs], Path(out))


make_callable(__name__, report)
