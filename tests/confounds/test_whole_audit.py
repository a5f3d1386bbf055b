"""The whole audit: what is planted comes out, in the order of how bad it is, on files and between them."""

from __future__ import annotations

import json
import resource
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import refused, run

from lens_truth import Audit, Example, InputError, audit_examples, load_examples, write_examples
from lens_truth.confounds.audit import quick_findings
from lens_truth.confounds.between import between_sets
from lens_truth.confounds.between_result import Between
from lens_truth.confounds.surface import straddle_findings, surface_finding
from lens_truth.data.surface_told import SurfaceBaseline
from lens_truth.errors import gathered_notices

LANDS = ("Peru", "Mali", "Chad", "Cuba", "Fiji", "Iran", "Laos", "Oman")


def statements(n: int = 60, negated: bool = False) -> list[Example]:
    """Each subject in its land and in another, so that words of a pair tell each other's label."""
    rng = np.random.default_rng(0)
    found: list[Example] = []
    for number in range(n):
        subject = f"Town{number}"
        for label, land in zip((1, 0), rng.choice(LANDS, 2, replace=False), strict=True):
            text = f"{subject} is {'not ' * negated}in {land}."
            found.append(Example(f"{number}-{label}-{negated}", subject.lower(), "", text, int(label != negated)))
    return found


def test_folds_that_ignore_groups_turn_words_round() -> None:
    (found,) = straddle_findings(statements(), n_folds=5, seed=0)
    assert found.check == "pairs straddle folds" and found.count == found.of == 120
    cut = float(found.says.split("read AUROC ")[1].split(";")[0])
    assert cut < 0.25  # a statement's twin has the other label
    assert straddle_findings([replace(e, group=e.id) for e in statements()], n_folds=5, seed=0) == []


def test_words_that_go_over_the_wrong_way_round_are_told() -> None:
    """The land of a true statement is that of a false negated one."""
    rng = np.random.default_rng(1)
    one, other = [], []
    for number in range(120):
        land = str(rng.choice(LANDS))
        true = int((LANDS.index(land) < 4) == (rng.random() < 0.85))
        one.append(Example(f"{number}", f"{number}", "", f"Town{number} is in {land}.", true))
        other.append(Example(f"n{number}", f"n{number}", "", f"Place{number} is not in {land}.", 1 - true))
    found = between_sets("plain", one, "negated", other)
    transfer = next(its for its in found.transfers if its.trained == "plain")
    assert transfer.high < 0.35 and transfer.what == "words of the answer"
    assert "the wrong way round" in found.findings[0].says and found.findings[0].level == "confound"
    again = Between.from_dict(json.loads(json.dumps(found.as_dict())))
    assert again.transfers == found.transfers and again.findings == found.findings


def test_subjects_in_both_sets_are_told_and_what_they_make_of_words() -> None:
    found = between_sets("plain", statements(), "negated", statements(negated=True))
    shared = next(its for its in found.findings if its.check == "subjects in both")
    assert (shared.count, shared.of, shared.level) == (60, 60, "leak")
    straddle = next(its for its in found.findings if its.check == "groups straddle")
    assert straddle.level == "leak" and found.transfers[0].shared < 0.4  # every word of a true one is in a false one


def told(auroc: float, low: float, high: float, p: float) -> SurfaceBaseline:
    return SurfaceBaseline("characters", "length in characters", auroc, low, high, p, 0.6, 0, 60 if auroc > 0.5 else 40)


@pytest.mark.parametrize(
    ("baseline", "is_found"),
    [
        (told(0.7, 0.6, 0.8, 0.001), True),
        (told(0.3, 0.2, 0.4, 0.001), True),
        (told(0.7, 0.6, 0.8, float("nan")), True),  # the same in all rows of a group
        (told(0.55, 0.51, 0.59, 0.001), False),  # too little
        (told(0.7, 0.6, 0.8, 0.2), False),  # by chance
        (told(0.6, 0.45, 0.75, 0.001), False),
    ],
)
def test_a_baseline_is_a_confound_where_interval_and_null_agree(baseline: SurfaceBaseline, is_found: bool) -> None:
    found = surface_finding(baseline, statements(50))
    assert (found is not None) == is_found
    if found is not None:
        assert (
            found.count == 60
            and found.of == 100
            and found.example.startswith("'0-1-False'")
            and 'on=["characters"]' in found.cure
        )
        assert ("wrong way round" in found.says) == (baseline.auroc < 0.5)


