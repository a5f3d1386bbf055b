"""Looking at one example: what is put together, which heads are chosen, and the page and the picture that show it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which
from typing import Any

import circuitsvis
import jaxtyping
import numpy as np
import pytest
from circuitsvis import attention
from circuitsvis.utils import render
from drawn import faults
from PIL import Image

from lens_truth.attention import view_page as page_module
from lens_truth.attention.measuring import patterns, query_row
from lens_truth.attention.one_example import AttentionView, Group, Picture, gathered, groups_of, in_one_line, said_of
from lens_truth.attention.show import show_heads
from lens_truth.attention.view_page import attention_page, circuits_bundle, circuits_script
from lens_truth.data.examples import Example
from lens_truth.data.loading import load_examples
from lens_truth.errors import InputError
from lens_truth.models.prompts import encode

NASTY = "</script><script>document.title = 'broken out'</script><!--"
HEADS = [(layer, head) for layer in (5, 13, 20, 31) for head in (0, 17)]


def made(
    n_tokens: int,
    n_heads: int = 2,
    *,
    evidence: tuple[int, ...] = (),
    context: bool = True,
    picture: Picture | None = None,
    word: str = " word",
) -> AttentionView:
    """A view of made attention: two tokens of prompt, the context, ten of question, three of answer."""
    weights = np.random.default_rng(n_tokens).random((n_heads, n_tokens, n_tokens)).astype(np.float32) ** 8
    weights[..., 0] += 1
    weights = np.tril(weights)
    return AttentionView(
        model="org/a-model",
        example=Example("row-1", "g", f"What is {NASTY}?", f"it is <b>{NASTY}</b>", 1, "context"),
        heads=tuple(HEADS[:n_heads]),
        patterns=weights / weights.sum(-1, keepdims=True),
        tokens=("<s>", "Context:\n", *(f"{word}{i}" for i in range(2, n_tokens))),
        context=(2, n_tokens - 13) if context else None,
        answer=(n_tokens - 3, n_tokens),
        evidence=evidence,
        picture=picture,
    )


def quarters(evidence: tuple[Any, ...] = ()) -> Picture:
    """20 x 20 pixels in four tokens, behind them one for a new line, and one that shows the whole again."""
    boxes = [[0, 0, 10, 10], [10, 0, 20, 10], [0, 10, 10, 20], [10, 10, 20, 20], [np.nan] * 4, [0, 0, 20, 20]]
    return Picture(Image.new("RGB", (20, 20), "white"), (3, 9), np.array(boxes, dtype=float), evidence)


# -- putting tokens together ------------------------------------------------------------------------------------------


def test_attention_is_summed_over_keys_and_averaged_over_queries() -> None:
    pattern = np.array([[[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.2, 0.3, 0.5, 0], [0.1, 0.2, 0.3, 0.4]]])
    together = gathered(pattern, [[0], [1, 2], [3]])
    np.testing.assert_allclose(together, [[[1, 0, 0], [0.35, 0.65, 0], [0.1, 0.5, 0.4]]])
    apart = gathered(pattern, [[0, 2], [1], [3]])  # of an image, the evidence and the rest are mixed
    np.testing.assert_allclose(apart, [[[0.85, 0.15, 0], [0.5, 0.5, 0], [0.4, 0.2, 0.4]]])


def partition(groups: list[Group], n_tokens: int) -> None:
    assert sorted(at for group in groups for at in group.tokens) == list(range(n_tokens))


def test_what_fits_stays_apart() -> None:
    shown = made(150, evidence=(20, 21))
    groups = groups_of(shown)
    assert [group.tokens for group in groups] == [(at,) for at in range(150)]
    assert [group.label for group in groups] == list(shown.tokens)
    assert [at for at, group in enumerate(groups) if group.is_evidence] == [20, 21]
    assert said_of(groups) == ""


@pytest.mark.parametrize("context", [True, False])
def test_long_contexts_are_put_together_around_the_evidence(context: bool) -> None:
    shown = made(1000, evidence=(300, 301, 700), context=context)
    groups = groups_of(shown)
    partition(groups, 1000)
    assert 75 < len(groups) <= 150
    assert [group.tokens[0] for group in groups] == sorted(group.tokens[0] for group in groups)
    assert all(group.tokens == tuple(range(group.tokens[0], group.tokens[-1] + 1)) for group in groups)
    alone = {group.tokens[0] for group in groups if len(group.tokens) == 1}
    assert {0, 300, 301, 700, 997, 998, 999} <= alone and (not context or {1, *range(987, 997)} <= alone)
    assert {group.tokens for group in groups if group.is_evidence} == {(300,), (301,), (700,)}
    chunk = next(group for group in groups if len(group.tokens) > 1)
    first, last = shown.tokens[chunk.tokens[0]], shown.tokens[chunk.tokens[-1]].strip()
    assert chunk.label == f"{first} … {last} ({len(chunk.tokens)} tokens)"
    assert said_of(groups).startswith("Of 1,000 tokens of text, neighbours are put together, up to ")
    rows = gathered(shown.patterns, [group.tokens for group in groups]).sum(-1)
    np.testing.assert_allclose(rows, 1, atol=1e-5)


def test_an_image_makes_two_groups_or_one() -> None:
    groups = groups_of(made(40, evidence=(4, 6), picture=quarters(((10, 0, 20, 10), (10, 10, 20, 20)))))
    partition(groups, 40)
    assert [(g.label, g.tokens, g.is_evidence) for g in groups if g.of_image] == [
        ("image: rest", (3, 5, 7, 8), False),
        ("image: evidence", (4, 6), True),
    ]
    assert said_of(groups).startswith("The 6 tokens of the image are put together, those that show evidence and")
    (one,) = (group for group in groups_of(made(40, picture=quarters())) if group.of_image)
    assert (one.label, one.tokens) == ("image", (3, 4, 5, 6, 7, 8))


def test_heat_is_attention_over_area() -> None:
    picture = quarters()
    weights = np.zeros(40)
    weights[[3, 4, 8]] = 0.1, 0.3, 0.4  # on the first quarter, the second, and the whole; to 100 and 400 pixels
    heat = picture.heat(weights, 4, 4)
    np.testing.assert_allclose(heat[:2, :2], (0.1 + 0.1) / (0.3 + 0.1))
    np.testing.assert_allclose(heat[:2, 2:], 1)
    np.testing.assert_allclose(heat[2:], 0.1 / 0.4)
    unseen = Picture(picture.image, (3, 5), picture.boxes[:2], ()).heat(weights, 40, 40)
    assert np.isnan(unseen[20:]).all() and np.isfinite(unseen[:20]).all()


def test_labels_stay_in_one_line() -> None:
    assert [in_one_line(text, 9) for text in ("\n\n", " ", " word", "a\tb", "a" * 5 + "b" * 5)] == [
        *("↵↵", "␣", "word", "a→b", "aaaa…bbbb")
    ]


# -- from a model -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told() -> Example:
    return load_examples("zoo:conflict", limit=1)[0]


@pytest.fixture(scope="module")
def drawn() -> Example:
    return load_examples("zoo:image-conflict", limit=1)[0]


def test_named_heads_are_shown_with_their_patterns(tiny: Any, told: Example) -> None:
    view = show_heads(tiny, told, [(2, 1), (0, 3), (2, 1)])
    (row,) = encode(tiny.tokenizer, [told], "plain")
    assert view.heads == ((2, 1), (0, 3)) and view.names == ["L2 H1", "L0 H3"]
    np.testing.assert_array_equal(view.patterns, patterns(tiny, row, [(2, 1), (0, 3)]).numpy())
    assert view.query == row.answer[1] - 1 and "".join(view.tokens).endswith(f"Answer: {told.answer}")
    ((start, stop),) = told.evidence
    assert "".join(view.tokens[at] for at in view.evidence).strip() == told.context[start:stop]
    assert repr(view).startswith("<attention of L2 H1, L0 H3 of ")


def test_heads_are_named_by_pairs_of_any_kind(tiny: Any, told: Example) -> None:
    view = show_heads(tiny, told, [(1, 2), (0, 3)])
    kinds: tuple[Any, ...] = ([[1, 2], [0, 3]], np.array([[1, 2], [0, 3]]), zip([1, 0], [2, 3], strict=True))
    for heads in kinds:
        again = show_heads(tiny, told, heads)
        assert again.heads == view.heads and {type(number) for head in again.heads for number in head} == {int}
        np.testing.assert_array_equal(again.patterns, view.patterns)


def test_heads_are_chosen_by_what_they_give_the_evidence(zoo: Callable[[str], Any], told: Example) -> None:
    model = zoo("llama-memory")
    view = show_heads(model, told)
    (row,) = encode(model.tokenizer, [told], "plain")
    weights = query_row(model, row, view.query).numpy()[:, :, 1:]  # without the sink
    evidence = [at - 1 for at in view.evidence]
    lifts = weights[:, :, evidence].sum(-1) / weights.sum(-1) * view.query / len(evidence)
    best = np.sort(lifts, axis=None)[::-1][:4]
    np.testing.assert_allclose([lifts[head] for head in view.heads], best, rtol=1e-5)
    share = view.weights[0, list(view.evidence)].sum()
    assert view.said[0] == f"{share:.0%} on evidence, {best[0]:.1f} × chance"


def test_bad_input_is_named(tiny: Any, told: Example) -> None:
    plain = Example("x", "g", "What colour is the crown?", "coral", 1, "The crown is coral.")
    with pytest.raises(InputError, match=r"^the example has no evidence to choose heads by; name some: heads="):
        show_heads(tiny, plain)
    with pytest.raises(InputError, match="there is no head 9 in a layer 0: the model has 3 layers of 4 heads"):
        show_heads(tiny, told, [(0, 9)])
    with pytest.raises(InputError, match="no heads were named"):
        show_heads(tiny, told, [])
    with pytest.raises(InputError, match="is a text model, which cannot be shown images"):
        show_heads(tiny, Example("x", "g", "What?", "this", 1, image="black"), [(0, 0)])
    with pytest.raises(InputError, match=r"look\.svg: attention is saved as \.html or as \.png"):
        show_heads(tiny, plain, [(0, 0)]).save("look.svg")


@pytest.mark.parametrize(
    "heads", [(1, 2), ["1.2"], ["12"], [(1, 2, 3)], [(1.0, 2.0)], [None], 5, np.arange(2), "L1 H2"], ids=repr
)
def test_heads_that_are_no_pairs(tiny: Any, told: Example, heads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # nobody checks types for users
    with pytest.raises(InputError) as refused:
        show_heads(tiny, told, heads)
    assert str(refused.value) == "heads are named as pairs of layer and head, such as heads=[(5, 3), (4, 1)]"


def test_an_image_is_shown_by_its_patches(zoo: Callable[[str], Any], drawn: Example) -> None:
    view = show_heads(zoo("llava-memory"), drawn, [(1, 0), (2, 0)], template="plain")
    assert view.picture is not None
    first, stop = view.picture.span
    assert stop - first == len(view.picture.boxes) == 16
    ((_, top, _, bottom),) = drawn.boxes  # a floor of the house, of four patches
    floor = view.picture.boxes[[at - first for at in view.evidence]]
    np.testing.assert_allclose(floor[:, [1, 3]], [[top, bottom]] * 4, atol=0.1)
    html = view._repr_html_()
    assert html.count('<svg viewBox="0 0 48 48"') == 2 and html.count('stroke-dasharray="6 4"') == 2
    assert html.count("data:image/png;base64,") == 3  # the picture once, and what dims it for each head
    assert f"{view.weights[0, first:stop].sum():.0%} on the image" in html


# -- pages and pictures -----------------------------------------------------------------------------------------------


def test_the_same_view_gives_the_same_bytes(tiny: Any, tmp_path: Path) -> None:
    written, short = [], Example("x", "g", "What colour?", "coral", 1, "A coral crown.", evidence=((2, 7),))
    for run in ("one", "two"):
        view = show_heads(tiny, short, [(0, 0), (1, 2)])
        for suffix in ("html", "png"):
            view.save(tmp_path / run / f"view.{suffix}")
        written.append({path.name: path.read_bytes() for path in (tmp_path / run).iterdir()})
    assert written[0] == written[1] and set(written[0]) == {"view.html", "view.png", "view.pdf"}
    one, other = (_id(show_heads(tiny, short, [(0, 0), (1, head)])._repr_html_()) for head in (2, 3))
    assert one in written[0]["view.html"].decode() and one != other


def _id(html: str) -> str:
    return html.partition('<div class="lens-truth" id="')[2].partition('"')[0]


def test_nothing_reaches_for_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> bool:
        raise AssertionError("CircuitsVis asked for the network")

    monkeypatch.setattr(render, "internet_on", refuse)
    html = made(30, evidence=(4,))._repr_html_()
    assert "unpkg.com" not in html and "sourceMappingURL" not in html and "import {" not in html
    assert html.count("var CircuitsVis=") == 1 and html.count("</script") == 1


def test_circuitsvis_is_called_as_it_calls_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade that draws in another way is named here, not found by a reader whose page stays empty."""
    upgraded = f"CircuitsVis {circuitsvis.__version__}"
    view = made(3, 2, context=False)
    groups = groups_of(view)
    own = attention.attention_heads(
        attention=view.patterns.astype(float).round(4),
        tokens=[in_one_line(group.label, 28) for group in groups],
        attention_head_names=view.names,
        mask_upper_tri=True,
    ).local_src
    ours = circuits_script("x", view.patterns, groups, view.names)
    bundle, call = own.rsplit("CircuitsVis.render(", 1)
    assert "var CircuitsVis=" in bundle, f"{upgraded} no longer makes `CircuitsVis`"
    id, element, props = (part.strip() for part in call.rsplit(")", 1)[0].split(",", 2))
    assert re.fullmatch('"[^"]+"', id) and element == "CircuitsVis.AttentionHeads", f"{upgraded} draws otherwise"
    written = ours.partition("CircuitsVis.AttentionHeads, ")[2].partition(");\n")[0]
    assert json.loads(written) == json.loads(props), f"{upgraded} wants other properties"

    monkeypatch.setattr(circuitsvis, "__file__", "/nowhere/circuitsvis/__init__.py")
    circuits_bundle.cache_clear()
    with pytest.raises(InputError, match=rf"^{upgraded} does not bring circuitsvis/dist/cdn/iife\.js as 1\.43 does"):
        view._repr_html_()
    circuits_bundle.cache_clear()


