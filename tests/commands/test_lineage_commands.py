"""`inherit` and `weights` as a user runs them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import refused, run

from lens_truth.commands import inherit
from lens_truth.commands.score_sources import parse_sources
from lens_truth.data.examples import write_examples
from lens_truth.data.loading import load_examples
from lens_truth.errors import InputError, gathered_notices
from lens_truth.lineage.agreement import Heritability
from lens_truth.lineage.inheritance import TruthCausal
from lens_truth.lineage.kept import Preservation, WeightSimilarity
from lens_truth.models.names import ZOO
from lens_truth.scoring.scores import HeadScores

FIGURES = {f"{name}.{suffix}" for name in ("matrix", "bars", "heatmaps") for suffix in ("png", "pdf")}


def results_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())["results"]


def score_files(folder: Path) -> dict[str, Path]:
    """One lineage of three in three formats, and a stranger."""
    draw = np.random.default_rng(0)
    base = draw.normal(size=(6, 8))
    maps = {n: base + 0.3 * draw.normal(size=(6, 8)) for n in ("base", "chat", "vision")}
    maps["stranger"] = draw.normal(size=(6, 8))
    files = {}
    for (name, values), suffix in zip(maps.items(), ("safetensors", "npy", "csv", "json"), strict=True):
        files[name] = folder / f"{name}.{suffix}"
        if suffix == "json":
            files[name].write_text(json.dumps({f"{i}-{j}": [v, v + 0.1] for (i, j), v in np.ndenumerate(values)}))
        else:
            HeadScores(values, folds=np.stack([values, values + 0.01 * base])).save(files[name])
    return files


def test_inherit_of_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    files, out = score_files(tmp_path), tmp_path / "out"
    flags = ("--unrelated", "base", "stranger", "--reference", "chat", "--out", out)
    code, said, _ = run(capsys, "inherit", *files.values(), *flags)
    assert code == 0
    results, found = results_of(out), Heritability.load(out)
    assert found.names == ("base", "chat", "vision", "stranger") and results["reference"] == "chat"
    assert found.kinds == ("truth", "truth", "truth", "retrieval") and found.kind == "truth and retrieval"
    assert results["verdicts"] == {"truth": found.verdicts()} and Heritability.load(out, "truth") == found
    (warning,) = json.loads((out / "result.json").read_text())["warnings"]
    assert "base, chat, vision, stranger have is not known" in warning and warning in said
    c = found.correlations
    assert c.interval.shape == (4, 4, 2)
    loaded = [HeadScores.load(path).values.ravel() for path in files.values()]
    assert c.pearson == pytest.approx(np.corrcoef(loaded))
    p = found.p_permutation
    assert p[0, 1] < 0.01 and p[1, 2] < 0.01 and p[0, 3] > 0.05
    assert found.floor is not None and found.floor.names == ("base", "stranger")
    assert np.isnan(found.ceiling[0, 1]) and not np.isnan(found.ceiling[0, 3])  # .npy and .csv have no folds
    assert {path.name for path in out.iterdir()} == {"result.json", "table.md", *FIGURES}
    table = (out / "table.md").read_text()
    assert table.count("\n| ") == 7 and "chat - vision" in table
    assert "base - chat" in said and "vision - stranger  " not in said  # the terminal shows the reference's pairs
    assert "Pairs: 3 of 6 above what shuffled heads give" in said and "Floor" in said

    again = tmp_path / "again"
    run(capsys, "inherit", *files.values(), *flags[:-1], again)
    assert results_of(again) == results
    assert all((again / name).read_bytes() == (out / name).read_bytes() for name in ("table.md", *FIGURES))


@pytest.mark.usefixtures("no_pdfs")
def test_names_repeats_and_kv_heads(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    files, out = score_files(tmp_path), tmp_path / "out"
    inputs = (f"a={files['base']}", f"b={files['chat']}")
    flags = ("--repeat", f"a={files['vision']}", f"b={files['vision']}", "--kv-heads", "4", "b=2", "--out", out)
    code, said, _ = run(capsys, "inherit", *inputs, *flags)
    assert code == 0 and "WARNING" not in said
    found = Heritability.load(out)
    assert found.names == ("a", "b") and found.n_kv_heads == (4, 2)
    assert 0.8 < found.reliability[0] < 1 and found.pearson_over_ceiling[0, 1] > found.correlations.pearson[0, 1]


@pytest.mark.usefixtures("no_pdfs")
@pytest.mark.zoo
def test_inherit_of_models_and_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Two models of a lineage with the unrelated one that a file stands for; a second run reads what the first kept."""
    out = tmp_path / "out"
    inputs = ("zoo:llama-base", "mine=zoo:llama-memory", tmp_path / "stranger.npy")
    np.save(tmp_path / "stranger.npy", np.random.default_rng(0).normal(size=(6, 8)))
    assert run(capsys, "inherit", *inputs, "--limit", "80", "--probe-seeds", "2", "--out", out)[0] == 0
    results, truth, causal = results_of(out), Heritability.load(out), Heritability.load(out, "causal")
    assert truth.names == ("llama-base", "mine", "stranger") and causal.names == ("llama-base", "mine")
    assert truth.correlations.pearson_within_layer[0, 1] > 0.6 and causal.correlations.pearson_within_layer[0, 1] > 0.5
    assert truth.reliability[0] > 0.9 and np.isnan(truth.reliability[2])
    assert truth.n_kv_heads == (8, 8, None) and truth.disattenuated[0, 1] > 0.6
    related = TruthCausal.load(out)
    assert set(related.values) == {"llama-base", "mine"} and related.values["mine"] is not None
    p = related.p_holm["mine"]
    assert related.ranks["mine"] is not None and p is not None and 0 < related.ranks["mine"].p_value <= p <= 1
    kept = WeightSimilarity.load(out, "mine")
    assert (kept.base, kept.child) == ("llama-base", "mine") and (kept.means()["ov"] or 0) > 0.95
    assert set(Preservation.load(out, "mine").top) == {"q", "k", "v", "o", "qk", "ov", "change"}
    names = [f"{name}{kind}" for name in ("matrix", "bars", "heatmaps") for kind in ("", "_causal")]
    figures = {f"{name}.{suffix}" for name in (*names, "truth_causal", "weights") for suffix in ("png", "pdf")}
    assert {path.name for path in (*out.glob("*.png"), *out.glob("*.pdf"))} == figures
    kept = sorted((out / "scores").iterdir())
    assert [path.name for path in kept] == [
        f"zoo-llama-{model}-{kind}.safetensors" for model in ("base", "memory") for kind in ("causal", "truth")
    ]
    scores = HeadScores.load(kept[1])
    assert scores.folds is not None and scores.values == pytest.approx(scores.folds.mean(0))
    assert len(set(scores.provenance["runs"])) == 2  # each run has examples of its own
    maps = [HeadScores.load(kept[at]).metrics["matched"].ravel() for at in (1, 3)]
    assert truth.matched is not None and truth.matched[0, 1] == pytest.approx(np.corrcoef(maps)[0, 1])
    assert np.isnan(truth.matched[0, 2]) and causal.matched is None
    assert scores.provenance["matched"]["said"].startswith("in one of 2 probing runs matched on ")
    assert "r matched" in (out / "table.md").read_text()

    before = {path: path.stat().st_mtime_ns for path in kept}
    run(capsys, "inherit", *inputs, "--limit", "80", "--probe-seeds", "2", "--out", out)
    assert {path: path.stat().st_mtime_ns for path in kept} == before and results_of(out) == results
    run(capsys, "inherit", *inputs, "--limit", "60", "--probe-seeds", "2", "--out", out, "--scores", "truth")
    changed = {path.name for path in kept if path.stat().st_mtime_ns != before[path]}
    assert changed == {"zoo-llama-base-truth.safetensors", "zoo-llama-memory-truth.safetensors"}
    assert set(results_of(out)["heritability"]) == {"truth"}


