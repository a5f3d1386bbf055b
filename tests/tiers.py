"""The tier of every test, by what it needs; a run ends with a table of them.

A test's tier is its marker: `unit`, `zoo`, `published` or `browser`. It follows from the fixtures where these tell, is
written where a test gets at a model by its name, and is `unit` otherwise: `pytest -m unit` passes with the zoo's
checkpoints moved away.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

TIERS = ("unit", "zoo", "published", "browser")
FIXTURES = {"browser": "browser", "data": "published", "real": "published", "zoo": "zoo"}
"""What a fixture makes of the tests that use it; the first that is used counts."""


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


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        tier = tier_of(item)
        item.user_properties.append(("tier", tier))  # goes with the reports from xdist's workers
        if item.get_closest_marker(tier) is None:
            item.add_marker(tier)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    seconds: dict[str, float] = dict.fromkeys(TIERS, 0.0)
    counts: Counter[tuple[str, str]] = Counter()
    for outcome, reports in terminalreporter.stats.items():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                tier = str(dict(report.user_properties)["tier"])
                seconds[tier] += report.duration
                counts[tier, "failed" if outcome == "error" else outcome] += 1
    if not counts:
        return
    terminalreporter.section("tiers: tests, and seconds of all processes together")
    terminalreporter.line(f"{'':10}{'passed':>8}{'skipped':>9}{'failed':>8}{'seconds':>9}")
    for tier in TIERS:
        cells = (f"{counts[tier, outcome]:{n}}" for outcome, n in (("passed", 8), ("skipped", 9), ("failed", 8)))
        terminalreporter.line(f"{tier:10}{''.join(cells)}{seconds[tier]:9.1f}")
