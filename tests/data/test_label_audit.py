"""Labels that contradict one another: inside a data set, between two, on made rows and on the released files."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import refused, run

from lens_truth.confounds.audit import audit_examples
from lens_truth.confounds.audit_result import Audit
from lens_truth.data.agreement import Agreement, label_agreement, label_warnings, repeats
from lens_truth.data.examples import Example, write_examples
from lens_truth.data.loading import load_examples
from lens_truth.errors import InputError, gathered_notices
from lens_truth.evaluate.chair import objects_in, read_synonyms
from lens_truth.evaluate.chair_files import image_key, read_objects

SETS = {"C": "phd:{}/setC_images_phd10k", "D": "rlhfv:{}/setD_images_rlhfv", "E": "rlhfv:{}/setE_images_rlhfv_phd"}


def rows(*answers: tuple[str, int], image: str = "") -> list[Example]:
    return [Example(f"{i}", f"{i}", "What?", answer, label, image=image) for i, (answer, label) in enumerate(answers)]


def test_agreement_counts_each_answer_once_and_says_the_direction() -> None:
    one = rows(("a", 1), ("b", 1), ("c", 0), ("d", 1), ("d", 0), ("e", 1), ("f", 0))
    other = rows((" a", 0), ("b", 0), ("b", 0), ("c", 1), ("d", 1), ("e", 1), ("g", 1))
    agreement = label_agreement(one, other)
    assert agreement == Agreement(shared=5, same=1, supported_first=2, hallucinated_first=1)
    assert (agreement.opposite, agreement.undecided) == (3, 1)
    assert label_agreement(other, one) == Agreement(5, 1, 1, 2)
    inside, between = label_warnings({"one": one, "other": other})
    assert "one labels 1 answers both supported and hallucinated" in inside
    assert "one and other label 3 of the 5 answers that both have oppositely" in between
    assert "2 are supported in one and hallucinated in other, 1 the other way round" in between
    assert repeats(one) == (1, 1) and repeats(other) == (1, 0)
    assert label_warnings({"same": other, "again": other}) == []


def test_an_audit_says_what_is_wrong_and_is_read_back(tmp_path: Path) -> None:
    told = [Example(f"{i}", f"{i}", "What?", "x" * (1 + i % 2), i % 2) for i in range(60)]
    audit = audit_examples([*told, replace(told[0], id="again", label=1)])
    assert (audit.rows, audit.groups, audit.supported, audit.repeated, audit.contradictory) == (61, 60, 31, 59, 1)
    assert audit.majority_share == 31 / 61
    conflict, *_, confound = audit.warnings("mine")
    assert confound.startswith("mine: SURFACE CONFOUND")
    assert conflict.startswith("mine: LABEL CONFLICT: 1 of 2 answers are labelled both supported and hallucinated")
    table = audit.tables()[0]
    said = ["0.508", f"{audit.surface_accuracy:.3f}", "59", "1", "labels or numbers are wrong"]
    assert table.texts() == [["", "61", "60", "31", *said]]
    audit.save(tmp_path)
    assert Audit.load(tmp_path) == audit

    single = audit_examples(rows(("a", 1), ("b", 1)))
    single.save(tmp_path)
    assert Audit.load(tmp_path) == single and math.isnan(single.surface_accuracy)
    assert single.warnings()[0] == f"the data: no surface baselines: {single.no_surface}"
    assert "1 of 2 answers are empty" in audit_examples(rows(("a", 1), (" ", 0))).no_surface
    with pytest.raises(InputError, match="there are no examples to audit"):
        audit_examples([])


def test_what_makes_two_answers_the_same() -> None:
    """The image file's name, not its folder; another image, question or context is another answer."""
    here = rows(("a", 1), image="/one/7.png")
    assert label_agreement(here, rows(("a", 0), image="/two/7.png")).opposite == 1
    assert label_agreement(here, rows(("a", 0), image="/one/8.png")).shared == 0
    assert label_agreement(rows(("a", 1), image="zoo:x/7"), rows(("a", 0), image="zoo:y/7")).shared == 0
    told = [Example("0", "0", "What?", "a", 1, "A context.")]
    assert label_agreement(told, rows(("a", 0))).shared == 0


@pytest.mark.parametrize("name", ["zoo:text", "zoo:conflict", "zoo:presence"])
def test_generated_data_does_not_contradict_itself(name: str) -> None:
    assert repeats(load_examples(name)) == (0, 0)


def image_rows(path: Path, **changes: Any) -> Path:
    """Twelve answers about images that are not there; `changes` in all rows."""
    said = [
        {"question": f"Is there a {i}?", "answer": "yes", "label": ["gold", "hallucinated"][i % 2]} for i in range(12)
    ]
    path.write_text("".join(json.dumps({**row, "image": f"{i}.jpg", **changes}) + "\n" for i, row in enumerate(said)))
    return path