@pytest.mark.usefixtures("no_pdfs")
@pytest.mark.zoo
def test_residual_scores_are_compared_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    flags = ("--limit", "80", "--probe-seeds", "1", "--scores", "residual", "--out", tmp_path)
    assert run(capsys, "inherit", "zoo:llama-base", "zoo:llama-memory", *flags)[0] == 0
    found = Heritability.load(tmp_path, "residual")
    assert found.kind == "residual" and found.matched is None and found.correlations.pearson[0, 1] > 0.3
    assert HeadScores.load(tmp_path / "scores" / "zoo-llama-base-residual.safetensors").kind == "residual"


def test_residual_scores_of_heads_that_add_nothing_are_left_out() -> None:
    rng = np.random.default_rng(0)
    truth = {name: HeadScores(rng.normal(size=(3, 4))) for name in "ab"}
    residual = {"a": HeadScores(np.zeros((3, 4)), "residual"), "b": HeadScores(rng.normal(size=(3, 4)), "residual")}
    config = inherit.Config(permutations=99)
    with gathered_notices() as told:
        found = inherit._compared(config, {"truth": truth, "residual": residual}, {}, ())  # pyright: ignore
    assert list(found) == ["truth"]
    assert told == ["a: no head adds to the surface of answers, so residual scores are not compared"]


