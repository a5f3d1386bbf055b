"""`evaluate` and the whole of `ablate`, as a user runs them: files, contents, exit codes, published figures."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import flat_scores, refused, run

from lens_truth.ablation.result import Ablation
from lens_truth.data.examples import write_examples
from lens_truth.data.loading import load_examples
from lens_truth.scoring import causal, learned
from lens_truth.scoring.learned_forms import Learning
from lens_truth.scoring.scores import HeadScores

pytestmark = pytest.mark.usefixtures("no_pdfs")

QUESTIONS = [{"question_id": i, "image": f"{i // 2}.jpg", "text": f"Is there a {i}?", "label": "no"} for i in range(6)]
ANSWERS = [{"question_id": i, "answer": "No."} for i in range(6)]
CAPTIONS = [{"image_id": 1, "caption": "Two dogs on a sofa."}, {"image_id": 2, "caption": "A cat."}]
OBJECTS = {"1": ["dog", "couch"], "2": ["dog"]}


def results_of(out: Path) -> dict[str, Any]:
    return json.loads((out / "result.json").read_text())


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def said_in(log: Path) -> dict[str, str]:
    """Answers by key; no key stands there twice."""
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(rows) == len({row["key"] for row in rows})
    return {row["key"]: row["answer"] for row in rows}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "objects.json").write_text(json.dumps(OBJECTS))
    return {
        "questions": lines(tmp_path / "q.json", QUESTIONS),
        "answers": lines(tmp_path / "a.jsonl", ANSWERS),
        "captions": lines(tmp_path / "c.jsonl", CAPTIONS),
        "objects": tmp_path / "objects.json",
    }


@pytest.mark.published
def test_published_answers_to_pope(data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """LLaVA-1.5-13B's own answers; their ids count from 10 million (random) and 20 million (popular)."""
    text = (data / "pope" / "answers" / "llava-v1.5-13b_random_popular.jsonl").read_text()
    given = [json.loads(line) for line in text.splitlines()]
    expected = {"random": (0.8801, 0.8714), "popular": (0.8743, 0.8625)}
    for number, name in enumerate(expected, start=1):
        rows = [
            {"question_id": row["question_id"] - number * 10_000_000, "answer": row["answer"]}
            for row in given
            if row["category"] == name
        ]
        lines(tmp_path / f"{name}.jsonl", rows)
    questions = [data / "pope" / "questions_2023" / f"coco_pope_{name}.json" for name in expected]
    answers = [tmp_path / f"{name}.jsonl" for name in expected]
    for question, answer, figures in zip(questions, answers, expected.values(), strict=True):
        out = tmp_path / answer.stem
        code, _, _ = run(capsys, "evaluate", "pope", "--questions", question, "--answers", answer, "--out", out)
        results = results_of(out)["results"]
        assert code == 0 and (results["accuracy"], results["f1"]) == pytest.approx(figures, abs=5e-5)
        assert results["unparsed"] == 0 and 0 < results["precision"] <= 1 and 0 < results["yes_ratio"] < 0.5
    both = ("--questions", *questions, "--answers", *answers, "--out", tmp_path / "both")
    assert run(capsys, "evaluate", "pope", *both)[0] == 0
    results = results_of(tmp_path / "both")["results"]
    assert results["duplicates"] > 1000 and {s["duplicates"] for s in results["splits"].values()} == {0}
    assert results["n"] == 5910 and len(results["splits"]) == 2
    by_split = [split["pope"] for split in results["splits"].values()]
    pooled = sum(split["accuracy"] * split["n"] for split in by_split) / 5910
    assert results["accuracy"] == pytest.approx(pooled)


