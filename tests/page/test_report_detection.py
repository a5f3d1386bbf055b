"""Detection on the page: its numbers, and texts in the colours of their scores."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from report_pages import Elements, reported
from reports import HOSTILE, write_run

from lens_truth.detection.result import Detection, Measured, Part, Worth
from lens_truth.detection.texts import ScoredAnswer, ScoredTexts, ScoredToken
from lens_truth.scoring.detector import Detector

CHROMIUM = shutil.which("chromium")
DETECTOR = Detector(((5, 3), (4, 1)), np.array([0.5, 0.5]), 0.0, "mean", 0.25, 1.0, 0.0, 40)
TOKENS = (
    ScoredToken(" the", -0.75, -1.5, ((5, 3, -0.5), (4, 1, -0.25))),
    ScoredToken(" attic", 1.25, float("nan"), ((4, 1, 0.75), (5, 3, 0.5))),
)


def answer(id: str, question: str = "Where is the heart?", label: int | None = 1) -> ScoredAnswer:
    return ScoredAnswer(id, question, label, 1.25, 0.777, -3.0, TOKENS)


def detection(question: str = "Where is the heart?") -> Detection:
    measured = Measured(0.9, 0.8, 0.95)
    measures = dict.fromkeys(
        ("auroc", "auprc", "accuracy", "brier", "ece", "aurc", "kept 25", "kept 50", "kept 75"), measured
    )
    behind = dict.fromkeys(("auroc", "accuracy", "aurc"), Measured(0.1, 0.05, 0.2))
    names = ("detector", "random heads", "log-probability", "length and last character")
    worth = {
        name: Worth(20 if name == "random heads" else 1, 0.25, measures, {} if name == "detector" else behind)
        for name in names
    }
    curve = {name: (0.0, 0.5, 1.0) for name in names if name != "random heads"}
    part = Part(20, 10, 10)
    return Detection(
        detector=DETECTOR,
        parts=dict.fromkeys(("train", "validation", "test"), part),
        worth=worth,
        tried={"mean 1": 0.8, "mean 2": 0.9, "logistic 1": 0.8, "logistic 2": 0.89},
        reliability=np.array([[0.05, 0.1, 10], *[[np.nan, np.nan, 0]] * 8, [0.95, 0.9, 10]]),
        coverage=np.array([0.0, 0.5, 1.0]),
        risk=curve,
        roc=curve,
        shown=(answer("a", question), answer("b", question, 0)),
        provenance={},
    )


def detect_run(folder: Path, question: str = "Where is the heart?") -> Path:
    texts = ScoredTexts(DETECTOR, 30, 7, (answer("c", "", None),))
    results = {"detection": detection(question).as_dict(), "texts": texts.as_dict()}
    return write_run(folder, "detect", results, config={"model": "zoo:llama-base", "data": "zoo:conflict"})


def test_numbers_and_texts(tmp_path: Path) -> None:
    page, warned = reported(tmp_path / "report.html", detect_run(tmp_path / "detect"))
    assert not warned and 'id="detection"' in page
    for said in detection().verdicts():
        assert said in page
    assert "random heads (mean of 20 draws)" in page and "7 of 30 answers are above 0.250." in page
    tokens = [its for tag, its in Elements(page).found if tag == "span" and "token" in str(its.get("class"))]
    assert len(tokens) == 6
    first, second = tokens[:2]
    assert first["class"] == "token minus doubted" and second["class"] == "token plus"
    assert (first["style"], second["style"]) == ("--t:100", "--t:100")
    assert first["data-tip"] == "score −0.75; L5 H3 −0.50, L4 H1 −0.25; log-probability −1.5"
    assert second["data-tip"] == "score 1.25; L4 H1 +0.75, L5 H3 +0.50"
    assert first["aria-label"] == f" the: {first['data-tip']}" and first["role"] == "gridcell"


def test_hostile_texts(tmp_path: Path) -> None:
    page, _ = reported(tmp_path / "report.html", detect_run(tmp_path / "detect", HOSTILE))
    assert "<img src=x" not in page and not any(tag == "img" for tag, _ in Elements(page).found)


def test_no_section_without_a_run(tmp_path: Path) -> None:
    page, _ = reported(tmp_path / "report.html", write_run(tmp_path / "audit", "audit", {}))
    assert 'id="detection"' not in page


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "detect", "detect", {"detection": {"detector": 3}})
    page, warned = reported(tmp_path / "report.html", folder)
    assert len(warned) == 1 and "results.detection" in warned[0] and "damaged here" in page


def test_figure_has_a_curve_for_each_of_the_known(tmp_path: Path) -> None:
    roc, risk, bins = detection().plot().axes
    assert len(roc.lines) == 3 + 1 and len(risk.lines) == 3
    assert [len(its.get_offsets()) for its in bins.collections] == [2]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; `make browser` installs it")
def test_keys_and_tips(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    reported(path := tmp_path / "report.html", detect_run(tmp_path / "detect"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page, wrong = browser.new_page(), list[str]()
        page.on("console", lambda message: wrong.append(message.text))
        page.goto(path.as_uri())
        page.locator("#detection details", has_text="token by token").locator("summary").first.click()
        tokens = page.locator("#detection .tokens").first.locator("[role=gridcell]")
        assert tokens.first.get_attribute("tabindex") == "0"
        tokens.first.focus()
        assert page.locator("#tip").inner_text().startswith("score −0.75")
        page.keyboard.press("ArrowRight")
        assert page.locator("#tip").inner_text().startswith("score 1.25")
        tokens.first.hover()
        assert page.locator("#tip").inner_text().startswith("score −0.75")
        colours = [its.evaluate("its => getComputedStyle(its).backgroundColor") for its in tokens.all()]
        assert len(set(colours)) == 2
        assert "underline" in tokens.first.evaluate("its => getComputedStyle(its).textDecorationLine")
        browser.close()
    assert not wrong
