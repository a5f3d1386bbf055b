"""`directions ccs` and `directions polarity`, as a user runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import refused, run

from lens_truth.geometry import ccs, ccs_fit, polarity
from lens_truth.geometry.ccs_result import Consistency
from lens_truth.geometry.polarity_result import Polarity
from lens_truth.page.write import write_report

pytestmark = pytest.mark.usefixtures("no_pdfs")

CITIES = {"Lodz": "Poland", "Lima": "Peru", "Lyon": "France", "Oslo": "Norway", "Rome": "Italy", "Cairo": "Egypt"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """CCS for a few steps."""

    def few(first: Any, second: Any, starts: Any, _: int) -> ccs_fit.CcsProbes:
        return ccs_fit.fit_ccs(first, second, starts[:2], 40)

    for module in (ccs, polarity):
        monkeypatch.setattr(module, "fit_ccs", few)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Statements about cities, and their negations."""
    countries = list(CITIES.values())
    rows = [
        (city, country, int(country == own))
        for number, (city, own) in enumerate(CITIES.items())
        for country in (own, countries[(number + 1) % len(countries)])
    ]
    found: dict[str, Path] = {}
    for name, word in (("cities", "is"), ("neg_cities", "is not")):
        lines = [f"The city of {city} {word} in {country}.,{label ^ (word != 'is')}" for city, country, label in rows]
        found[name] = tmp_path / f"{name}.csv"
        found[name].write_text("\n".join(["statement,label", *lines]) + "\n")
    joined = [
        f"It is the case both that the city of {one} is in {a} and that the city of {other} is in {b}.,{x & y}"
        for (one, a, x), (other, b, y) in zip(rows, [*rows[2:], *rows[:2]], strict=True)
    ]
    found["conj"] = tmp_path / "cities_conj.csv"
    found["conj"].write_text("\n".join(["statement,label", *joined]) + "\n")
    return found


QUICK = ("--at", "resid_post", "--folds", "3")


@pytest.mark.zoo
def test_ccs_without_data_of_ones_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "ccs"
    code, said, _ = run(capsys, "directions", "ccs", *QUICK, "--limit", "60", "--shuffles", "1", "--out", out)
    assert code == 0
    assert "CCS" in said and "written to" in said and "zoo-text.png" in said
    assert {"zoo-text.png", "zoo-text.pdf", "result.json"} <= {path.name for path in out.iterdir()}
    found = Consistency.load(out, "zoo:text")
    assert (found.n_pairs, found.sides, found.point, found.either.shape) == (30, "drawn", "resid_post", (6, 1))
    page = tmp_path / "page.html"
    write_report([out], out=page)
    assert "CCS of zoo:llama-base on zoo:text" in page.read_text()
    again = run(capsys, "directions", "ccs", *QUICK, "--limit", "60", "--shuffles", "1", "--out", out)
    assert again[0] == 0
    assert Consistency.load(out, "zoo:text") == found


@pytest.mark.zoo
@pytest.mark.parametrize("contrast", ["statement", "answer"])
def test_ccs_of_statements_and_their_negations(
    contrast: str, files: dict[str, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = ("--data", files["cities"], "--negated", files["neg_cities"], "--contrast", contrast)
    code, said, _ = run(capsys, "directions", "ccs", *given, *QUICK, "--shuffles", "1", "--out", tmp_path / "out")
    assert code == 0
    assert ("PA-CCS" in said or "polar consistency" in said) == (contrast == "answer")
    found = Consistency.load(tmp_path / "out", "cities")
    assert found.n_pairs == (12 if contrast == "statement" else 24)
    assert found.has_answers == (contrast == "answer")
    assert found.n_groups == 6


@pytest.mark.zoo
def test_polarity_without_data_of_ones_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "polarity"
    code, said, _ = run(capsys, "directions", "polarity", *QUICK, "--limit", "120", "--out", out)
    assert code == 0
    assert "bag of words" in said
    assert {"polarity.png", "polarity.pdf", "result.json"} <= {path.name for path in out.iterdir()}
    found = Polarity.load(out)
    assert found.roles == ("affirmative", "negated", "tested", "tested", "tested")
    assert found.methods[-1] == "CCS"
    page = tmp_path / "page.html"
    write_report([out], out=page)
    assert "Truth directions of zoo:llama-base over kinds of statements" in page.read_text()


@pytest.mark.zoo
def test_polarity_of_statements(files: dict[str, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    given = ("--data", files["cities"], "--negated", files["neg_cities"], "--test", files["conj"])
    code, _, _ = run(capsys, "directions", "polarity", *given, *QUICK, "--out", tmp_path / "out")
    assert code == 0
    found = Polarity.load(tmp_path / "out")
    assert found.names == ("cities", "neg_cities", "cities_conj")
    assert found.n_rows[2] < 12  # of two cities that are held out in different folds


@pytest.mark.parametrize("command", ["ccs", "polarity"])
def test_every_set_needs_its_own_negations(
    command: str, files: dict[str, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = ("--data", files["cities"], files["conj"], "--negated", files["neg_cities"], "--out", tmp_path / "out")
    refused(capsys, "--data names 2 sets and --negated 1; each needs its own", "directions", command, *given)


@pytest.mark.zoo
def test_statements_without_a_negation_are_counted(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lines = files["neg_cities"].read_text().splitlines()
    files["neg_cities"].write_text("\n".join(lines[:-2]) + "\n")
    given = ("--data", files["cities"], "--negated", files["neg_cities"], *QUICK, "--out", tmp_path / "out")
    refused(capsys, "2 of 12 statements have no negation", "directions", "ccs", *given)