def confounded(n: int) -> list[Example]:
    rng = np.random.default_rng(0)
    words = np.array([f"{a}{b}{c}" for a in "bcdfgklmnprst" for b in "aeiou" for c in "bdgklmnprst"])
    found: list[Example] = []
    for number in range(n // 2):
        context = " ".join(rng.choice(words, 60))
        question = " ".join(rng.choice(words, 9))
        for label in (1, 0):
            answer = " ".join(rng.choice(words, rng.integers(1, 5) if label else rng.integers(3, 9)))
            found.append(Example(f"{number}-{label}", str(number), question, answer, label, context))
    return found


def test_ten_thousand_rows_take_seconds_and_little_memory(tmp_path: Path) -> None:
    """The bounds are five times what was measured: a test of the order of growth, not of the machine."""
    examples = confounded(10_000)
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    audit = audit_examples(examples)
    assert time.process_time() - begin < 120
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000
    assert {its.name for its in audit.baselines} >= {"characters", "answer words", "context words"}
    assert "characters" in [its.check for its in audit.findings]


def test_the_command_says_everything_and_the_result_is_read_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = confounded(120)
    rows[0] = replace(rows[0], answer="x" * 30_000)
    write_examples(tmp_path / "mine.jsonl", [*rows, replace(rows[2], id="turned", label=0)])
    _, out, _ = run(capsys, "audit", tmp_path / "mine.jsonl", "--out", tmp_path / "out")
    assert out.index("mine.jsonl, 1 of ") < out.index("mine.jsonl, 2 of ")
    for said in ("length in characters", "both labels", "the longest 30,000", "LABEL CONFLICT: "):
        assert said in out, said
    audit = Audit.load(tmp_path / "out")
    assert [its.check for its in audit.findings[:2]] == [
        "not in the context",
        "both labels",
    ] and audit.verdict == "labels or numbers are wrong"
    assert [table.caption for table in audit.tables()][1:] == [
        "What was found, worst first",
        "What tells the labels without understanding them",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("question,answer,label\nWho?,,1\nWho?,Ann,0\n", "1 of 2 answers are empty (first: line 2)"),
        ("question,answer,label\n,Ann,1\n,Bob,0\n", "line 2: field 'question' is empty"),
        ("question,answer,label\nWho?,Ann,\nWho?,Bob,0\n", "line 2"),
        ("statement,label\n,1\n", "1 of 1 answers are empty (first: line 2)"),
    ],
)
def test_empty_columns_are_named(tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.csv").write_text(text)
    refused(capsys, said, "audit", tmp_path / "mine.csv", "--out", tmp_path / "out")


def test_bytes_that_are_no_text_and_one_label_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.csv").write_bytes(b"question,answer,label\nWho?,Ann\xff\xfe,1\n")
    refused(capsys, "mine.csv", "audit", tmp_path / "mine.csv", "--out", tmp_path / "out")
    (tmp_path / "one.csv").write_text("question,answer,label\n" + "".join(f"Who is {n}?,Ann,1\n" for n in range(30)))
    _, out, _ = run(capsys, "audit", tmp_path / "one.csv", "--out", tmp_path / "out")
    assert "all 30 rows are supported" in out and "no surface baselines: all 30 examples are supported" in out


def test_quick_findings_are_a_part_of_the_whole() -> None:
    examples = confounded(400)
    quick, whole = quick_findings(examples), audit_examples(examples).findings
    assert {its.check for its in quick} <= {its.check for its in whole}
    assert "characters" in {its.check for its in quick}
    assert quick_findings(examples[:4]) == quick_findings(examples[:4], None)  # too few for folds


def test_nothing_to_audit_is_named() -> None:
    with pytest.raises(InputError, match="there are no examples to audit"):
        audit_examples([])


@pytest.mark.published
def test_what_is_known_of_published_files_comes_out(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Numbers that were measured before, by other code."""
    cities = load_examples(str(data / "negation/cities.csv"))
    (straddle,) = straddle_findings(cities, n_folds=5, seed=0)
    assert "words read AUROC 0.04" in straddle.says
    found = between_sets("cities", cities, "negated", load_examples(str(data / "negation/neg_cities.csv")))
    assert any(its.check == "groups straddle" for its in found.findings)
    assert found.transfers[0].trained == "cities" and found.transfers[0].shared == pytest.approx(0.338, abs=0.03)
    for model, auroc in (("Llama33", 0.599), ("gemma27b", 0.684)):
        with gathered_notices():
            parts = [f"h_neurons/{model}_TriviaQA_answer_tokens_{part}.jsonl" for part in ("train", "test")]
            sets = [load_examples(str(data / part)) for part in parts]
        between = between_sets("train", sets[0], "test", sets[1])
        asked = next(its for its in between.transfers if its.trained == "train" and its.what == "words of the question")
        assert asked.shared == pytest.approx(auroc, abs=0.02) and asked.low > 0.54
        audit = audit_examples(sets[0])
        assert 0.6 < next(its.auroc for its in audit.baselines if its.name == "question words") < 0.68
        assert "question words" in [its.check for its in audit.findings]
    _, out, _ = run(capsys, "audit", data / "stability/cities_loc_true_false.csv.gz", "--out", tmp_path)
    assert "1072 of 1400 subjects stand in more than one of the splits (cal, test, train)" in out
    _, logs, _ = run(capsys, "audit", data / "faitheval_hneurons/compliance.csv", "--out", tmp_path)
    assert "outlier in a dose curve: 4 of 91 points" in logs
    ids = [data / f"h_neurons/gemma3_4b_{part}_qids.json" for part in ("train", "test")]
    _, shared, _ = run(capsys, "audit", *ids, "--out", tmp_path)
    assert "1327 ids (of 2000 and 2000" in shared


def test_labels_of_answers_that_differ_in_case_or_signs_alone() -> None:
    one = [Example(f"{n}", f"{n}", f"Who is {n}?", f"Ann {n}.", 1) for n in range(8)]
    other = [replace(e, id=f"b{e.id}", answer=e.answer.lower().rstrip("."), label=int(int(e.id) > 2)) for e in one]
    found = between_sets("one", one, "other", other).findings
    assert [(its.check, its.count, its.level) for its in found] == [("labels of near copies", 3, "wrong")]
    both = audit_examples([*one, *other], n_permutations=0).findings
    assert both[0].check == "both labels" and both[0].count == 3


def test_a_confound_between_groups_is_no_chance() -> None:
    """Labels exchanged inside groups leave it as it is, so their null says nothing."""
    rng = np.random.default_rng(0)
    rows = [
        Example(
            f"{g}-{n}",
            str(g),
            "",
            " ".join(rng.choice(LANDS, rng.integers(4, 8) if g % 2 else rng.integers(1, 5))),
            label,
        )
        for g in range(40)
        for n in range(20)
        for label in [int(n < (17 if g % 2 else 3))]
    ]
    audit = audit_examples(rows)
    told = next(its for its in audit.baselines if its.name == "tokens")
    assert np.isnan(told.p_value) and told.low > 0.6 and "tokens" in [its.check for its in audit.findings]


def test_on_noise_intervals_hold_one_half_and_little_is_found() -> None:
    words = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "dklnrst"]
    held = n = found = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        rows = [
            Example(
                f"{i}-{label}",
                str(i),
                f"Where is {rng.choice(words)} of {i}?",
                " ".join(rng.choice(words, rng.integers(2, 6))),
                label,
            )
            for i in range(40)
            for label in (1, 0)
        ]
        audit = audit_examples(rows, n_permutations=199)
        found += any(its.level != "note" for its in audit.findings)
        for told in audit.baselines:
            if told.low < told.high:
                n += 1
                held += told.low <= 0.5 <= told.high
    assert held / n > 0.88 and found <= 2