@pytest.mark.usefixtures("no_pdfs")
@pytest.mark.zoo
def test_one_model_among_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Its causal scores have no pair to be compared with, but its truth scores have them; kinds in any order."""
    np.save(tmp_path / "cost=$5 or $6.npy", np.random.default_rng(0).normal(size=(6, 8)))
    flags = ("--limit", "60", "--probe-seeds", "1", "--scores", "causal", "truth", "--out", tmp_path / "out")
    assert run(capsys, "inherit", "zoo:llama-base", tmp_path / "cost=$5 or $6.npy", *flags)[0] == 0
    found = Heritability.load(tmp_path / "out")
    assert found.names == ("llama-base", "cost=$5 or $6") and found.kinds == ("causal", "truth")
    assert set(TruthCausal.load(tmp_path / "out").values) == {"llama-base"}
    assert set(results_of(tmp_path / "out")["heritability"]) == {"causal"}


@pytest.mark.usefixtures("no_pdfs")
@pytest.mark.zoo
def test_examples_without_pairs_have_truth_scores_only(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = load_examples("zoo:text", limit=160)
    write_examples(tmp_path / "mine.jsonl", [row for row in rows if row.label == int(row.group[-1], 36) % 2])
    flags = ("--data", tmp_path / "mine.jsonl", "--out", tmp_path / "out")
    code, said, _ = run(capsys, "inherit", "zoo:llama-base", "zoo:llama-chat", *flags)
    assert code == 0 and "so only truth scores are computed" in said
    assert set(results_of(tmp_path / "out")["heritability"]) == {"truth"}


def test_the_zoo_is_the_default_lineage() -> None:
    """What `inherit` without arguments compares; the run itself is in the README's table."""
    from lens_truth.commands.lineage_inputs import UNRELATED, Config, inputs_of
    from lens_truth.zoo.recipes import RECIPES, root_of

    sources, reference, unrelated = inputs_of(Config())
    assert [source.name for source in sources] == list(RECIPES) and reference == "llama-base"
    assert unrelated == UNRELATED and len({root_of(name) for name in UNRELATED}) == len(UNRELATED) == 3
    assert len({RECIPES[name].architecture for name in UNRELATED}) == 1


@pytest.mark.usefixtures("no_pdfs")
@pytest.mark.zoo
def test_own_examples_are_read_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A file of examples has no further draws: its folds are the repeated estimates."""
    write_examples(tmp_path / "mine.jsonl", load_examples("zoo:text", limit=120))
    flags = ("--data", tmp_path / "mine.jsonl", "--scores", "causal", "--out", tmp_path / "out")
    assert run(capsys, "inherit", "zoo:llama-base", "zoo:llama-chat", *flags)[0] == 0
    found = Heritability.load(tmp_path / "out", "causal")
    assert found.kind == "causal" and found.reliability[0] > 0.5
    scores = HeadScores.load(tmp_path / "out" / "scores" / "zoo-llama-base-causal.safetensors")
    assert scores.folds is not None and len(scores.folds) == 5 and len(scores.provenance["runs"]) == 1


@pytest.mark.usefixtures("no_pdfs")
@pytest.mark.zoo
def test_weights_of_the_zoo(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, said, _ = run(capsys, "weights", "--limit", "100", "--probe-seeds", "2", "--out", out)
    assert code == 0
    names = ["zoo:llama-chat", "zoo:llama-seed1"]
    child, stranger = (WeightSimilarity.load(out, name) for name in names)
    assert list(results_of(out)["weight_similarity"]) == names and WeightSimilarity.load(out) == child
    assert child.base == "zoo:llama-base" and stranger.child == "zoo:llama-seed1" and child.ov.shape == (6, 8)
    assert (child.means()["qk"] or 0) > 0.95 and abs(stranger.means()["qk"] or 1) < 0.02
    related = Preservation.load(out)
    ov, top, change = related.score["ov"], related.top["ov"], related.score_change
    assert ov is not None and ov.pearson < -0.3 and change is not None and change.p_value <= 1
    assert top is not None and top.n_top == 12 and Preservation.load(out, names[1]).score_change is None
    assert results_of(out)["notes"] == ["zoo:llama-seed1 is unrelated, for comparison"]
    figures = {f"{name}.{suffix}" for name in ("maps", "scatter") for suffix in ("png", "pdf")}
    assert {path.name for path in out.iterdir()} == {"result.json", "weights.csv", "scores", *figures}
    lines = (out / "weights.csv").read_text().splitlines()
    assert (
        lines[0].startswith("layer,head,base_score,child_score,q,k,v,o,qk,ov,change,unrelated_q") and len(lines) == 49
    )
    assert float(lines[1].split(",")[9]) == child.ov[0, 0]
    assert "cosine of the OV circuit" in said and "change of score against change of weights" in said


@pytest.mark.usefixtures("no_pdfs")
@pytest.mark.zoo
def test_weights_with_score_files_need_no_model_that_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Without a tokenizer nothing can be probed: weights alone, or with the scores that files bring."""
    folders = []
    for name in ("llama-base", "llama-chat"):
        shutil.copytree(ZOO / name, tmp_path / name, ignore=shutil.ignore_patterns("token*", "chat*"))
        folders.append(tmp_path / name)
    pair = ("--base", folders[0], "--child", folders[1], "--out", tmp_path / "out")
    code, said, _ = run(capsys, "weights", *pair)
    assert code == 0 and "no scores: " in said and "tokenizer" in said
    assert "preservation" not in results_of(tmp_path / "out")
    np.save(tmp_path / "s.npy", np.random.default_rng(0).random((6, 8)))
    assert run(capsys, "weights", *pair, "--base-scores", tmp_path / "s.npy")[0] == 0
    related = Preservation.load(tmp_path / "out").score["ov"]
    assert related is not None and related.p_value <= 1


