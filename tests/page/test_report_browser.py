"""The report in headless Chromium, opened from a file."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reports
from playwright.sync_api import Browser, Locator, Page, sync_playwright
from reports import OTHER

import lens_truth
from lens_truth.confounds.audit_result import Audit
from lens_truth.errors import DataWarning
from lens_truth.io.numbers import number, short
from lens_truth.io.tables import written
from lens_truth.scoring.scores import HeadScores

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; `make browser` installs it"),
]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-sync", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


def report(folder: Path, *runs: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return lens_truth.write_report(runs, out=folder / "report.html")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with everything in it; its first model has attention."""
    folder = tmp_path_factory.mktemp("report")
    return report(
        folder,
        reports.evidence_run(folder / "evidence", image=True),
        reports.probe_run(folder / "probe", reports.scores(seed=5), warnings=["SURFACE CONFOUND: length tells"]),
        reports.probe_run(folder / "large", reports.scores(shape=(32, 32), weights=OTHER, model="org/large")),
        reports.inherit_run(folder / "inherit", n=11),
        reports.weights_run(folder / "weights"),
        reports.ablate_run(folder / "ablate"),
        reports.write_run(folder / "audit", "audit", {"audit": {"mine": Audit(11, 3, 6, 0.5, "", 0, 0).as_dict()}}),
        folder / "nothing",
    )


class Opened:
    """Pages, and what they requested or complained of."""

    def __init__(self, browser: Browser) -> None:
        self._browser, self._pages, self._wrong = browser, list[Page](), list[str]()

    def __call__(self, path: Path, **settings: Any) -> Page:
        def asked(url: str) -> None:
            if url.partition("#")[0] != path.as_uri() and not url.startswith("data:"):
                self._wrong.append(url)

        page = self._browser.new_page(**settings)
        self._pages.append(page)
        page.on("console", lambda message: self._wrong.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: self._wrong.append(f"error: {error}"))
        page.on("request", lambda request: asked(request.url))
        page.goto(path.as_uri())
        return page

    def close(self) -> None:
        for page in self._pages:
            page.close()
        assert not self._wrong


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Opened]:
    """Opens files as a reader would."""
    opened = Opened(browser)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def shared(browser: Browser, path: Path) -> Iterator[Page]:
    opened = Opened(browser)
    yield opened(path)
    opened.close()


@pytest.fixture
def page(shared: Page) -> Page:
    """The report on a desk, without a panel; opened once for all tests that leave it as it is."""
    shared.keyboard.press("Escape")
    shared.evaluate("document.activeElement.blur(), scrollTo(0, 0)")
    return shared


def head(page: Page, layer: int, number: int, map: str = "m0-0") -> Locator:
    return page.locator(f'[role=gridcell][data-at="{map} {layer} {number}"]')


def recorded(path: Path, run: str) -> dict[str, Any]:
    return json.loads((path.parent / run / "result.json").read_text())["results"]


def test_opens_with_warnings_first(page: Page) -> None:
    assert page.locator("h1").inner_text() == "Report on 7 runs"
    box = page.locator("#warnings")
    assert "SURFACE CONFOUND: length tells" in box.inner_text()
    assert "2 gates are negative" in box.inner_text() and "nothing there is no such file or folder" in box.inner_text()
    assert box.bounding_box()["y"] < page.locator("#heads").bounding_box()["y"]  # pyright: ignore
    assert "2 warnings and" in page.locator(".first").inner_text()
    # from evidence, of the base, its child, the large model and the lineage
    assert page.locator(".heat").count() == 4 + 2 + 1 + 1 + 22
    assert page.locator("circle.point").count() == 12 * 5


