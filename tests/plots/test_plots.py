"""Figures at their hardest sizes: every text can be read, none is cut off; saved whole, the same bytes each time."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from drawn import faults
from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.style import context

from lens_truth import plots
from lens_truth.ablation.figures import ablation_bars, lambda_curves, random_gate_bars
from lens_truth.ablation.result import Ablation
from lens_truth.ablation.rows import Candidate, GateRow
from lens_truth.cli import COMMANDS
from lens_truth.detection.figures import DRAWN, detection_curves
from lens_truth.detection.result import Detection, Measured, Part, Worth
from lens_truth.detection.verification import ABOUT, Verification
from lens_truth.detection.verification_figures import verification_dots
from lens_truth.errors import InputError
from lens_truth.lineage.agreement import Heritability
from lens_truth.lineage.figures import correlation_matrix, preservation_scatter, reference_bars
from lens_truth.lineage.inheritance import heritability
from lens_truth.lineage.kept import WeightSimilarity, preservation
from lens_truth.plots import Panel, heatmap, heatmaps, in_house_style, new_figure, save, scatter
from lens_truth.plots.style import fitted, text_width
from lens_truth.scoring.detector import Detector
from lens_truth.scoring.scores import HeadScores

ROOT = Path(__file__).parents[2]
LONG = "models--Qwen--Qwen2.5-VL-7B-Instruct"
NAMES = [f"{LONG}-{i}" if i % 3 else f"/home/me/checkpoints/{LONG}/step_{i}000" for i in range(12)]
BENCHMARKS = ("conflict", "image-presence-adversarial", "image-conflict-describe", "my_own_questions_about_photographs")
KINDS = ("probe", "causal", "learned", "own causal")
SAID = "r -0.12, inside layers -0.34 (null -0.31 to 0.30, p = 0.00012)"


def script(name: str) -> ModuleType:
    """figures/NAME.py."""
    spec = importlib.util.spec_from_file_location(f"figures_{name}", ROOT / "figures" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def draws(L: int, H: int, n: int = 1) -> np.ndarray:
    return np.random.default_rng(L + H).uniform(0.45, 0.95, size=(n, L, H))


@cache
def lineage(*names: str) -> Heritability:
    """Of a made lineage, with noise that sets a ceiling, and a floor of two strangers."""
    rng = np.random.default_rng(1)
    base, scores = rng.normal(size=(6, 8)), {}
    for i, name in enumerate(names):
        true = base + (0.2 * i if i < len(names) - 3 else 9) * rng.normal(size=(6, 8))
        folds = true + 0.1 * rng.normal(size=(3, 6, 8))
        scores[name] = HeadScores(folds.mean(0), folds=folds)
    return heritability(scores, unrelated=names[-2:], n_permutations=1999, n_bootstrap=50)


def rows(models: list[str], benchmarks: tuple[str, ...], controls: tuple[str, ...]) -> list[GateRow]:
    """Vanilla, gates by scores with their controls, and a random gate."""
    rng = np.random.default_rng(2)
    arms = [("vanilla", "", 1)]
    for kind in KINDS:
        arms += [(kind, "", 1), *((control, kind, 5) for control in controls)]
    arms += [("uniform", "tuned", 1), ("random", "", 3)]
    made = []
    for model in models:
        for gate, of, trials in arms:
            for benchmark in benchmarks:
                at, sd = float(rng.uniform(0, 1)), float(rng.uniform(0, 0.4)) if trials > 1 else 0.0
                low, high = max(0, at - 0.06), min(1, at + 0.05)
                made.append(GateRow(model, gate, of, benchmark, trials, 200, at, sd, low, high, at, 0, 1))
    return made


def searches(models: list[str]) -> Ablation:
    def candidates(norms: tuple[str, ...]) -> tuple[Candidate, ...]:
        strengths = (0.1, 0.2, 0.35, 0.5, 0.75)
        return tuple(
            Candidate(123.456 * s, norm, s, {"open": 0.9 - s * i / 2})
            for i, norm in enumerate(norms)
            for s in strengths
        )

    curves = {kind: candidates(("none",) if kind == "learned" else ("center", "minmax")) for kind in KINDS}
    curves["uniform (tuned)"] = candidates(("uniform",))
    return Ablation((), dict.fromkeys(models, curves), {model: {"open": 0.85} for model in models})


def weights(L: int, H: int) -> WeightSimilarity:
    return WeightSimilarity(*draws(L, H, 7), n_kv_heads=H, hashes=("a", "b"), base="base", child=LONG)


def preserved(n: int) -> Figure:
    base, kept = HeadScores(draws(6, 8)[0]), weights(6, 8)
    return preservation_scatter(LONG, base, dict.fromkeys(NAMES[:n], (kept, preservation(base, None, kept))))


def verification() -> Verification:
    """All methods, each with its longest name."""
    rng, n = np.random.default_rng(0), 80
    right = np.arange(n) % 2 * 1.0
    given = {name: right + rng.normal(size=n) for name in ABOUT}
    groups, of = tuple(f"g{i // 4}" for i in range(n)), np.arange(n) // 2 * 1.0
    return Verification("sampled", groups, of, right, rng.integers(1, 4, n) * 1.0, given, rng.random(9), 5, 3)


def detection() -> Detection:
    """All that is drawn, and certain of almost every answer."""
    rng, names = np.random.default_rng(3), tuple(DRAWN)
    measured = dict.fromkeys(("auroc", "aurc", "ece"), Measured(0.98765, 0.9, 1.0))
    curves = {name: tuple(np.sort(rng.random(200)).tolist()) for name in names}
    bins = np.array([[i / 10 + 0.05, i / 9, 4000 if i in (0, 9) else 1] for i in range(10)])
    return Detection(
        Detector(((5, 3),), np.ones(1), 0.0, "mean", 0.25, 1.0, 0.0, 40),
        dict.fromkeys(("train", "validation", "test"), Part(20, 10, 10)),
        {name: Worth(1, 0.25, measured, {}) for name in names},
        *({}, bins, np.linspace(0, 1, 200), curves, curves, ()),
    )


HARD: dict[str, Callable[[], Figure]] = {
    "heatmap 32 x 32": lambda: HeadScores(draws(32, 32)[0]).plot(
        f"truth scores of {NAMES[0]} on {NAMES[3]}.jsonl (n = 400)"
    ),
    "heatmap 80 x 64": lambda: heatmap(
        draws(80, 64)[0] - 0.6,
        "causal score",
        "causal scores of what costs $5 or $6",
        3 * "a warning to be read. ",
    ),
    "heatmap 1 x 1": lambda: HeadScores(np.ones((1, 1))).plot(f"truth scores of {LONG}", 9 * "a warning to be read. "),
    "10 heatmaps 32 x 32": lambda: heatmaps(  # as many columns and lines as for 12
        dict(zip(NAMES[:10], draws(32, 32, 10), strict=True)), "truth scores, each model in its own range of colours"
    ),
    "heatmaps of weights": lambda: heatmaps(
        {
            "the same": np.ones((80, 64)),
            "none": np.full((6, 8), np.nan),
            "both signs": draws(6, 8)[0] - 0.7,
            "small": 1e-4 * draws(6, 8)[0],
        },
        f"{NAMES[0]} against {NAMES[3]}, each map in its own range of colours",
    ),
    "matrix of 12": lambda: correlation_matrix(lineage(*NAMES)),
    "matrix of 2": lambda: correlation_matrix(lineage("a", "b")),
    "bars of 12": lambda: reference_bars(lineage(*NAMES), 0),
    "bars of 2": lambda: reference_bars(lineage("a", "b"), 0),
    "ablation of 2 models": lambda: ablation_bars(
        rows(["zoo:llava-memory", NAMES[0]], BENCHMARKS, ("permuted", "uniform", "inverse"))
    ),
    "ablation of 1 model": lambda: ablation_bars(rows([LONG], BENCHMARKS[1:2], ())),
    "random gate in 2 models": lambda: random_gate_bars(rows([NAMES[0], LONG], BENCHMARKS, ("permuted",))),
    "random gate in 1 model": lambda: random_gate_bars(rows([LONG], BENCHMARKS[1:2], ())),
    "curves of 2 models": lambda: lambda_curves(searches(["zoo:llava-memory", NAMES[0]])),
    "10 scatters of 32 layers": lambda: scatter(
        [Panel(n, draws(32, 4)[0], {"OV": draws(32, 4, 2)[1]}, f"OV: {SAID}\nQK: {SAID}") for n in NAMES[:10]],
        f"truth score in {LONG}",
        "cosine of the circuit",
    ),
    "1 scatter": lambda: scatter([Panel("one", draws(2, 2)[0], {"$": draws(2, 2)[0]}, SAID)], "truth", "causal"),
    "detection": lambda: detection_curves(detection()),
    "verification": lambda: verification_dots(verification()),
    "preserved in 3": lambda: preserved(3),
    "pictures": lambda: script("pictures").zoo_pictures(),
}


@pytest.mark.parametrize("name", HARD)
def test_every_text_can_be_read(name: str) -> None:
    assert list(faults(HARD[name]())) == []


@in_house_style
def crowded() -> Figure:
    figure = new_figure(4.0, 4.0)
    figure.text(0.1, 0.2, "one text")
    figure.text(0.1, 0.21, "another")
    figure.text(0.8, 0.1, "over the edge of the figure")
    figure.text(0.2, 0.5, "this way up", rotation=45, rotation_mode="anchor")
    figure.text(0.2, 0.7, "that way down", rotation=-45, rotation_mode="anchor")
    figure.text(0.6, 0.5, "upright boxes overlap", rotation=45, rotation_mode="anchor")
    figure.text(0.7, 0.5, "these do not", rotation=45, rotation_mode="anchor")
    return figure


def test_faults_are_found() -> None:
    found = list(faults(crowded()))
    assert [fault for fault in found if "cut off" in fault] == ["['over the edge of the figure'] is cut off"]
    assert [fault for fault in found if "overlap" in fault] == [
        "['one text'] and ['another'] overlap",
        "['this way up'] and ['that way down'] overlap",
    ]


def test_the_random_gate_stands_beside_vanilla_and_gates_by_scores() -> None:
    figure = random_gate_bars(rows(["a", "b"], ("open", "judgement"), ("permuted", "uniform")))
    wanted = [row for row in rows(["a", "b"], ("open", "judgement"), ("permuted", "uniform")) if not row.of]
    for axes, model in zip(figure.axes, "ab", strict=True):
        mine = sorted((row for row in wanted if row.model == model), key=lambda row: row.benchmark != "open")
        bars = [patch for container in axes.containers for patch in container if isinstance(patch, Rectangle)]
        assert [bar.get_height() for bar in bars] == [row.accuracy for row in mine]
        assert [text.get_text() for text in axes.texts] == [f"{row.accuracy:.3f}".removeprefix("0") for row in mine]
    (legend,) = figure.legends
    said = [text.get_text() for text in legend.get_texts()]
    assert said[:6] == [
        "vanilla",
        "truth scores",
        "causal scores",
        "learned",
        "own causal scores",
        "random, 1 + U(-1, 1)",
    ]


def test_saved_whole_and_the_same_every_time(tmp_path: Path) -> None:
    figures = [tmp_path / name / "figure.png" for name in "ab"]
    save(HARD["bars of 2"](), figures[0])
    with context("dark_background"):  # the reader's own style
        save(HARD["bars of 2"](), figures[1])
    for suffix, begins in ((".png", b"\x89PNG"), (".pdf", b"%PDF")):
        one, other = (path.with_suffix(suffix).read_bytes() for path in figures)
        assert one == other and one.startswith(begins)
    assert b"/CIDFontType2" in one and b"/Type3" not in one and b"Date" not in one  # TrueType, undated
    assert {path.name for path in figures[0].parent.iterdir()} == {"figure.png", "figure.pdf"}

    figure = HARD["bars of 2"]()
    figure.savefig = lambda *_, **__: 1 / 0  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        save(figure, tmp_path / "c" / "figure.png")
    assert not (tmp_path / "c").exists()
    with pytest.raises(InputError, match=r"figure\.svg: figures are saved as \.png"):
        save(figure, tmp_path / "figure.svg")


def test_readers_keep_their_own_style_and_notebooks_show_figures() -> None:
    before = dict(rcParams)
    figure = HARD["bars of 2"]()
    assert dict(rcParams) == before
    picture: bytes = figure._repr_png_()  # pyright: ignore[reportAttributeAccessIssue]
    assert picture.startswith(b"\x89PNG") and dict(rcParams) == before


def test_the_module_of_figures_costs_nothing_until_it_draws() -> None:
    code = "import sys, lens_truth.plots; assert 'matplotlib' not in sys.modules; lens_truth.plots.scatter([], '', '')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ZeroDivisionError" in ended.stderr or "ValueError" in ended.stderr  # drawn, not a module that is called
    assert set(plots.__all__) == {"heatmap", "heatmaps", "Panel", "scatter", "in_house_style", "new_figure", "save"}
    assert all(getattr(plots, name).__doc__ for name in plots.__all__)


def test_text_that_fits() -> None:
    for text in (LONG, NAMES[0], SAID, "x" * 60):
        for inches in (0.5, 1.0, 2.2):
            lines = fitted(text, inches, 8.5).split("\n")
            assert all(text_width(line, 8.5) <= inches for line in lines)
            assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert fitted("null -0.31 to 0.30", 0.8, 8.5) == "null -0.31\nto 0.30"
    assert fitted(LONG, 1.6, 8.5) == "models--Qwen--\nQwen2.5-VL-7B-Instruct"
    assert fitted("", 1.0, 8.5) == "" and fitted("$5", 1.0, 8.5) == r"\$5"


@pytest.fixture
def make() -> ModuleType:
    """figures/make.py."""
    return script("make")


def test_the_docs_show_figures_that_a_command_makes(make: ModuleType) -> None:
    here, made = ROOT / "figures", {figure.stem for figure in make.FIGURES}
    assert {path.stem for path in here.glob("*.png")} == {path.stem for path in here.glob("*.pdf")} == made
    pages, shown = (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")), set[str]()
    for page in (*pages, here / "README.md"):
        images = re.findall(r"!\[([^]]*)\]\((?!assets/)([^)]*)\)", page.read_text())  # assets are drawn by hand
        assert all(says and (page.parent / link).is_file() and Path(link).stem in made for says, link in images), page
        shown |= {Path(link).stem for _, link in images if page in pages}
    assert shown == made
    assert (here / "README.md").read_text() == make.readme()
    assert sum(path.stat().st_size for path in here.iterdir() if path.is_file()) < 3e6
    for figure in make.FIGURES:
        python, how, what, *_ = figure.command.split()
        assert python == "python" and ((ROOT / how).is_file() or what.removeprefix("lens_truth.") in COMMANDS)
        assert f"runs/figures/{figure.output.split('/')[0]}" in figure.command


def test_figures_are_made(
    make: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One by its command; none where published scores are not here, or of a name that is not in the table."""
    here = tmp_path / "figures"
    here.mkdir()
    (here / "pictures.py").symlink_to(ROOT / "figures" / "pictures.py")
    monkeypatch.setattr(make, "HERE", here)
    monkeypatch.delenv("LENS_TRUTH_DATA", raising=False)
    assert make.main(["zoo_pictures.png", "published_bars"]) == 0
    assert "left out, since LENS_TRUTH_DATA is not set: published_bars" in capsys.readouterr().out
    assert {path.name for path in here.iterdir()} == {
        *("pictures.py", "zoo_pictures.png", "zoo_pictures.pdf", "README.md")
    }
    assert re.findall("## (.*)", (here / "README.md").read_text()) == ["zoo_pictures"]

    assert make.main(["mona_lisa"]) == 2 and "there is no figure 'mona_lisa'" in capsys.readouterr().err
    monkeypatch.setattr(make, "FIGURES", (make.Shown("broken", "python -c 1/0", "broken", "Nothing"),))
    assert make.main([]) == 1 and "these stay as they were: broken" in capsys.readouterr().err
