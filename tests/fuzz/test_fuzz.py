"""Whatever is wrong with a file, a folder or a checkpoint: it is read, or refused in one sentence, soon and in little
memory. `make test` tries some thousand changes, always the same; `make fuzz N=20 SEED=1` as many others as wanted.
"""

from __future__ import annotations

import gc
import json
import os
import re
import resource
import shutil
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import reports
import torch
from conftest import build
from mutations import Mutation, mutated, of_bytes, of_csv, of_json, of_npy, of_safetensors

from lens_truth.ablation.result import Ablation
from lens_truth.attention.evidence import EvidenceSummary
from lens_truth.data.examples import Example, write_examples
from lens_truth.data.loading import load_examples
from lens_truth.errors import InputError
from lens_truth.evaluate.answer_log import AnswerLog
from lens_truth.evaluate.answers import Answer
from lens_truth.evaluate.chair import read_synonyms
from lens_truth.evaluate.chair_files import find_images, read_captions, read_objects
from lens_truth.evaluate.choice_log import read_choice_log
from lens_truth.evaluate.halueval import few_shot
from lens_truth.evaluate.pope import pope_result, read_answers, read_questions
from lens_truth.gates.gate import HeadGate
from lens_truth.lineage.inheritance import Heritability
from lens_truth.lineage.kept import Preservation
from lens_truth.lineage.weights import WeightSimilarity
from lens_truth.models.loading import load
from lens_truth.models.prompts import encode
from lens_truth.page.reading import read_runs
from lens_truth.page.sections import view_of
from lens_truth.page.write import rendered
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.scores import HeadScores