def test_a_click_on_a_head_shows_its_panel(page: Page, path: Path) -> None:
    truth = next(its for title, its in recorded(path, "evidence")["head_scores"].items() if its["kind"] == "truth")
    assert page.locator("#panel").is_hidden()
    head(page, 1, 2).click()
    panel = page.locator("#panel")
    assert panel.get_by_role("heading", level=2).inner_text() == "Layer 1, head 2"
    row = panel.locator("tbody tr").first.inner_text()
    value = truth["values"][1][2]
    rank = 1 + sum(other > value for line in truth["values"] for other in line)
    assert f"{value:.3f}" in row and f"[{value - 0.05:.3f}, {value + 0.04:.3f}]" in row and f"{rank} of 12" in row
    named = [text.split("\n")[0] for text in panel.locator("tbody th").all_inner_texts()]
    assert named[:3] == ["truth scores", "truth scores", "causal scores"] and {"evidence", "lookback"} <= set(named)

    example = panel.locator("article").first
    assert example.locator("h4").inner_text() == "Colour?" and "coral (supported)" in example.inner_text()
    assert "Weight on: evidence 0.500, first token (sink) 0.250, left out 0.125." in example.inner_text()
    assert "Most: patch 2: 0.500 (evidence), “<s>”: 0.250 (sink), “.”: 0.125." in example.inner_text()
    assert "Evidence in the text: “The crown is coral”" in example.inner_text()
    tokens = example.locator(".tokens .token")
    assert tokens.all_inner_texts()[:3] == ["<s>", "picture: 4 tokens, 0.500", " The"]
    assert example.locator(".tokens .evidence").all_inner_texts() == [" The", " crown", " is", " coral"]
    assert example.locator(".tokens .query").all_inner_texts() == [" coral"]
    shades = [float(tokens.nth(i).evaluate("e => getComputedStyle(e).getPropertyValue('--t')")) for i in (0, 2, 6)]
    assert shades == pytest.approx([50, 0, 100 * 0.125**0.5], abs=0.1)


def test_the_picture_lies_under_its_weights(page: Page) -> None:
    head(page, 1, 2).click()
    picture = page.locator("#panel .picture").first
    image = picture.locator("img")
    assert image.evaluate("i => i.complete && i.naturalWidth") == 20
    assert "0.500 of the attention is on the picture" in (image.get_attribute("alt") or "")
    assert "pixels 0 to 9 across, 11 to 20 down" in (image.get_attribute("alt") or "")
    patches = picture.locator(".patch")
    assert patches.count() == 3  # padding has no place
    boxes = [patches.nth(i).bounding_box() or {} for i in range(3)]
    whole = image.bounding_box() or {}
    assert boxes[2]["x"] == pytest.approx(whole["x"]) and boxes[2]["y"] == pytest.approx(
        whole["y"] + whole["height"] / 2
    )
    assert boxes[2]["width"] == pytest.approx(whole["width"] / 2)
    opacity = [float(patches.nth(i).evaluate("e => getComputedStyle(e).fillOpacity")) for i in range(3)]
    assert opacity == pytest.approx([0, 0, 0.7 * 0.5**0.5], abs=0.01)
    assert picture.locator(".evidence-box").count() == 1


def test_the_keyboard_does_what_the_mouse_does(page: Page) -> None:
    page.locator("a").first.focus()  # to skip what comes before the heads
    assert page.locator(":focus").inner_text() == "Skip to the heads"
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.dataset.at ?? document.activeElement.tagName"))
        if reached[-1] == "m0-0 0 0":
            break
    assert reached[-1] == "m0-0 0 0"
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)  # the last column is not left to the right
    focused = page.locator(":focus")
    assert focused.get_attribute("data-at") == "m0-0 1 2"
    assert re.match(
        r"layer 1, head 2: 0\.\d{3}, interval \[0\.\d{3}, .*null p 0", focused.get_attribute("aria-label") or ""
    )
    assert page.locator("#tip").inner_text().startswith("layer 1, head 2\nscore 0.")
    for key in ("Enter", " "):
        page.keyboard.press(key)
        assert page.locator(":focus").inner_text() == "Layer 1, head 2"
        page.keyboard.press("Escape")
        assert page.locator("#panel").is_hidden()
        assert page.locator(":focus").get_attribute("data-at") == "m0-0 1 2"
    page.keyboard.press("End")
    assert page.locator(":focus").get_attribute("data-at") == "m0-0 1 3"
    page.keyboard.press("Control+Home")
    assert page.locator(":focus").get_attribute("data-at") == "m0-0 0 0"
    page.keyboard.press("Tab")  # one stop a map
    assert page.locator(":focus").get_attribute("data-at") is None