@pytest.mark.published
def test_published_captions(data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sentences = json.loads((data / "chair/captions/published_chair_output.json").read_text())["sentences"]
    captions = lines(tmp_path / "c.jsonl", [{k: s[k] for k in ("image_id", "caption")} for s in sentences])
    objects = data / "chair" / "coco2014_trainval_chair_objects.json.gz"
    flags = ("--captions", captions, "--objects", objects, "--synonyms", data / "chair" / "synonyms.txt")
    code, said, _ = run(capsys, "evaluate", "chair", *flags, "--out", tmp_path / "out")
    results = results_of(tmp_path / "out")["results"]
    assert code == 0 and results["chair_s"] == 0.25 and results["chair_i"] == pytest.approx(0.0671, abs=0.002)
    assert results["recall"] == pytest.approx(0.6837, abs=0.002) and results["length"] == pytest.approx(81.1, abs=0.3)
    assert "chair_s" in said and results["chair_s_ci"][0] < 0.25 < results["chair_s_ci"][1]
    assert len((tmp_path / "out" / "captions.csv").read_text().splitlines()) == 501


def test_answers_that_exist(capsys: pytest.CaptureFixture[str], files: dict[str, Path], tmp_path: Path) -> None:
    lines(files["answers"], [*ANSWERS[:5], {"question_id": 5, "answer": "I see it"}])
    lines(files["questions"], [*QUESTIONS[:5], {**QUESTIONS[5], "text": QUESTIONS[4]["text"], "image": "2.jpg"}])
    flags = ("--questions", files["questions"], "--answers", files["answers"], "--out", tmp_path / "out")
    code, said, _ = run(capsys, "evaluate", "pope", *flags)
    record = results_of(tmp_path / "out")
    results = record["results"]
    assert code == 0 and results["accuracy"] == pytest.approx(5 / 6) and results["unparsed"] == pytest.approx(1 / 6)
    assert (results["recall"], results["duplicates"], results["parses"]["strict"]["yes_ratio"]) == (None, 1, 0)
    assert any("q: 1 questions repeat another" in warning for warning in record["warnings"])
    assert "17% of the answers begin with neither yes nor no" in said


def test_captions_that_exist(capsys: pytest.CaptureFixture[str], files: dict[str, Path], tmp_path: Path) -> None:
    lines(files["captions"], [*CAPTIONS, {"image_id": "1", "caption": "Nothing here."}])
    flags = ("--captions", files["captions"], "--objects", files["objects"], "--out", tmp_path / "out")
    code, said, _ = run(capsys, "evaluate", "chair", *flags)
    results = results_of(tmp_path / "out")["results"]
    assert code == 0 and results["chair_s"] == results["chair_i"] == pytest.approx(1 / 3)
    assert (results["n"], results["n_images"], results["without_mention"]) == (3, 2, 1)
    assert "1 of 3 captions mention no object" in said and "1 captions are of an image that has one already" in said


@pytest.mark.zoo
def test_judging_and_choosing_own_data(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = tmp_path / "mine.jsonl"
    write_examples(data, load_examples("zoo:text/test", limit=80))
    judge = ("evaluate", "judge", "--data", data, "--out", tmp_path / "j", "--batch-size", "16")
    code, said, _ = run(capsys, *judge)
    results = results_of(tmp_path / "j")["results"]
    assert code == 0 and results["accuracy"] > 0.9 and results["n"] == 80 and results["parse"] == "strict"
    assert results["margin"]["auroc"] > 0.95 and set(results["parses"]) == {"strict", "truthprobe", "halueval"}
    assert "logit margin" in said
    answers = (tmp_path / "j" / "answers.jsonl").read_text()
    assert len(answers.splitlines()) == 80
    said_before = said_in(tmp_path / "j" / "answers.jsonl")
    (tmp_path / "j" / "answers.jsonl").write_text(answers[: len(answers) // 2])  # as a killed run leaves it
    assert run(capsys, *judge)[0] == 0
    assert results_of(tmp_path / "j")["results"] == results
    assert said_in(tmp_path / "j" / "answers.jsonl") == said_before

    choose = ("evaluate", "choose", "--data", data, "--out", tmp_path / "c")
    code, _, _ = run(capsys, *choose)
    results = results_of(tmp_path / "c")["results"]
    answers = (tmp_path / "c" / "answers.jsonl").read_text()
    assert len(answers.splitlines()) == 80
    (tmp_path / "c" / "answers.jsonl").write_text(answers[: len(answers) // 2])
    assert run(capsys, *choose)[0] == 0
    again = results_of(tmp_path / "c")["results"]
    assert again["accuracy"] == results["accuracy"] and again["margin"] == pytest.approx(results["margin"], abs=1e-5)
    assert code == 0 and results["n"] == 40 and results["accuracy"] > 0.9 and 0.5 < results["mass"] <= 1


def test_log_likelihoods_that_exist_already(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Neither a model nor data is loaded; the page of all runs shows it."""
    rows = [{"id": n, "alpha": a, "labels": [1, 0], "ll": [-2, -1 - 2 * (n < a)]} for n in range(12) for a in (0, 6)]
    file = lines(tmp_path / "log.jsonl", rows)
    code, said, _ = run(capsys, "evaluate", "choose", "--log", file, "--out", tmp_path / "c")
    assert code == 0 and "alpha 6" in said and "0 to 6" in said and "+0.5000" in said
    recorded = results_of(tmp_path / "c")
    assert recorded["results"]["means"]["alpha 6"]["MC1"] == 0.5 and str(file) in recorded["hashes"]
    assert run(capsys, "report", tmp_path / "c", "--out", tmp_path / "page.html")[0] == 0
    page = (tmp_path / "page.html").read_text()
    assert "Paired by question" in page and "answers from a file<" in page and "on zoo:text" not in page


def test_a_gate_changes_the_answers(capsys: pytest.CaptureFixture[str], zoo: Any, tmp_path: Path) -> None:
    scores = tmp_path / "causal.safetensors"
    causal.causal_scores(zoo("llama-memory"), load_examples("zoo:conflict", limit=120)).save(scores)
    flags = ("evaluate", "choose", "--data", "zoo:conflict/test", "--limit", "80", "--model", "zoo:llama-memory")
    assert run(capsys, *flags, "--out", tmp_path / "vanilla")[0] == 0
    gate = ("--scores", scores, "--lam", "0.65", "--norm", "minmax", "--out", tmp_path / "gated")
    assert run(capsys, *flags, *gate)[0] == 0
    vanilla, gated = (results_of(tmp_path / name)["results"]["accuracy"] for name in ("vanilla", "gated"))
    assert gated > vanilla + 0.1


@pytest.mark.zoo
@pytest.mark.parametrize(("benchmark", "n"), [("halueval", 20), ("pope", 40), ("chair", 40)])
def test_every_benchmark_runs_on_the_zoo(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, benchmark: str, n: int
) -> None:
    out = tmp_path / "out"
    code, _, _ = run(capsys, "evaluate", benchmark, "--limit", "40", "--out", out)
    results = results_of(out)["results"]
    assert code == 0 and results["n"] == n
    assert len((out / "answers.jsonl").read_text().splitlines()) == n
    if benchmark == "pope":
        assert results["accuracy"] > 0.95 and results["margin"]["accuracy"] > 0.95
    if benchmark == "chair":
        assert results["chair_s"] < 0.3 and results["precision"] > 0.9 > results["recall"]


@pytest.mark.published
def test_halueval_in_both_protocols(data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    flags = ("--data", f"halueval:{data / 'halueval' / 'qa_2000.csv'}", "--limit", "20", "--batch-size", "8")
    code, said, _ = run(capsys, "evaluate", "halueval", *flags, "--out", tmp_path / "k")
    assert code == 0 and results_of(tmp_path / "k")["results"]["parse"] == "truthprobe" and "WARNING" in said
    instruction = ("--instruction", data / "halueval" / "qa_evaluation_instruction.txt", "--template", "plain")
    code, _, _ = run(capsys, "evaluate", "halueval", *flags, *instruction, "--out", tmp_path / "f")
    results = results_of(tmp_path / "f")["results"]
    assert code == 0 and results["parse"] == "halueval" and results["n"] == 10
    assert results["parses"]["truthprobe"]["unparsed"] == 0  # it reads a no into whatever it cannot read


BAD = [
    (("pope", "--questions", "q.json"), "--questions names 1 files and --answers 0"),
    (("pope", "--questions", "q.json", "--answers", "none.jsonl"), "none.jsonl: there is no such file"),
    (("pope", "--questions", "q.json", "--answers", "c.jsonl"), "c.jsonl, line 1: has no field 'answer' or 'text'"),
    (("pope", "--questions", "q.json", "q.json", "--answers", "a.jsonl", "a.jsonl"), "two splits are called 'q'"),
    (("pope", "--questions", "q.json", "--images", "."), "3 of 3 images are not there (first: 0.jpg)"),
    (("pope", "--images", "."), "--images needs --questions"),
    (("chair", "--captions", "c.jsonl"), "--captions and --images need --objects"),
    (("chair", "--objects", "objects.json"), "--objects goes with --captions, or with the --images"),
    (("chair", "--objects", "objects.json", "--images", "no"), "no: there is no such folder of images"),
    (("chair", "--objects", "objects.json", "--images", "."), "names no image whose objects objects.json knows"),
    (
        ("chair", "--captions", "c.jsonl", "--objects", "few.json"),
        "1 of 2 captions are of images that few.json",
    ),
    (("chair", "--captions", "empty.jsonl", "--objects", "objects.json"), "empty.jsonl: 1 of 3 captions are empty"),
    (
        ("chair", "--captions", "c.jsonl", "--objects", "objects.json", "--synonyms", "no.txt"),
        "no.txt: there is no such file",
    ),
    (("halueval", "--instruction", "no.txt"), "no.txt: there is no such file"),
    (("judge", "--data", "no.jsonl"), "no.jsonl: there is no such file"),
    (("judge", "--scores", "good.npy"), "--scores and --lam belong together"),
    (("judge", "--limit", "20", "--scores", "good.npy", "--lam", "1"), "3 layers x 4 heads, the model 6 x 8"),
    (("choose", "--data", "right.jsonl"), "no question has both a supported and a hallucinated answer"),
    (("judge", "--limit", "20", "--batch-size", "0"), "the batch size is 0"),
    (("chair", "--captions", "c.jsonl", "--objects", "objects.json", "--limit", "0"), "the limit is 0"),
    (("chair", "--captions", "c.jsonl", "--objects", "twice.json"), "twice.json: '1' stands there twice"),
    (
        ("chair", "--captions", "c.jsonl", "--objects", "objects.json", "--lam", "1"),
        "--scores, --lam and --gate gate a model",
    ),
    (("chair", "--synonyms", "c.jsonl"), "--synonyms and --image-list go with --objects"),
    (("chair", "--captions", "half.json", "--objects", "objects.json"), "half of a surrogate pair"),
    (("pope", "--questions", "q.json", "--answers", "a.jsonl", "--limit", "1"), "--limit is for questions"),
    (("choose", "--log", "q.json", "--limit", "1"), "--limit is for questions that a model is asked; all rows of --l"),
    (("choose", "--log", "q.json", "--lam", "1"), "--scores, --lam and --gate gate a model"),
    (("choose", "--log", "q.json"), "q.json, line 1: field 'll' is not a list of log-likelihoods"),
    (("choose", "--log", "no.jsonl"), "no.jsonl: there is no such file"),
]


@pytest.mark.zoo
@pytest.mark.parametrize(("arguments", "complaint"), BAD, ids=[complaint[:40] for _, complaint in BAD])
def test_bad_input(
    capsys: pytest.CaptureFixture[str],
    files: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    flat_scores(tmp_path)
    (tmp_path / "twice.json").write_text('{"1": ["dog"], "2": ["cat"], "1": ["cat"]}')
    (tmp_path / "half.json").write_text('[{"image_id": "\\ud800", "caption": "A dog."}]')
    (tmp_path / "few.json").write_text(json.dumps({"1": ["dog"]}))
    lines(tmp_path / "empty.jsonl", [*CAPTIONS, {"image_id": 3, "caption": " "}])
    write_examples(tmp_path / "right.jsonl", [e for e in load_examples("zoo:text", limit=8) if e.label])
    refused(capsys, complaint, "evaluate", *arguments, "--out", "out")
    assert not Path("out").exists()


@pytest.mark.zoo
def test_ablation_in_full(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = partial(learned.learned_gate, learning=Learning(steps=4))  # of 60
    monkeypatch.setattr(learned, "learned_gate", short)
    out = tmp_path / "out"
    models = ("--model", "zoo:llama-memory-chat", "--scores-from", "zoo:llama-memory")
    flags = (*models, "--limit", "20", "--questions", "4", "--trials", "1", "--out", out)
    code, said, _ = run(capsys, "ablate", "--random-gate", "--controls", "all", *flags)
    assert code == 0
    results = results_of(out)["results"]
    record = results["ablation"]
    kinds = ("probe", "causal", "learned", "own probe", "own causal", "own learned")
    unwanted = Ablation.load(out).unwanted("zoo:llama-memory-chat")
    tested = [kind for kind in kinds if kind not in unwanted]
    assert len(tested) > 2 and all(f"{gate}: validation wanted no gate" in said for gate in unwanted)
    controls = {(c, kind) for kind in tested for c in ("permuted", "uniform", "inverse", "norm-matched")}
    arms = {("vanilla", ""), ("random", ""), *controls, *((kind, "") for kind in tested)}
    arms |= set() if "uniform (tuned)" in unwanted else {("uniform", "tuned")}
    assert {(row["gate"], row["of"]) for row in record["rows"]} == arms
    effects = {(e["gate"], e["of"]): e["texts"]["zoo"] for e in record["side_effects"]}
    assert set(effects) == arms and set(results["neutral_texts"]) == {"zoo"}
    assert abs(effects["vanilla", ""]["kl"]) < 1e-6 < effects[tested[0], ""]["kl"]
    assert set(record["search"]["zoo:llama-memory-chat"]) == {"uniform (tuned)", *kinds}
    for row in record["rows"]:
        if row["gate"] in kinds:
            wanted = {"vanilla", "permuted", "uniform", "inverse", "norm-matched", "uniform (tuned)", "random"}
            assert set(row["against"]) == wanted - set(unwanted)
    assert "## Side effects" in (out / "table.md").read_text() and "own causal" in said
    kept = HeadScores.load(out / "zoo-llama-memory-chat-causal.safetensors")
    assert not np.allclose(kept.values, HeadScores.load(out / "causal.safetensors").values)


def test_a_killed_ablation_ends_with_the_same_table(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "prose.txt").write_text("It was the best of times, it was the worst of times. " * 100)
    scores, out = flat_scores(tmp_path), tmp_path / "out"
    np.save(scores, np.random.default_rng(0).normal(size=(3, 4)))
    data = tmp_path / "mine.jsonl"
    write_examples(data, load_examples("zoo:text", limit=40))
    flags = ("--model", tiny_folder, "--data", data, "--scores", scores, "--neutral-text", tmp_path / "prose.txt")
    assert run(capsys, "ablate", "--random-gate", *flags, "--out", out)[0] == 0
    record, table, log = results_of(out)["results"], (out / "table.md").read_bytes(), out / "answers.jsonl"
    assert set(record["neutral_texts"]) == {"zoo", "prose"}
    answers, said_before = log.read_text(), said_in(log)
    log.write_text(answers[: len(answers) // 3])
    assert run(capsys, "ablate", "--random-gate", *flags, "--out", out)[0] == 0
    assert results_of(out)["results"] == record and (out / "table.md").read_bytes() == table
    assert said_in(log) == said_before
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in ("search.png", "ablation.png"))


def test_scores_from_files_leave_all_other_rows_for_the_test(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, tmp_path: Path
) -> None:
    data = tmp_path / "mine.jsonl"
    write_examples(data, load_examples("zoo:text", limit=80))  # 20 scenes with 4 rows each
    scores = tmp_path / "r.npy"
    np.save(scores, np.random.default_rng(0).normal(size=(3, 4)))
    flags = ("--model", tiny_folder, "--data", data, "--scores", scores, "--trials", "1")
    assert run(capsys, "ablate", *flags, "--validation-share", "0.25", "--out", tmp_path / "out")[0] == 0
    rows = results_of(tmp_path / "out")["results"]["ablation"]["rows"]
    assert {row["n"] for row in rows if row["benchmark"] == "judgement"} == {60}
    code, _, err = run(capsys, "ablate", *flags, "--norm", "center", "--out", tmp_path / "no")
    assert code == 2 and "--norm goes with --lam" in err
    code, _, err = run(capsys, "ablate", *flags, "--validation-share", "1", "--out", tmp_path / "no")
    assert code == 2 and "--validation-share is 1.0; it must lie between 0 and 1" in err


def test_a_setting_from_elsewhere_is_not_searched(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, tmp_path: Path
) -> None:
    data, scores = tmp_path / "mine.jsonl", tmp_path / "r.npy"
    write_examples(data, load_examples("zoo:text", limit=40))
    np.save(scores, np.random.default_rng(0).normal(size=(3, 4)))
    flags = ("ablate", "--model", tiny_folder, "--data", data, "--random-gate", "--trials", "1", "--lam", "0.3")
    code, _, _ = run(
        capsys, *flags, "--scores", scores, "--norm", "minmax", "--site", "block", "--out", tmp_path / "out"
    )
    assert code == 0
    results = results_of(tmp_path / "out")["results"]["ablation"]
    (only,) = results["search"][tiny_folder.name]["probe"]
    assert (only["lam"], only["norm"]) == (0.3, "minmax")
    assert {(row["lam"], row["norm"]) for row in results["rows"] if row["gate"] == "probe"} == {(0.3, "minmax")}
    code, _, err = run(capsys, *flags, "--out", tmp_path / "no")
    assert code == 2 and "--lam needs --scores of one kind" in err
