"""Files as their authors publish them: recognised by their fields, whatever they are called; rows are our own."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lens_truth.data.examples import Example
from lens_truth.data.formats import FORMATS
from lens_truth.data.loading import load_examples, read_data_set
from lens_truth.errors import InputError, gathered_notices

Said = list[tuple[str, str, str, int]]


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(*rows: dict[str, Any], between: str = ",") -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=between)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def told(examples: list[Example]) -> Said:
    return [(e.context, e.question, e.answer, e.label) for e in examples]


MOSS = "Moss grows on the roof."
ASKED = {"knowledge": MOSS, "question": "Where?"}
SUMMARY = {"document": MOSS, "right_summary": "Moss on a roof.", "hallucinated_summary": "Moss in a bog."}
TALK = "[Human]: Where? [Assistant]: On the roof. [Human]: What?"
SPANNED = {"id": "s1", "title": "Moss", "context": MOSS, "question": "Where?"}
FACTS = {"title": ["Moss"], "sent_id": [0]}

PUBLISHED: dict[str, tuple[str, Any, Said]] = {
    "halueval qa": (
        "HaluEval's questions",
        {**ASKED, "right_answer": "roof", "hallucinated_answer": "bog"},
        [(MOSS, "Where?", "roof", 1), (MOSS, "Where?", "bog", 0)],
    ),
    "halueval csv": (
        "HaluEval's questions",
        {"knowledge": MOSS, "raw_question": "Where?", "correct_answer": "roof", "hallucinated_answer": "bog"},
        [(MOSS, "Where?", "roof", 1), (MOSS, "Where?", "bog", 0)],
    ),
    "halueval dialogue": (
        "HaluEval's dialogues",
        {"knowledge": MOSS, "dialogue_history": TALK, "right_response": "Moss.", "hallucinated_response": "Ivy."},
        [(MOSS, TALK, "Moss.", 1), (MOSS, TALK, "Ivy.", 0)],
    ),
    "halueval summarization": (
        "HaluEval's summaries",
        SUMMARY,
        [
            (MOSS, "Summarize the document.", "Moss on a roof.", 1),
            (MOSS, "Summarize the document.", "Moss in a bog.", 0),
        ],
    ),
    "halueval qa samples": (
        "HaluEval's question samples",
        {**ASKED, "answer": "bog", "hallucination": "yes"},
        [(MOSS, "Where?", "bog", 0)],
    ),
    "halueval dialogue samples": (
        "HaluEval's dialogue samples",
        {"knowledge": MOSS, "dialogue_history": TALK, "response": "Moss.", "hallucination": "no"},
        [(MOSS, TALK, "Moss.", 1)],
    ),
    "halueval general": (
        "HaluEval's user queries",
        {
            "ID": "7",
            "user_query": "Name a plant.",
            "chatgpt_response": "Moss.",
            "hallucination": "no",
            "hallucination_spans": [],
        },
        [("", "Name a plant.", "Moss.", 1)],
    ),
    "halueval general, first release": (
        "HaluEval's user queries",
        {"ID": "7", "user_query": "Name a plant.", "chatgpt_response": "Quartz.", "hallucination_label": "yes"},
        [("", "Name a plant.", "Quartz.", 0)],
    ),
    "truthfulqa csv": (
        "TruthfulQA",
        {
            "Type": "Adversarial",
            "Category": "Plants",
            "Question": "Does moss point north?",
            "Best Answer": "No",
            "Correct Answers": "No; It grows on all sides",
            "Incorrect Answers": "Yes; Moss grows north;",
            "Source": "own",
        },
        [
            ("", "Does moss point north?", "No", 1),
            ("", "Does moss point north?", "It grows on all sides", 1),
            ("", "Does moss point north?", "Yes", 0),
            ("", "Does moss point north?", "Moss grows north", 0),
        ],
    ),
    "truthfulqa generation": (
        "TruthfulQA",
        {"type": "x", "question": "Q?", "best_answer": "No", "correct_answers": ["No"], "incorrect_answers": ["Yes"]},
        [("", "Q?", "No", 1), ("", "Q?", "Yes", 0)],
    ),
    "truthfulqa mc_task": (
        "TruthfulQA's choices",
        {"question": "Q?", "mc1_targets": {"No": 1, "Yes": 0}, "mc2_targets": {"No": 1, "Never": 1, "Yes": 0}},
        [("", "Q?", "No", 1), ("", "Q?", "Never", 1), ("", "Q?", "Yes", 0)],
    ),
    "truthfulqa multiple choice": (
        "TruthfulQA's choices",
        {
            "question": "Q?",
            "mc1_targets": {"choices": ["No", "Yes"], "labels": [1, 0]},
            "mc2_targets": {"choices": ["No", "Yes"], "labels": [1, 0]},
        },
        [("", "Q?", "No", 1), ("", "Q?", "Yes", 0)],
    ),
    "squad flat": (
        "SQuAD's rows",
        {**SPANNED, "answers": {"text": ["the roof"], "answer_start": [14]}},
        [(MOSS, "Where?", "the roof", 1)],
    ),
    "squad 2": (
        "SQuAD",
        {
            "version": "v2.0",
            "data": [
                {
                    "title": "Moss",
                    "paragraphs": [
                        {
                            "context": MOSS,
                            "qas": [
                                {
                                    "id": "1",
                                    "question": "Why?",
                                    "is_impossible": True,
                                    "answers": [],
                                    "plausible_answers": [{"text": "roof", "answer_start": 18}],
                                },
                                {
                                    "id": "2",
                                    "question": "Where?",
                                    "is_impossible": False,
                                    "answers": [{"text": "roof", "answer_start": 18}],
                                },
                            ],
                        }
                    ],
                }
            ],
        },
        [(MOSS, "Why?", "not stated", 1), (MOSS, "Why?", "roof", 0), (MOSS, "Where?", "roof", 1)],
    ),
    "hotpot": (
        "HotpotQA",
        {
            "_id": "h",
            "question": "Where?",
            "answer": "roof",
            "context": [["Moss", [MOSS]], ["Ivy", ["Ivy climbs."]]],
            "supporting_facts": [["Moss", 0]],
        },
        [(f"Moss: {MOSS}\nIvy: Ivy climbs.", "Where?", "roof", 1)],
    ),
    "hotpot hub": (
        "HotpotQA",
        {
            "id": "h",
            "question": "Where?",
            "answer": "roof",
            "context": {"title": ["Moss"], "sentences": [[MOSS]]},
            "supporting_facts": FACTS,
        },
        [(f"Moss: {MOSS}", "Where?", "roof", 1)],
    ),
    "nq-swap": (
        "NQ-Swap",
        {
            "question": "where does moss grow",
            "org_context": MOSS,
            "org_answer": ["roof"],
            "sub_context": "Moss grows on the fence.",
            "sub_answer": ["fence"],
        },
        [
            ("Moss grows on the fence.", "where does moss grow", "fence", 1),
            ("Moss grows on the fence.", "where does moss grow", "roof", 0),
        ],
    ),
    "memotrap": (
        "MemoTrap",
        {
            "prompt": 'End with "moss": A rolling stone gathers no',
            "classes": "[' dust.', ' moss.']",
            "answer_index": 1,
            "part": 1,
        },
        [
            ("", 'End with "moss": A rolling stone gathers no', "dust.", 0),
            ("", 'End with "moss": A rolling stone gathers no', "moss.", 1),
        ],
    ),
    "faitheval counterfactual": (
        "FaithEval's counterfactual contexts",
        {
            "id": "f1",
            "question": "What is moss?",
            "answer": "a metal",
            "answerKey": "B",
            "choices": {"label": ["A", "B"], "text": ["a plant", "a metal"]},
            "context": "Moss is a metal.",
            "num of options": 2,
        },
        [("Moss is a metal.", "What is moss?", "a plant", 0), ("Moss is a metal.", "What is moss?", "a metal", 1)],
    ),
    "faitheval unanswerable": (
        "FaithEval",
        {"qid": "u", "question": "Why?", "context": MOSS, "answers": ["unknown", "unclear"], "subset": "x"},
        [(MOSS, "Why?", "not stated", 1)],
    ),
    "faitheval inconsistent": (
        "FaithEval",
        {"qid": "i", "question": "Where?", "context": f"{MOSS} Moss grows in bogs.", "answers": ["the roof", "bogs"]},
        [
            (f"{MOSS} Moss grows in bogs.", "Where?", "conflict", 1),
            (f"{MOSS} Moss grows in bogs.", "Where?", "the roof", 0),
            (f"{MOSS} Moss grows in bogs.", "Where?", "bogs", 0),
        ],
    ),
    "ragtruth": (
        "RAGTruth",
        {"id": "3", "source_id": "9", "source_info": MOSS, "labels": [], "quality": "good", "response": "Roof moss."},
        [(MOSS, "Summarize the document.", "Roof moss.", 1)],
    ),
    "triviaqa": (
        "TriviaQA",
        {
            "Data": [
                {
                    "Question": "What is moss?",
                    "QuestionId": "tc_1",
                    "Answer": {
                        "Value": "Plant",
                        "Aliases": ["Plant", "Plantae"],
                        "NormalizedAliases": ["plant", "plantae"],
                    },
                    "EntityPages": [],
                }
            ],
            "Domain": "Web",
        },
        [("", "What is moss?", "Plant", 1)],
    ),
    "triviaqa hub": (
        "TriviaQA's rows",
        {
            "question": "What is moss?",
            "question_id": "tc_1",
            "answer": {"value": "Plant", "aliases": ["Plantae"], "normalized_aliases": ["plant", "plantae"]},
            "entity_pages": {"title": []},
        },
        [("", "What is moss?", "Plant", 1)],
    ),
}
NESTED = ("truthfulqa g", "truthfulqa m", "squad", "hotpot", "halueval general", "faith", "ragtruth", "triviaqa", "nq")

WAYS: dict[str, tuple[str, Callable[[Any], bytes]]] = {
    "lines": ("data.json", lambda row: lines(row).encode()),
    "a list": ("data.json", lambda row: json.dumps([row], indent=1).encode()),
    "packed": ("data", lambda row: gzip.compress(lines(row).encode(), mtime=0)),
    "a table": ("data.txt", lambda row: table(row).encode()),
    "tabs": ("data.tsv", lambda row: table(row, between="\t").encode()),
}


TABLES = ("a table", "tabs")  # have no lists
FLAT = [case for case in PUBLISHED if not case.startswith(NESTED)]


@pytest.mark.parametrize(
    ("case", "way"), [(case, way) for way in WAYS for case in (FLAT if way in TABLES else PUBLISHED)]
)
def test_published_files_are_recognised(tmp_path: Path, case: str, way: str) -> None:
    """Whatever a file is called and however its rows stand in it."""
    name, row, expected = PUBLISHED[case]
    file, write = WAYS[way]
    (tmp_path / file).write_bytes(write(row))
    with gathered_notices():
        found = read_data_set(str(tmp_path / file))
    assert (found.format, told(found.examples)) == (name, expected)
    source = next(format.sources[0] for format in FORMATS if format.name == name)
    with gathered_notices():
        assert load_examples(f"{source}:{tmp_path / file}") == found.examples


def test_one_object_on_many_lines(tmp_path: Path) -> None:
    _, row, expected = PUBLISHED["squad 2"]
    (tmp_path / "dev.json").write_text(json.dumps(row, indent=2))
    assert told(load_examples(str(tmp_path / "dev.json"))) == expected


def test_groups_and_ids_of_a_question(tmp_path: Path) -> None:
    rows = [PUBLISHED["halueval qa"][1]] * 2
    (tmp_path / "qa_data.json").write_text(lines(*rows))
    found = load_examples(str(tmp_path / "qa_data.json"))
    assert [e.id for e in found] == [f"halueval-{n}-{side}" for n in (0, 1) for side in ("right", "wrong")]
    assert [e.group for e in found] == ["halueval-0"] * 2 + ["halueval-1"] * 2
    _, row, _ = PUBLISHED["truthfulqa csv"]
    (tmp_path / "TruthfulQA.csv").write_text(table(row, row))
    found = load_examples(str(tmp_path / "TruthfulQA.csv"))
    assert len({e.id for e in found}) == 8 and [e.group[-1] for e in found] == list("00001111")


# -- images ---------------------------------------------------------------------------------------------------------

POPE = {"question_id": 1, "image": "COCO_val2014_000000000007.jpg", "text": "Is there a cat?", "label": "no"}
PHD = {
    "image_id": "000000000007",
    "task": "object",
    "yes_question": "Is there a cat?",
    "no_question": "Is there a dog?",
    "hitem": "dog",
    "gt": "cat",
    "subject": "cat",
    "context": {"sec": "Dogs are common.", "icc": "There is a dog."},
}
PREFERRED = {"question": "What is it?", "chosen": "A cat.", "rejected": "A dog."}
RLHFV = {"ds_name": "x", "image": "c", "text": json.dumps(PREFERRED), "idx": 0, "image_path": "coco/7.jpg"}


@pytest.mark.parametrize(
    ("row", "file", "expected"),
    [
        (POPE, POPE["image"], [("Is there a cat?", "yes", 0), ("Is there a cat?", "no", 1)]),
        (
            PHD,
            "COCO_train2014_000000000007.jpg",
            [
                ("Is there a cat?", "yes", 1),
                ("Is there a cat?", "no", 0),
                ("Is there a dog?", "yes", 0),
                ("Is there a dog?", "no", 1),
            ],
        ),
        ({**PHD, "image_id": "7", "ccs_description": "a purple cat"}, "CCS_images/7.png", None),
        (RLHFV, "7.jpg", [("What is it?", "A cat.", 1), ("What is it?", "A dog.", 0)]),
        ({**PREFERRED, "image_path": "coco/7.jpg"}, "coco/7.jpg", [("What is it?", "A cat.", 1)]),
    ],
    ids=["POPE", "PhD", "PhD's own images", "RLHF-V", "RLAIF-V"],
)
def test_published_rows_about_images(
    tmp_path: Path, row: dict[str, Any], file: str, expected: list[tuple[str, str, int]] | None
) -> None:
    (tmp_path / "data.json").write_text(json.dumps([row]))
    folder = tmp_path / "images"
    (folder / file).parent.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(folder / file, "PNG")
    found = load_examples(str(tmp_path / "data.json"), images=folder)
    assert {e.image for e in found} == {str(folder / file)} and len({e.group for e in found}) == 1
    if expected is not None:
        assert [(e.question, e.answer, e.label) for e in found][: len(expected)] == expected
    with pytest.raises(InputError, match="say in which folder they lie"):
        load_examples(str(tmp_path / "data.json"))
    assert len(load_examples(str(tmp_path / "data.json"), images_needed=False)) == len(found)
    (folder / file).unlink()
    with pytest.raises(InputError, match="1 of 1 images are not there"):
        load_examples(str(tmp_path / "data.json"), images=folder)


# -- what becomes of the rows of some -------------------------------------------------------------------------------


def read(path: Path, *rows: Any) -> list[Example]:
    path.write_text(lines(*rows))
    return load_examples(str(path))


def test_aliases_are_all_other_answers(tmp_path: Path) -> None:
    """Of TriviaQA as it was released and as the hub has it, each once; a question that comes again counts once."""
    for case in ("triviaqa", "triviaqa hub"):
        (found,) = read(tmp_path / "a.json", PUBLISHED[case][1])
        assert (found.id, found.group, found.aliases) == (
            "triviaqa-tc_1",
            "triviaqa-tc_1",
            ("Plantae", "plant", "plantae"),
        )
    row = PUBLISHED["triviaqa hub"][1]
    with gathered_notices() as said:
        found = read(tmp_path / "a.json", row, {**row, "question_id": "tc_2"}, row)
    assert [e.id for e in found] == ["triviaqa-tc_1", "triviaqa-tc_2"]
    assert said == [f"1 of 3 questions of {tmp_path / 'a.json'} stand there twice and are left out the second time"]
    people = {**row["answer"], "human_answers": ["A green one"]}
    assert "A green one" in read(tmp_path / "a.json", {**row, "answer": people})[0].aliases


def test_what_was_exchanged_is_evidence(tmp_path: Path) -> None:
    """Wherever it stands as a word; a row that exchanges an answer for itself is counted and left out."""
    row = PUBLISHED["nq-swap"][1]
    context = "Fence moss: it grows on the fence, not on fences."
    same = {**row, "sub_answer": ["Roof"]}
    with gathered_notices() as said:
        right, wrong = read(tmp_path / "a.json", {**row, "sub_context": context, "org_answer": ["roof", "wall"]}, same)
    assert [context[start:stop] for start, stop in right.evidence] == ["Fence", "fence"] and not wrong.evidence
    assert right.group == wrong.group == row["question"] and wrong.aliases == ("wall",)
    assert said == [f"1 of 2 rows of {tmp_path / 'a.json'} exchange nothing and are left out (first: line 2)"]


def test_answers_that_say_that_there_is_none(tmp_path: Path) -> None:
    """FaithEval names ways to say so; ours are as right."""
    (silent,) = read(tmp_path / "a.json", PUBLISHED["faitheval unanswerable"][1])
    assert silent.id == "faitheval-u-right" and {"unclear", "not mentioned"} <= set(silent.aliases)
    assert (
        read(tmp_path / "a.json", {**PUBLISHED["faitheval unanswerable"][1], "answers": []})[0].answer == "not stated"
    )
    said = read(tmp_path / "a.json", PUBLISHED["faitheval inconsistent"][1])
    assert "contradictory" in said[0].aliases and len({e.group for e in said}) == 1
    choices = [{"label": 1, "text": "a plant"}, {"label": 2, "text": "a metal"}]
    row = {**PUBLISHED["faitheval counterfactual"][1], "answerKey": "2", "choices": choices}
    assert [(e.answer, e.label, e.evidence) for e in read(tmp_path / "a.json", row)] == [
        ("a plant", 0, ()),
        ("a metal", 1, ((8, 15),)),
    ]


def test_prompts_of_one_proverb_share_a_group(tmp_path: Path) -> None:
    """Endings as a list, as JSON or as Python writes it; an empty last line leaves the whole prompt."""
    row = PUBLISHED["memotrap"][1]
    again = {**row, "prompt": 'End with "dust": A rolling stone gathers no', "classes": [" dust.", " moss."]}
    asked = {**row, "prompt": "What is moss?\nA. a plant\nAnswer:", "classes": '[" A", " B"]', "answer_index": "0"}
    found = read(tmp_path / "a.json", row, again, asked)
    assert [e.group for e in found[::2]] == ["A rolling stone gathers no"] * 2 + [asked["prompt"]]
    assert [(e.answer, e.label) for e in found[4:]] == [("A", 1), ("B", 0)]


def test_responses_are_joined_with_their_sources(tmp_path: Path) -> None:
    """RAGTruth's three tasks: a question about passages, news to be summarised, data to be put into words."""
    data = {"name": "Café Moss", "stars": 3.5}
    sources = [
        {"source_id": "1", "task_type": "QA", "source": "M", "source_info": {"question": "Where?", "passages": MOSS}},
        {"source_id": "2", "task_type": "Summary", "source": "CNN/DM", "source_info": MOSS},
        {"source_id": "3", "task_type": "Data2txt", "source": "Yelp", "source_info": data},
    ]
    span = {"start": 0, "end": 3, "text": "Bog", "label_type": "Evident Conflict"}
    rows: list[dict[str, Any]] = [
        {"id": n, "source_id": s, "labels": [], "quality": "good", "response": "Roof."} for n, s in enumerate("123")
    ]
    rows += [{**rows[0], "id": 3, "labels": [span], "response": "Bog."}, {**rows[0], "id": 4, "response": " "}]
    (tmp_path / "source_info.jsonl").write_text(lines(*sources))
    with gathered_notices() as said:
        found = read(tmp_path / "response.jsonl", *rows, {**rows[0], "id": 5, "quality": "incorrect_refusal"})
    assert told(found) == [
        (MOSS, "Where?", "Roof.", 1),
        (MOSS, "Summarize the document.", "Roof.", 1),
        (
            '{"name": "Café Moss", "stars": 3.5}',
            "Write an overview of the business that the data describe.",
            "Roof.",
            1,
        ),
        (MOSS, "Where?", "Bog.", 0),
    ]
    assert [e.group for e in found] == ["ragtruth-1", "ragtruth-2", "ragtruth-3", "ragtruth-1"]
    assert "2 of 6 responses of" in said[0] and "(first: line 5)" in said[0]
    with pytest.raises(InputError, match=r"response.jsonl, line 1: no source has the source_id '7'"):
        read(tmp_path / "response.jsonl", {**rows[0], "source_id": "7"})


