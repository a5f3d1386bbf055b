"""The tier of every test, by what it needs; a run ends with a table of them.

A test's tier is its marker: `unit`, `zoo`, `published` or `browser`. It follows from the fixtures where these tell, is
written where a test gets at a model by its name, and is `unit` otherwise. That is checked: a test that opens a shipped
model or real data and does not say so fails. What a process opens that a test has started is not seen, nor what
safetensors opens by itself: that `pytest -m unit` passes with the zoo's checkpoints moved away shows both.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

TIERS = ("unit", "zoo", "published", "browser")
FIXTURES = {"browser": "browser", "data": "published", "zoo": "zoo"}
"""What a fixture makes of the tests that use it; the first that is used counts."""

_PLACES = {str(Path(__file__).parent.parent / "lens_truth" / "zoo" / "checkpoints"): ("zoo", "published", "browser")}
if "LENS_TRUTH_DATA" in os.environ:
    _PLACES[os.path.abspath(os.environ["LENS_TRUTH_DATA"])] = ("published",)  # noqa: PTH100 (keeps symbolic links)
_opened: list[str] = []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str | Path) and str(arguments[0]).startswith(tuple(_PLACES)):
        _opened.append(str(arguments[0]))


sys.addaudithook(_watch)


def tier_of(item: pytest.Item) -> str:
    """The one tier that the markers name, or else that the fixtures tell.

    Raises:
        pytest.UsageError: if markers name two.
    """
    named = {mark.name for mark in item.iter_markers() if mark.name in TIERS}
    if len(named) > 1:
        raise pytest.UsageError(f"{item.nodeid} is marked {' and '.join(sorted(named))}; a test has one tier")
    used = getattr(item, "fixturenames", ())
    return next(iter((*named, *(tier for name, tier in FIXTURES.items() if name in used), "unit")))


def _tier(of: pytest.Item | pytest.TestReport) -> str:
    return str(dict(of.user_properties)["tier"])


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if _opened:
        raise pytest.UsageError(f"{_opened[0]} is opened while tests are collected, before any test asks for it")
    for item in items:
        tier = tier_of(item)
        item.user_properties.append(("tier", tier))  # goes with the reports from xdist's workers
        if item.get_closest_marker(tier) is None:
            item.add_marker(tier)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Some commands take real data where they find it, so it is out of sight for all tests that are not about it."""
    _opened.clear()
    found = None if _tier(item) == "published" else os.environ.pop("LENS_TRUTH_DATA", None)
    try:
        return (yield)
    finally:
        if found is not None:
            os.environ["LENS_TRUTH_DATA"] = found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    result = yield
    tier = _tier(item)
    for path in _opened:
        if not any(path.startswith(place) and tier in may for place, may in _PLACES.items()):
            pytest.fail(f"a test of the tier '{tier}' opened {path}; mark it by what it needs (tests/tiers.py)")
    return result


def pytest_terminal_summary(terminalreporter: Any) -> None:
    seconds: dict[str, float] = defaultdict(float)
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for outcome, reports in terminalreporter.stats.items():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                tier = _tier(report)
                seconds[tier] += report.duration
                counts[tier, outcome] += 1
    if not seconds:
        return
    terminalreporter.section("tiers: tests, and seconds of all processes together")
    terminalreporter.line(f"{'':10}{'passed':>8}{'skipped':>9}{'failed':>8}{'seconds':>9}")
    for tier in TIERS:
        passed, skipped = (counts[tier, outcome] for outcome in ("passed", "skipped"))
        failed = counts[tier, "failed"] + counts[tier, "error"]
        terminalreporter.line(f"{tier:10}{passed:8}{skipped:9}{failed:8}{seconds[tier]:9.1f}")