def test_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    one, two = image_rows(tmp_path / "one.jsonl"), image_rows(tmp_path / "two.jsonl", label="gold")
    write_examples(
        tmp_path / "mine.jsonl", [Example(f"{i}", f"{i}", "What?", "x" * (1 + i % 2), i % 2) for i in range(60)]
    )
    out = tmp_path / "out"
    code, said, _ = run(
        capsys, "audit", f"rlhfv:{one}", f"phd:{two}", tmp_path / "mine.jsonl", "--folds", "3", "--out", out
    )
    assert code == 0
    record = json.loads((out / "result.json").read_text())
    conflict, single, surface = (
        next(sentence for sentence in record["warnings"] if mark in sentence)
        for mark in ("LABEL CONFLICT", "no surface baseline", "SURFACE CONFOUND")
    )
    assert "rlhfv:one.jsonl and phd:two.jsonl label 6 of the 12 answers that both have oppositely" in conflict
    assert single.startswith("phd:two.jsonl: ") and "all 12 examples are supported" in single
    assert surface.startswith("mine.jsonl: ") and "accuracy 1.000" in surface
    findings = [its.says for name in record["results"]["audit"] for its in Audit.load(out, name).findings]
    assert conflict in said and single in said and findings and all(sentence in said for sentence in findings)
    assert Audit.load(out).groups == 12
    assert Audit.load(out, "mine.jsonl").repeated == 58
    assert record["results"]["audit"]["phd:two.jsonl"]["surface_accuracy"] is None
    assert Agreement.load(out) == Agreement(12, 6, 0, 6)
    for name in record["results"]["audit"]:
        data = {"rlhfv:one.jsonl": f"rlhfv:{one}", "phd:two.jsonl": f"phd:{two}"}.get(name, str(tmp_path / name))
        assert Audit.load(out, name) == audit_examples(load_examples(data, images_needed=False), n_folds=3)
    assert len(set(record["hashes"].values())) == 3

    (tmp_path / "b").mkdir()
    both = image_rows(tmp_path / "b" / "one.jsonl")  # files of one name go by their whole path
    assert run(capsys, "audit", f"rlhfv:{one}", f"rlhfv:{both}", "--folds", "3", "--out", out)[0] == 0
    assert set(json.loads((out / "result.json").read_text())["hashes"]) == {f"rlhfv:{one}", f"rlhfv:{both}"}


def test_bad_input(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    refused(capsys, "a data set is named twice", "audit", "zoo:text", "zoo:text", *out)
    refused(capsys, "no data set 'zoo:poems'", "audit", "zoo:poems", *out)
    refused(capsys, "none.jsonl: there is no such file", "audit", f"phd:{tmp_path / 'none.jsonl'}", *out)
    refused(capsys, "the limit is 0", "audit", "--limit", "0", *out)
    refused(capsys, "1 folds were asked for", "audit", "--folds", "1", *out)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def released(data: Path) -> dict[str, list[Example]]:
    with gathered_notices():
        return {
            name: load_examples(f"{where.format(data / 'rlhfv_phd')}.jsonl.gz", images_needed=False)
            for name, where in SETS.items()
        }


@pytest.mark.published
def test_sets_d_and_e_label_the_same_answers_oppositely(data: Path, released: dict[str, list[Example]]) -> None:
    """2,724 of 2,726 rows of RLHF-V as they stand in the files; one of these has an empty answer, which is not read."""
    assert label_agreement(released["D"], released["E"]) == Agreement(2_725, 2, 1_390, 1_333)
    assert label_agreement(released["C"], released["E"]) == Agreement(10_000, 10_000, 0, 0)
    assert label_agreement(released["C"], released["D"]).shared == 0
    assert all(repeats(its) == (0, 0) for its in released.values())


@pytest.mark.published
def test_objects_lean_towards_the_direction_of_set_e(data: Path, released: dict[str, list[Example]]) -> None:
    """COCO objects that an answer mentions beside its question's: the share that is not annotated in the image."""
    names = read_synonyms()
    objects = read_objects(data / "chair" / "coco2014_trainval_chair_objects.json.gz", names).of_image
    mentioned, absent = [0, 0], [0, 0]
    for row in released["D"]:
        asked, said = ({mention.name for mention in objects_in(t, names)} for t in (row.question, row.answer))
        mentioned[row.label] += len(said - asked)
        absent[row.label] += len(said - asked - objects[image_key(Path(row.image).stem)])
    hallucinated, supported = (n / of for n, of in zip(absent, mentioned, strict=True))
    assert supported == pytest.approx(0.153, abs=0.005) and hallucinated == pytest.approx(0.095, abs=0.005)