# -- what is not understood -----------------------------------------------------------------------------------------

CHOICES = PUBLISHED["truthfulqa mc_task"][1]


def changed(case: str, **fields: Any) -> str:
    return lines({**PUBLISHED[case][1], **fields})


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (
            lines({"statement": "Moss is green.", "label": 1}),
            r"line 1: has the fields 'statement', 'label'; what can be read has those of examples \(question, answer, "
            r"label\); HaluEval's questions \(knowledge, question, right_answer, hallucinated_answer\); .*SQuAD \(da",
        ),
        (lines({str(n): n for n in range(99)}), r"'7', ... \(99 in all\); what can be read"),
        ("{}\n", "line 1: has the fields of nothing; what can be read"),
        ("", "holds no rows"),
        (
            lines({"question_id": 1, "prompt": "Is there?", "text": "Yes"}),
            "holds answers to POPE's questions, not answ",
        ),
        (lines({"image_id": 1, "caption": "A cat."}), "holds captions, .* `lens-truth evaluate chair --captions FILE`"),
        (json.dumps({"images": [], "annotations": []}), "holds COCO's annotations, .* evaluate chair --objects FILE`"),
        (
            lines({**ASKED, "answer": "bog", "hallucination": "maybe"}),
            "field 'hallucination' is 'maybe', not yes or no",
        ),
        (lines({**SUMMARY, "document": " "}), "line 1: field 'document' is empty"),
        (lines(SUMMARY, {**SUMMARY, "right_summary": ""}), r"1 of 4 answers are empty \(first: line 2\)"),
        (lines({**CHOICES, "mc2_targets": {"No": 1}}), "line 1: has no answers of both kinds, true and false"),
        (lines({**CHOICES, "mc2_targets": {"No": 2}}), r"field 'mc2_targets' is neither \{answer: 1 or 0\} nor"),
        (lines({**CHOICES, "mc2_targets": ["No"]}), r"field 'mc2_targets' is neither \{answer: 1 or 0\} nor"),
        (lines({**CHOICES, "mc2_targets": {"choices": ["No"], "labels": []}}), "field 'mc2_targets' is neither"),
        (
            lines({**PUBLISHED["truthfulqa generation"][1], "correct_answers": 7}),
            "field 'correct_answers' is neither a text nor a list of texts",
        ),
        (lines({**RLHFV, "text": "{]"}), "field 'text' is not a JSON object with question, chosen and rejected"),
        (lines({**RLHFV, "text": "[" * 99_999}), "field 'text' is not a JSON object with question"),
        (lines({**PHD, "image_id": None}), "line 1: has no field 'image_id'"),
        (changed("nq-swap", sub_answer=[]), "line 1: field 'sub_answer' or 'org_answer' is empty"),
        (changed("nq-swap", sub_answer=[7]), "line 1: field 'sub_answer' is not a list of texts"),
        (changed("nq-swap", org_answer="[roof"), "line 1: field 'org_answer' is not a list of texts"),
        (changed("nq-swap", org_answer=["FENCE"]), "holds no rows"),
        (changed("memotrap", classes="[' moss.']"), "line 1: field 'classes' does not hold two endings"),
        (changed("memotrap", answer_index=2), "field 'answer_index' is '2', not the place of one of 2 endings"),
        (changed("memotrap", answer_index=None), "field 'answer_index' is '', not the place of one of 2 endings"),
        (changed("faitheval counterfactual", answerKey="C"), "field 'answerKey' is 'C', not one of A, B"),
        (changed("faitheval counterfactual", choices=["a", "b"]), "field 'choices' is not {'label': "),
        (changed("faitheval inconsistent", answers=["bogs"]), "field 'answers' holds neither words for an unknown "),
        (changed("ragtruth", labels=None), "line 1: field 'labels' is not a list of spans"),
        (changed("ragtruth", source_info=5), "line 1: field 'source_info' is neither text nor an object"),
        (changed("ragtruth", source_info=None), "needs RAGTruth's source_info.jsonl, .* in its folder"),
        (changed("ragtruth", quality="truncated"), "holds no rows"),
        (lines({"source_id": 1, "source_info": MOSS}), "holds RAGTruth's sources, .*--data ragtruth:response.jsonl"),
        (changed("triviaqa", Data={}), "field 'Data' is not a list"),
        (changed("triviaqa", Data=[7]), "question 1: field 'Answer' holds no answer, as in TriviaQA's test questions"),
        (changed("triviaqa hub", answer={"value": "<unk>"}), "line 1: field 'answer' holds no answer, as in Trivi"),
        (lines({**POPE, "label": "maybe"}), "1 of 1 labels are not yes or no"),
    ],
)
def test_what_is_not_understood_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "data.json").write_text(content)
    with pytest.raises(InputError, match=f"data.json.*{complaint}"), gathered_notices():
        load_examples(str(tmp_path / "data.json"), images_needed=False)