TIMES = float(os.environ.get("FUZZ_TIMES", "1"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
SECONDS = 5
"""Of this process's own time, on whatever machine and beside whatever else."""
ROOM = 2 << 30
"""Bytes that a reader may take at most."""

BYTES, JSON, CSV = (of_bytes,), (of_bytes, of_json, of_json, of_json), (of_bytes, of_csv, of_csv)
NPY, TENSORS = (of_bytes, of_npy, of_npy, of_npy), (of_bytes, of_safetensors, of_safetensors, of_safetensors)


@dataclass(frozen=True)
class Target:
    """A file that is changed, and who reads it."""

    n: int
    """Changes in `make test`."""
    file: str
    """Its name in the folder."""
    kinds: tuple[Mutation, ...]
    make: Callable[[Path], object]
    """Puts the whole file, with what lies beside it, into a folder."""
    read: Callable[[Path], object]
    """Of the folder."""


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def text(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


ROW = {"question": "What is in the attic?", "context": "The coral heart is in the attic.", "group": "a", "id": "r"}
ROWS = [{**ROW, "answer": a, "label": i, "evidence": [[4, 15]], "id": a} for i, a in enumerate(("a brick", "a heart"))]
PAPER = {"image_id": 7, "image": "7.png", "question": "Is there a cat?", "answer": "yes", "label": 1, "context": "Cat."}
QUESTION = {"question_id": 1, "image": "1.jpg", "text": "Is there a cat?", "label": "yes"}
SQUAD = {
    "version": "1.1",
    "data": [
        {
            "title": "A",
            "paragraphs": [
                {
                    "context": "The coral heart is in the attic.",
                    "qas": [{"id": "1", "question": "Where?", "answers": [{"answer_start": 26, "text": "attic"}]}],
                }
            ],
        }
    ],
}
HOTPOT = {
    "_id": "1",
    "question": "Where?",
    "answer": "attic",
    "type": "bridge",
    "level": "easy",
    "supporting_facts": [["House", 0], ["Heart", 1]],
    "context": [["House", ["It has an attic.", " It is old."]], ["Heart", ["It is coral.", " It lies there."]]],
}


def scores() -> HeadScores:
    values = np.random.default_rng(0).uniform(0.4, 0.9, (3, 4))
    return HeadScores(values, metrics={"auroc": values}, folds=np.stack([values] * 2), provenance={"n_kv_heads": 2})


def read_scores(name: str) -> Callable[[Path], object]:
    def read(folder: Path) -> None:
        found = HeadScores.load(folder / name)
        json.dumps(found.as_dict(), allow_nan=False)
        found.tables()
        found.save(folder / "again.safetensors")
        HeadGate.from_scores(found, 1.0, "center")

    return read


def retrieval(folder: Path) -> None:
    heads = {f"{layer}-{head}": [0.5, 0.25 * head] for layer in range(2) for head in range(3)}
    (folder / "retrieval.json").write_text(json.dumps(heads))


def activations(folder: Path) -> None:
    z, labels = torch.rand(4, 2, 3, 5), torch.tensor([0, 1, 0, 1])
    HeadActivations(z, labels, tuple("aabb"), tuple("wxyz"), {"model": "m"}).save(folder / "z")


def read_activations(folder: Path) -> None:
    HeadActivations.load(folder / "z").z.sum()


class NoModel:
    """A model with all that a log of answers asks of one."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def answer_log(path: Path) -> AnswerLog:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lens_truth.evaluate.answer_log.setup_hash", lambda model: "settings")
        patch.setattr("lens_truth.evaluate.answer_log.inner_model", lambda model: model)
        return AnswerLog(path, NoModel(), "m", "weights")


def log_answers(folder: Path) -> None:
    with answer_log(folder / "answers.jsonl") as log:
        for i in range(3):
            log.add(f"k{i}", "open", f"q{i}", "vanilla", Answer(f"answer {i}", 0.5 * i if i else None))


def read_log(folder: Path) -> None:
    with answer_log(folder / "answers.jsonl") as log:
        for i in range(3):
            known = log.get(f"k{i}")
            assert known is None or (isinstance(known.text, str) and (known.margin or 0.0) * 0 == 0)


def run_of(make: Callable[[Path], Path]) -> Callable[[Path], object]:
    return lambda folder: make(folder / "run")


def read_report(folder: Path) -> None:
    runs, problems = read_runs([folder / "run"])
    for problem in problems:
        one_sentence(str(problem))
    if runs:
        rendered(view_of(runs, problems, None))


def read_results(folder: Path) -> None:
    for kind in (Ablation, EvidenceSummary, Heritability, Preservation, WeightSimilarity):
        try:
            found = kind.load(folder / "run")
        except InputError as error:
            one_sentence(str(error))
            continue
        json.dumps(found.as_dict(), allow_nan=False)
        found.tables()


NAMES = read_synonyms()


def captions_read(folder: Path) -> None:
    read_captions(folder / "c.jsonl")
    find_images(folder, folder / "list.jsonl", read_objects(folder / "o.json", NAMES))


def captions(folder: Path) -> None:
    (folder / "c.jsonl").write_text(lines({"image_id": 1, "caption": "a dog"}, {"image_id": 2, "caption": "a cat"}))
    (folder / "list.jsonl").write_text(lines({"file_name": "1.png"}))
    (folder / "o.json").write_text(json.dumps({"1": ["dog", "sofa"], "2": []}))
    shutil.copyfile(reports.__file__, folder / "1.png")


def pope(folder: Path) -> None:
    (folder / "q.jsonl").write_text(lines(QUESTION, {**QUESTION, "question_id": 2, "label": "no"}))
    (folder / "a.jsonl").write_text(lines(*({"question_id": i, "answer": "Yes, there is."} for i in (1, 2))))


def pope_read(folder: Path) -> None:
    questions = read_questions(folder / "q.jsonl")
    pope_result({"q": (questions, read_answers(folder / "a.jsonl", questions))}).tables()


def examples(name: str, **how: Any) -> Callable[[Path], object]:
    def read(folder: Path) -> None:
        found = load_examples(name.format(folder), **how)
        assert found and all(row.label in (0, 1) and row.question.strip() for row in found)
        write_examples(folder / "again.jsonl", found)

    return read


TRIVIA = {"Data": [{"Question": "What?", "QuestionId": "1", "Answer": {"Value": "a heart", "Aliases": ["heart"]}}]}
LOG = [{"id": 1, "run": "r", "alpha": alpha, "labels": [1, 0], "ll": [-1, -2.5], "metric": 1.0} for alpha in (0, 2)]
CONFLICTS = {
    "nqswap": {"question": "What?", "sub_context": "A brick.", "sub_answer": ["brick"], "org_answer": ["heart"]},
    "memotrap": {"prompt": "End with brick: a", "classes": "[' heart', ' brick']", "answer_index": 1},
    "faitheval": {"qid": "1", "context": "A brick, a heart.", "question": "What?", "answers": ["brick", "heart"]},
    "ragtruth": {"source_id": 1, "source_info": {"of": "brick"}, "labels": [{"start": 0}], "response": "A heart."},
}


def log_read(folder: Path) -> None:
    found = read_choice_log(folder / "l.json")
    assert found.tables() and json.dumps(found.summary())


HALUEVAL = "knowledge,raw_question,correct_answer,hallucinated_answer\n" + "It is there.,What is?,a heart,a brick\n" * 2
OWN_CSV = "question,context,answer,label,group\nWhat?,All of it.,this,1,a\nWhat?,All of it.,that,0,a\n"

TARGETS = {
    "examples.jsonl": Target(160, "x.jsonl", JSON, text("x.jsonl", lines(*ROWS)), examples("{}/x.jsonl")),
    "examples.csv": Target(120, "x.csv", CSV, text("x.csv", OWN_CSV), examples("{}/x.csv")),
    "halueval.csv": Target(100, "h.csv", CSV, text("h.csv", HALUEVAL), examples("halueval:{}/h.csv")),
    "phd": Target(100, "p.jsonl", JSON, text("p.jsonl", lines(PAPER, PAPER)), examples("phd-text:{}/p.jsonl")),
    "rlhfv": Target(
        80, "p.jsonl", JSON, text("p.jsonl", lines(PAPER, PAPER)), examples("rlhfv:{}/p.jsonl", images_needed=False)
    ),
    "squad": Target(120, "s.json", JSON, text("s.json", json.dumps(SQUAD)), examples("squad:{}/s.json")),
    "hotpot": Target(120, "h.json", JSON, text("h.json", json.dumps([HOTPOT])), examples("hotpot:{}/h.json")),
    **{
        source: Target(50, "c.jsonl", JSON, text("c.jsonl", lines(row)), examples(f"{source}:{{}}/c.jsonl"))
        for source, row in CONFLICTS.items()
    },
    "triviaqa": Target(60, "t.json", JSON, text("t.json", json.dumps(TRIVIA)), examples("triviaqa:{}/t.json")),
    "log-likelihoods": Target(80, "l.json", JSON, text("l.json", json.dumps(LOG)), log_read),
    "pope questions": Target(80, "q.jsonl", JSON, pope, pope_read),
    "pope answers": Target(80, "a.jsonl", JSON, pope, pope_read),
    "captions": Target(80, "c.jsonl", JSON, captions, captions_read),
    "objects": Target(60, "o.json", JSON, captions, captions_read),
    "list of images": Target(60, "list.jsonl", JSON, captions, captions_read),
    "synonyms": Target(
        60, "s.txt", BYTES, text("s.txt", "dog, puppy\ncat, kitten\n"), lambda folder: read_synonyms(folder / "s.txt")
    ),
    "instruction": Target(
        20, "i.txt", BYTES, text("i.txt", "I want you to judge.\n"), lambda folder: few_shot(folder / "i.txt")
    ),
    "scores.safetensors": Target(
        160,
        "s.safetensors",
        TENSORS,
        lambda folder: scores().save(folder / "s.safetensors"),
        read_scores("s.safetensors"),
    ),
    "scores.parquet": Target(
        160, "s.parquet", BYTES, lambda folder: scores().save(folder / "s.parquet"), read_scores("s.parquet")
    ),
    "examples.parquet": Target(
        160,
        "x.parquet",
        BYTES,
        lambda folder: write_examples(folder / "x.parquet", [Example.from_row(row) for row in ROWS]),
        examples("{}/x.parquet"),
    ),
    "scores.npy": Target(160, "s.npy", NPY, lambda folder: scores().save(folder / "s.npy"), read_scores("s.npy")),
    "scores.csv": Target(160, "s.csv", CSV, lambda folder: scores().save(folder / "s.csv"), read_scores("s.csv")),
    "retrieval.json": Target(100, "retrieval.json", JSON, retrieval, read_scores("retrieval.json")),
    "gate": Target(
        100,
        "g.safetensors",
        TENSORS,
        lambda folder: HeadGate(torch.rand(3, 4), provenance={"a": 1}).save(folder / "g.safetensors"),
        lambda folder: HeadGate.load(folder / "g.safetensors"),
    ),
    "activations": Target(100, "z/z.npy", NPY, activations, read_activations),
    "rows of activations": Target(80, "z/rows.json", JSON, activations, read_activations),
    "answers.jsonl": Target(140, "answers.jsonl", JSON, log_answers, read_log),
    **{
        f"report of {name}": Target(40, "run/result.json", JSON, run_of(make), read_report)
        for name, make in {
            "probe": lambda folder: reports.probe_run(folder, reports.scores()),
            "evidence": reports.evidence_run,
            "inherit": reports.inherit_run,
            "weights": reports.weights_run,
            "ablate": reports.ablate_run,
        }.items()
    },
    "report of attention": Target(40, "run/attention.json", JSON, run_of(reports.evidence_run), read_report),
    **{
        f"result of {name}": Target(40, "run/result.json", JSON, run_of(make), read_results)
        for name, make in {
            "evidence": reports.evidence_run,
            "inherit": reports.inherit_run,
            "weights": reports.weights_run,
            "ablate": reports.ablate_run,
        }.items()
    },
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", TARGETS)
def test_whatever_is_wrong_with_a_file_is_one_sentence(tmp_path: Path, name: str) -> None:
    fuzz(name, TARGETS[name], tmp_path)


@pytest.fixture(scope="module")
def checkpoint(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random Llama with a tokenizer and a chat template."""
    folder = tmp_path_factory.mktemp("checkpoint")
    build("llama-gqa-head-dim", len(tokenizer), num_hidden_layers=2).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


SHOWN = [Example("i", "g", "Where is the heart?", "attic", 1, "The heart is in the attic.")]
CHECKPOINT: dict[str, tuple[int, tuple[Mutation, ...]]] = {
    "config.json": (60, JSON),
    "generation_config.json": (20, JSON),
    "tokenizer.json": (30, JSON),
    "tokenizer_config.json": (30, JSON),
    "chat_template.jinja": (10, BYTES),
    "model.safetensors": (30, TENSORS),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", CHECKPOINT)
def test_whatever_is_wrong_with_a_checkpoint_is_one_sentence(tmp_path: Path, checkpoint: Path, name: str) -> None:
    n, kinds = CHECKPOINT[name]

    def read(folder: Path) -> None:
        model = load(folder / "model")
        encode(model.tokenizer, SHOWN, "chat" if name.startswith("chat") else "plain")

    fuzz(name, Target(n, f"model/{name}", kinds, lambda to: shutil.copytree(checkpoint, to / "model"), read), tmp_path)


# -- the frame --------------------------------------------------------------------------------------------------------


def fuzz(name: str, target: Target, folder: Path) -> None:
    """Tries all changes of a file; fails with those that end in anything but a value or one sentence."""
    target.make(folder)
    path = folder / target.file
    whole = path.read_bytes()
    target.read(folder)  # or nothing would be tested
    found: dict[str, str] = {}
    for number in range(round(target.n * TIMES)):
        random = Random(f"{SEED} {name} {number}")
        path.write_bytes(content := mutated(random, whole, target.kinds))
        if (wrong := what_happens(target.read, folder)) is not None:
            found.setdefault(wrong.split("\n")[0], f"{wrong}\nafter change {number}: {content[:300]!r}")
    assert not found, f"{len(found)} kinds of failures:\n\n" + "\n\n".join(found.values())


def what_happens(read: Callable[[Path], object], folder: Path) -> str | None:
    """None if the folder is read, or refused in one sentence."""
    try:
        with limits(), uncollected(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(folder)
    except InputError as error:
        try:
            one_sentence(str(error))
        except AssertionError:
            return f"not one sentence: {str(error)[:300]!r}"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames if "/lens_truth/" in frame.filename]
        said = " ".join(str(error).split())[:200]
        return f"{type(error).__name__} by way of {' '.join(ours[-3:])}\n{said}"
    return None


def one_sentence(said: str) -> None:
    assert said and "\n" not in said and "Traceback" not in said and len(said) < 1500
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", said)


@contextmanager
def uncollected() -> Iterator[None]:
    """Earlier tests' garbage waits: a finaliser that is called some thousand lists deep finds the stack full, and what
    it then says is laid at this test's door."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class TooLongError(BaseException):
    """A reader took more than its time."""


@contextmanager
def limits() -> Iterator[None]:
    """Of time and memory."""

    def stop(*_: object) -> None:
        raise TooLongError

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = signal.signal(signal.SIGVTALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + ROOM, hard))
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGVTALRM, before)