def test_the_panel_leads_on_to_other_heads(page: Page) -> None:
    head(page, 0, 0).click()
    assert page.get_by_role("button", name="Layer −").is_disabled()
    page.get_by_role("button", name="Head +").click()
    assert page.locator("#panel h2").inner_text() == "Layer 0, head 1"
    assert page.locator(":focus").inner_text() == "Head +"
    assert head(page, 0, 1).evaluate("e => e.classList.contains('chosen')")
    head(page, 2, 3, "m0-1").click()  # the page stays at hand
    assert page.locator("#panel h2").inner_text() == "Layer 2, head 3"
    page.get_by_role("button", name="Close").click()
    assert page.locator(":focus").get_attribute("data-at") == "m0-1 2 3"
    assert page.locator(".chosen").count() == 0


def test_a_map_of_other_weights_has_no_attention_and_says_why(page: Page) -> None:
    page.locator('[data-head^="m1."]').first.click()
    panel = page.locator("#panel")
    assert OTHER in panel.inner_text() and panel.locator("article").count() == 0
    assert "what there is was read from other weights, those of org/base" in panel.locator(".missing").inner_text()


def test_pointing_tells(page: Page) -> None:
    tip = page.locator("#tip")
    head(page, 0, 0, "m0-3").hover()  # evidence has no null
    assert tip.inner_text().startswith("layer 0, head 0\nscore ") and tip.inner_text().endswith("null p not computed")
    page.locator("td[role=gridcell]").nth(1).hover()
    assert re.match(r"model-0 - model-1: r −?\d\.\d{3} \[.*\]; p \(Holm\) ", tip.inner_text())
    point = page.locator("circle.point").first
    point.hover()
    assert "attention to the evidence, times chance: " in tip.inner_text()
    point.click()
    layer, number = re.findall(r"\d+", point.get_attribute("aria-label") or "")[:2]
    assert page.locator("#panel h2").inner_text() == f"Layer {layer}, head {number}"


def test_numbers_fold_out(page: Page, path: Path) -> None:
    details = page.locator(".numbers").first
    details.locator("summary").click()
    table = details.locator("table")
    table.wait_for()
    assert table.locator("tr").count() == 4 and table.locator("td").count() == 13
    value = next(its for its in recorded(path, "evidence")["head_scores"].values() if its["kind"] == "truth")["values"][
        2
    ][3]
    assert table.locator("td").last.inner_text() == f"{value:.3f}"


def test_numbers_are_written_as_in_the_rest_of_the_page(tmp_path: Path, open_page: Opened) -> None:
    """Exact halves, small and large numbers are rounded as everywhere."""
    values = np.array([[0.0625, 0.1875, 0.8125], [-2.125, 1e-7, 12345.0], [0.97251, 1.0, 0.0]])
    for kind, write in (("truth", number), ("odd", short)):
        made = HeadScores(values, kind, provenance={"model": "m", "weights": "w"})
        page = open_page(report(tmp_path, reports.probe_run(tmp_path / kind, made)))
        page.locator(".numbers summary").click()
        page.locator(".numbers td").last.wait_for()
        expected = [written(write(value)) for value in values.ravel().tolist()]
        assert page.locator(".numbers tbody td").all_inner_texts() == expected