@pytest.mark.parametrize(
    "shown",
    [
        made(60, 8, evidence=(20, 21, 22)),
        made(60, 1),
        made(1200, 4, evidence=(20, 21, 22, 600), word=" $a_long$word"),
        made(40, 6, evidence=(4,), picture=quarters(((10, 0, 20, 10),))),
    ],
    ids=["60 tokens, 8 heads", "one head", "1200 tokens", "6 heads, picture"],
)
def test_pictures_can_be_read(shown: AttentionView) -> None:
    assert list(faults(shown.plot())) == []


def test_a_head_that_looks_at_nothing_but_the_first_token() -> None:
    view = made(20, 1)
    view.patterns[:] = 0
    view.patterns[..., 0] = 1
    assert "L5 H0" in view._repr_html_() and list(faults(view.plot())) == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One context of one browser, whose pages do not see each other."""
    chromium = which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium here (`make browser` installs it)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield found.new_context(viewport={"width": 1000, "height": 800})
        found.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that may load nothing but itself and must not complain."""
    opened = browser.new_page()
    heard: list[str] = []
    opened.on("console", lambda message: heard.append(message.text))
    opened.on("pageerror", lambda error: heard.append(str(error)))
    opened.on("request", lambda request: heard.append(request.url) if request.url != opened.url else None)
    yield opened
    assert [line for line in heard if not line.startswith(("file:", "data:"))] == []
    assert sum(line.startswith("file:") for line in heard) <= 1
    opened.close()


