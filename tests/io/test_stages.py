"""Where the time of long work goes, and bars with a time to go."""

from __future__ import annotations

import io
import json
import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest
from conftest import run

from lens_truth.io import stages
from lens_truth.io.stages import OTHER, bar, clock, seconds_by_stage, stage


class Clockwork:
    """A time that passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(stages.time, "perf_counter", lambda: self.now)

    def passes(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clockwork(monkeypatch: pytest.MonkeyPatch) -> Clockwork:
    return Clockwork(monkeypatch)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def watched(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """What stands on stderr from now on (a fixture would be too early: pytest sets stderr once more)."""
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    return terminal


def test_what_is_inside_counts_once_and_to_the_inner_stage(clockwork: Clockwork) -> None:
    @stage("inner")
    def inner(seconds: float) -> None:
        clockwork.passes(seconds)

    with clock() as running:
        clockwork.passes(1)
        with stage("outer"):
            clockwork.passes(2)
            inner(4)
            clockwork.passes(8)
        inner(16)
        clockwork.passes(32)
        assert seconds_by_stage() == {"outer": 10, "inner": 20, OTHER: 33}
        assert seconds_by_stage() == running.seconds()  # to read it changes nothing
        assert running.told() == "where the time went: outer 10.0 s, inner 20.0 s, other 33.0 s"
    assert seconds_by_stage() == {}


def test_an_error_ends_its_stage(clockwork: Clockwork) -> None:
    with clock() as running:
        with suppress(ValueError), stage("outer"), stage("inner"):
            clockwork.passes(3)
            raise ValueError
        clockwork.passes(2)
        assert running.seconds() == {"inner": 3, "outer": 0, OTHER: 2}
        assert running.told() == "where the time went: inner 3.0 s, other 2.0 s"


def test_a_clock_is_its_command_s_alone(clockwork: Clockwork) -> None:
    """Neither one inside another nor another thread changes it; without one, nothing is taken down."""

    def elsewhere() -> None:
        with stage("elsewhere"):
            pass

    with stage("before"):
        clockwork.passes(1)
    with clock() as running, stage("mine"):
        with clock() as inner, stage("its own"):
            clockwork.passes(2)
        thread = Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert inner.seconds() == {"its own": 2, OTHER: 0}
        assert running.seconds() == {"mine": 2, OTHER: 0}
        assert running.told() == ""  # of what is short


def test_a_bar_tells_the_time_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = watched(monkeypatch)
    with clock(), bar(None, "capture", 40) as done:
        for rows in (20, 10):
            time.sleep(0.15)
            done.update(rows)
        assert re.search(r"capture: +50%\|[^|]+\| 00:0\d, 00:0\d to go", terminal.getvalue())
    assert list(bar("abc", "letters", shown=True)) == ["a", "b", "c"]  # as `progress=True` asks for it in a script
    assert "letters:   0%|" in terminal.getvalue()
    assert not terminal.getvalue().rsplit("\r", 2)[-2].strip()  # it leaves nothing behind


def test_no_bar_where_nobody_asked_or_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = watched(monkeypatch)
    assert list(bar(range(3), "a script")) == [0, 1, 2]
    assert terminal.getvalue() == ""
    monkeypatch.setattr(sys, "stderr", file := io.StringIO())
    with clock():
        assert list(bar(range(3), "a command into a file")) == [0, 1, 2]
    assert file.getvalue() == ""


def test_a_command_shows_bars_on_a_terminal_and_says_where_the_time_went(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = watched(monkeypatch)
    monkeypatch.setattr(stages, "_LONG", 0)
    code, said, _ = run(capsys, "check")
    assert code == 0
    assert re.search(r"checks: +[1-9]\d*%\|.+?, \d\d:\d\d to go", terminal.getvalue())
    assert re.search(r"where the time went: .*checks [\d.]+ s", said.strip())


@pytest.mark.zoo
def test_a_record_says_where_the_time_went(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    flags = ("--limit", "60", "--permutations", "20", "--out", tmp_path)
    code, _, err = run(capsys, "probe", *flags)
    assert code == 0 and err == ""
    record = json.loads((tmp_path / "result.json").read_text())
    spent = record["seconds_by_stage"]
    assert {"data", "load", "probes", "bootstrap", "figures", OTHER} <= spent.keys()
    assert list(spent)[-1] == OTHER and min(spent.values()) >= 0
    assert sum(spent.values()) == pytest.approx(record["seconds"], abs=0.011)
    assert spent["load"] > 0 and spent["figures"] > 0
    run(capsys, "report", tmp_path, "--out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert all(f"seconds: {name}" in page for name in spent)