def test_a_file_in_another_format_than_its_name_says(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text(lines(CHOICES))
    with pytest.raises(InputError, match=r"'mc2_targets'; what can be read has those of HaluEval's questions \(know"):
        load_examples(f"halueval:{tmp_path / 'data.json'}")


# -- tables and JSON, strictly --------------------------------------------------------------------------------------

HEAD = "question,label,answer\n"
ROWS = [f'q{n},{n % 2},"an answer, {n}"\n' for n in range(8)]


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ('q,1,"never closed\n', "line 6: a quote in this row is not closed"),
        ('q,1,"closed"again"\n', "line 6: a quote in this row is not closed, or not well"),
        ('"q,1,never closed\n', "line 6: a quote in this row is not closed"),
        ("q,1\n", "line 6: the row does not have the header's number of fields"),
        ("q,1,a,b\n", "line 6: the row does not have the header's number of fields"),
    ],
)
def test_a_quote_swallows_no_rows(tmp_path: Path, bad: str, complaint: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(HEAD + "".join([*ROWS[:4], bad, *ROWS[4:]]))
    with pytest.raises(InputError, match=f"rows.csv, {complaint}"):
        load_examples(str(path))
    path.write_text(HEAD + "".join([*ROWS, bad.replace("line 6", "")]))
    with pytest.raises(InputError, match=r"rows\.csv, line 10: "):  # also where it is the last row
        load_examples(str(path))


def test_two_quotes_that_make_one_field_of_two_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(HEAD + "".join([ROWS[0], 'q,1,"open\n', "q,0,plain\n", 'q,0,"\n', ROWS[1]]))
    with pytest.raises(InputError, match="line 3: a quote in this row is closed in a later row only"):
        load_examples(str(path))
    path.write_text(HEAD + 'q,1,"two\nlines, and a comma"\n')
    assert [e.answer for e in load_examples(str(path))] == ["two\nlines, and a comma"]


def test_what_stands_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("question,answer,label,answer\nq,a,1,b\n")
    with pytest.raises(InputError, match="line 1: column 'answer' stands there twice"):
        load_examples(str(tmp_path / "rows.csv"))
    (tmp_path / "rows.jsonl").write_text('{"question": "q", "answer": "a", "label": 1, "label": 0}\n')
    with pytest.raises(InputError, match="line 1: 'label' stands there twice"):
        load_examples(str(tmp_path / "rows.jsonl"))