@pytest.mark.usefixtures("no_pdfs")
@pytest.mark.zoo
def test_identical_weights_have_no_correlation(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """As where a multimodal child keeps its language model frozen."""
    np.save(tmp_path / "s.npy", np.random.default_rng(0).random((6, 8)))
    flags = ("--base", "zoo:llama-base", "--child", "zoo:llama-base", "--base-scores", tmp_path / "s.npy")
    assert run(capsys, "weights", *flags, "--out", tmp_path / "out")[0] == 0
    means = WeightSimilarity.load(tmp_path / "out", "zoo:llama-base").means()
    assert means["change"] == 0 and means["ov"] == pytest.approx(1)
    assert Preservation.load(tmp_path / "out").score["change"] is None


@pytest.mark.zoo
def test_two_shapes_are_refused_before_anything_is_scored(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("lens_truth.commands.score_sources.load_model", never)
    np.save(tmp_path / "s.npy", np.eye(7))
    out = ("--out", tmp_path / "out")
    for pair in (("zoo:llama-base", tiny_folder), ("zoo:llama-base", tmp_path / "s.npy")):
        refused(capsys, "llama-base 6 x 8, ", "inherit", *pair, *out)
    assert not (tmp_path / "out").exists()


def test_names_of_inputs(tmp_path: Path) -> None:
    said = ["zoo:llama-base", "a/x.y.npy", "b/heads.json.gz", "mine=c/x.csv", "org/model-7B", "lab=org/model-7B"]
    names = ["llama-base", "x.y", "heads", "mine", "model-7B", "lab"]
    sources = parse_sources(said)
    assert [source.name for source in sources] == names
    assert [source.is_file for source in sources] == [False, True, True, True, False, False]
    odd = tmp_path / "lr=0.1.npy"
    odd.touch()
    assert parse_sources([str(odd)])[0].name == "lr=0.1"
    with pytest.raises(InputError, match="two inputs are called 'a'.*one=a/scores.npy other=a.csv"):
        parse_sources(["a/scores.npy", "b/scores.npy", "a.csv"])


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/scores.npy", "b/scores.npy"], ["a", "b"]),
        (["runs/a/truth/scores.npy", "runs/b/truth/scores.csv"], ["a", "b"]),
        (["/x/a/1/scores.npy", "/x/b/1/scores.npy", "/x/a/2/scores.npy"], ["a-1", "b-1", "a-2"]),
        (["a/x.npy", "b/x.npy", "b/y.npy"], ["a", "b", "y"]),
        (["scores.npy", "child/scores.npy"], ["scores", "child"]),
        (["a/s.npy", "a/s.csv"], ["s.npy", "s.csv"]),
        (["org/model", "lab/model", "models/base/"], ["org", "lab", "base"]),
    ],
)
def test_names_come_from_where_paths_differ(paths: list[str], names: list[str]) -> None:
    assert [source.name for source in parse_sources(paths)] == names
    assert [source.where for source in parse_sources(paths)] == paths