@pytest.mark.browser
def test_the_page_opens_from_a_file(page: Any, tmp_path: Path) -> None:
    shown = made(30, 3, evidence=(4, 5), word=f" {NASTY}", picture=quarters(((10, 0, 20, 10),)))
    shown.save(tmp_path / "view.html")
    page.goto((tmp_path / "view.html").as_uri())
    page.wait_for_selector("text=L5 H0 Zoomed")
    assert page.title() == "What 3 heads of org/a-model look at"
    text = page.inner_text("body")
    assert "Example: row-1" in text and f"Question: What is {NASTY}?" in text and "(supported)" in text
    assert "Evidence is in «bold», with a line under it." in text and "Evidence is inside the dashed line." in text
    assert "The 6 tokens of the image are put together, those that show evidence and the rest." in text
    strips = page.query_selector_all(".strip")
    assert len(strips) == 3 and strips[0].inner_text().count(NASTY) == 30 - 2 - 6
    assert "«image: evidence»" in strips[0].inner_text()
    assert [e.inner_text() for e in page.query_selector_all("h3:has(small)")] == [
        f"{name} {said}" for name, said in zip(shown.names, shown.said, strict=True)
    ]
    assert [e.inner_text().split()[0:2] for e in page.query_selector_all("figcaption")] == [
        name.split() for name in shown.names
    ]
    for picture in page.query_selector_all("svg[role=img]"):
        assert "on the image; most to one patch" in picture.get_attribute("aria-label")
    page.click("text=L13 H0 >> nth=-1")  # the head selector of CircuitsVis
    page.wait_for_selector("text=L13 H0 Zoomed")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.browser
def test_large_patterns_are_drawn_when_asked_for(page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "_AT_ONCE", 2 * 20**2)
    assert 'all" open>' in attention_page(made(20, 2))
    made(21, 2, evidence=(4, 5)).save(tmp_path / "view.html")
    page.goto((tmp_path / "view.html").as_uri())
    assert page.query_selector_all("canvas") == []
    page.click("summary")
    page.wait_for_selector("canvas")


@pytest.mark.browser
def test_a_notebook_may_show_a_view_twice(page: Any, tmp_path: Path) -> None:
    fragment = made(12, 1, evidence=(4,))._repr_html_()
    (tmp_path / "notebook.html").write_text(f"<!doctype html><title>x</title>{fragment}<hr>{fragment}", "utf-8")
    page.goto((tmp_path / "notebook.html").as_uri())
    page.wait_for_function("document.querySelectorAll('.lens-truth .scroll canvas').length >= 2")
    assert all(page.evaluate("[...document.querySelectorAll('.lens-truth')].map(e => !!e.querySelector('canvas'))"))