def test_a_phone_scrolls_down_only(path: Path, open_page: Opened) -> None:
    page = open_page(path, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    small = page.evaluate(
        """() => [...document.querySelectorAll("body *")]
            .filter((e) => e.checkVisibility() && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
            .map((e) => [parseFloat(getComputedStyle(e).fontSize), e.tagName, e.textContent.slice(0, 40)])
            .filter(([size]) => size < 12)"""
    )
    assert not small
    cell = page.locator('[data-head="m1.31.31"]').first
    cell.scroll_into_view_if_needed()  # inside its own box
    size = cell.bounding_box() or {}
    assert size["width"] >= 11 and size["height"] >= 11
    head(page, 1, 2).tap()
    assert page.locator("#panel h2").inner_text() == "Layer 1, head 2"
    assert page.locator("#panel").bounding_box()["width"] == 360  # pyright: ignore
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    wide = page.locator("#panel").evaluate("e => e.scrollWidth - e.clientWidth")
    assert wide <= 0


_CONTRAST = """(selector) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const rgb = (...layers) => {
    const key = layers.join();
    for (const colour of known.has(key) ? [] : layers) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    if (!known.has(key)) known.set(key, [...canvas.getImageData(0, 0, 1, 1).data]);
    return known.get(key);
  };
  const light = (c) => {
    const [r, g, b] = c.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  return [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility()).map((element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.unshift(getComputedStyle(e).backgroundColor);
    const ink = light(rgb("white", ...layers, getComputedStyle(element).color));
    const paper = light(rgb("white", ...layers));
    const [low, high] = [Math.min(paper, ink), Math.max(paper, ink)];
    return [(high + 0.05) / (low + 0.05), element.tagName, element.className, element.textContent.slice(0, 40)];
  });
}"""


def test_no_text_runs_out_of_its_cell(page: Page) -> None:
    wide = "[...document.querySelectorAll('td, th')].filter(c => c.scrollWidth > c.clientWidth + 1)"
    assert page.evaluate(f"{wide}.map(c => c.textContent)") == []


def test_both_themes_can_be_read(path: Path, open_page: Opened) -> None:
    papers = []
    for scheme in ("light", "dark"):
        page = open_page(path, color_scheme=scheme)
        head(page, 1, 2).click()
        papers.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        texts = "h1, h2, h3, h4, p, li, td, th, small, summary, a, figcaption, .token, #panel button:not(:disabled)"
        found = page.evaluate(_CONTRAST, texts)
        assert len(found) > 500
        assert not [one for one in found if one[0] < 4.5], scheme
    assert len(set(papers)) == 2


def test_everything_has_a_name_and_headings_are_in_order(page: Page) -> None:
    head(page, 1, 2).click()
    page.get_by_text("Every measure of each model").or_(page.get_by_text("All 55 pairs in numbers")).first.click()
    found = page.evaluate(
        """() => ({
          lang: document.documentElement.lang,
          levels: [...document.querySelectorAll("main :is(h1, h2, h3, h4), header h1")].map((h) => +h.tagName[1]),
          ids: [...document.querySelectorAll("[id]")].map((e) => e.id),
          dangling: [...document.querySelectorAll("[aria-labelledby]")].map((e) => e.getAttribute("aria-labelledby"))
            .filter((id) => !document.getElementById(id)?.textContent.trim()),
          nameless: [...document.querySelectorAll("img, svg[role], [role=grid], [role=gridcell].head, [role=region], "
            + "[role=group], button, circle, nav, section")]
            .filter((e) => !(e.alt || e.getAttribute("aria-label") || e.getAttribute("aria-labelledby")
              || e.textContent.trim())).map((e) => e.outerHTML.slice(0, 200)),
          links: [...document.querySelectorAll("a")].map((a) => a.getAttribute("href"))
            .filter((href) => !document.querySelector(href)),
        })"""
    )
    assert found["lang"] == "en" and found["levels"].count(1) == 1
    assert all(below - above <= 1 for above, below in zip(found["levels"], found["levels"][1:], strict=False))
    assert len(set(found["ids"])) == len(found["ids"])
    assert not found["dangling"] and not found["nameless"] and not found["links"]
    tree = page.locator("#heads").aria_snapshot()
    assert "- grid" in tree and "rowheader" in tree and 'gridcell "layer 1, head 2: ' in tree


def test_texts_of_runs_do_nothing(tmp_path: Path, open_page: Opened) -> None:
    hostile = reports.HOSTILE
    made = reports.scores(model=hostile, data=hostile)
    folder = reports.evidence_run(tmp_path / "evidence")
    record = json.loads((folder / "attention.json").read_text())
    for row in record["rows"]:
        row.update(question=hostile, answer=hostile, id=hostile, tokens=[hostile] * len(row["tokens"]))
    (folder / "attention.json").write_text(json.dumps(record))
    runs = [reports.probe_run(tmp_path / "<img src=x>", made, warnings=[hostile]), folder]
    page = open_page(report(tmp_path, *runs, reports.ablate_run(tmp_path / "ablate", model=hostile)))
    page.locator('[data-head="m0.1.2"]').first.click()
    assert hostile in page.locator("#panel article").first.inner_text()
    assert page.locator("img").count() == 0 and page.title().startswith("lens_truth: ")


def test_a_page_of_wide_maps_opens_quickly(tmp_path: Path, open_page: Opened) -> None:
    """80 layers of 64 heads."""
    page = open_page(report(tmp_path, reports.probe_run(tmp_path / "probe", reports.scores(shape=(80, 64)))))
    assert page.locator(".head").count() == 5120
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]  # pyright: ignore
    head(page, 79, 63).click()
    assert page.locator("#panel h2").inner_text() == "Layer 79, head 63"