def broken(folder: Path, name: str) -> Path:
    """A score file with something wrong."""
    values = {
        "constant": np.full((6, 8), 0.5),
        "depth": np.repeat(np.arange(6.0)[:, None], 8, 1),
        "nan": np.full((6, 8), np.nan),
        "small": np.eye(5),
    }[name]
    np.save(folder / f"{name}.npy", values)
    return folder / f"{name}.npy"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("constant", "'constant' has the same value for all heads"),
        ("depth", "'depth' is constant inside every layer"),
        ("nan", "nan.npy: the score of layer 0, head 0 is nan"),
        ("small", "base 6 x 8, small 5 x 5"),
    ],
)
def test_scores_that_cannot_be_compared(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, complaint: str
) -> None:
    out = tmp_path / "out"
    refused(capsys, complaint, "inherit", score_files(tmp_path)["base"], broken(tmp_path, name), "--out", out)
    assert not out.exists()
    if name == "small":
        assert (
            run(
                capsys, "inherit", tmp_path / "base.safetensors", tmp_path / "small.npy", "--shared-grid", "--out", out
            )[0]
            == 0
        )
        assert Heritability.load(out).shape == (5, 5)


@pytest.mark.zoo
def test_other_mistakes(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    score_files(tmp_path)
    (tmp_path / "notes.txt").touch()
    broken(tmp_path, "small")
    pair = ("base.safetensors", "chat.npy")
    for arguments, complaint in [
        (pair[:1], "a comparison needs two inputs or more; only 'base.safetensors' was given"),
        ((*pair, "base.safetensors"), "two inputs are called 'base'"),
        ((*pair, "none.npy"), "none.npy: there is no such file"),
        ((*pair, "zoo:nobody"), "there is no model 'zoo:nobody' in the zoo"),
        ((*pair, "--reference", "me"), "'me' is not one of the inputs, which are base, chat"),
        ((*pair, "--unrelated", "base", "me"), "'me' is not one of the inputs"),
        ((*pair, "--unrelated", "base"), "only 'base' is named as unrelated"),
        ((*pair, "--repeat", "chat.npy"), "--repeat chat.npy: must be NAME=FILE"),
        ((*pair, "--repeat", "chat=chat.npy"), "holds the same scores as 'chat', so it is no second estimate"),
        ((*pair, "--kv-heads", "3"), "base.safetensors: 3 KV heads were named for 8 heads"),
        ((*pair, "--kv-heads", "0"), "--kv-heads 0: must be N or NAME=N"),
        ((*pair, "--kv-heads", "me=4"), "--kv-heads me=4: must be N or NAME=N"),
        ((*pair, "--permutations", "0"), "0 permutations cannot tell 1 pairs from chance"),
        ((*pair, "stranger.json", "--permutations", "50"), "--permutations 60 can"),
        ((*pair, "notes.txt"), "notes.txt: is neither a file of head scores (by its name) nor a folder with a model"),
        ((*pair, "--out", "notes.txt"), "notes.txt is not a folder that can be written to"),
        (("zoo:llama-base", "zoo:llama-chat", "--limit", "0"), "the limit is 0"),
        (("zoo:llama-base", "zoo:llama-chat", "--scores"), "--scores is given no value"),
        (("zoo:llama-base", "zoo:llama-chat", "--probe-seeds", "0"), "0 probing runs"),
        (("zoo:llama-base", "zoo:llama-chat", "--top", "1"), "--top is 1.0; it must lie between 0 and 1"),
    ]:
        refused(capsys, complaint, "inherit", *arguments)
    for arguments, complaint in [
        (
            ("--child", "zoo:mistral-base"),
            "(8 KV heads) of width 32 on 128 and zoo:mistral-base 6 layers x 8 heads (4 KV",
        ),
        (("--child", "./nowhere"), "there is no such folder"),
        (("--child-scores", "chat.npy"), "--child-scores was given without --base-scores"),
        (("--base-scores", "none.npy"), "none.npy: there is no such file"),
        (("--base-scores", "small.npy"), "small.npy: holds scores of 5 x 5 heads, the models have 6 x 8"),
        (("--top", "0.001", "--base-scores", "chat.npy"), "a share of 0.001 of 48 heads"),
    ]:
        refused(capsys, complaint, "weights", *arguments)
    assert not (tmp_path / "runs").exists()
