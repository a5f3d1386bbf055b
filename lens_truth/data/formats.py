"""The formats that files of data are recognised by, each by fields that its first row has, and who reads it. A format
more is a line here, and a reader in a file of its own if none of these fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from lens_truth.data.conflicts import read_counterfactual, read_memo_trap, read_swapped, read_unanswerable
from lens_truth.data.data_file import DataFile, Reader
from lens_truth.data.examples import Example, examples_of
from lens_truth.data.h_neurons import MARK, read_marked
from lens_truth.data.halueval import read_judged, read_pairs
from lens_truth.data.paper_files import read_image_rows, read_text_rows
from lens_truth.data.pope_phd import read_phd, read_pope
from lens_truth.data.ragtruth import read_responses
from lens_truth.data.rlhfv import read_preferences
from lens_truth.data.squad_hotpot import read_hotpot, read_squad
from lens_truth.data.statements import read_claims, read_statements
from lens_truth.data.triviaqa import read_trivia
from lens_truth.data.truthfulqa import read_answers, read_choices
from lens_truth.errors import InputError, shortened
from lens_truth.io.readers import is_object
from lens_truth.io.rows import read_rows


@dataclass(frozen=True)
class Format:
    """A way of writing data."""

    name: str
    sources: tuple[str, ...]
    """What is written in front of a file that is in this format: `halueval:FILE`; none if a file needs nothing."""
    fields: tuple[str, ...]
    """Those that tell it from others; a row may have more. `answer.value` is a field of the object in `answer`,
    `*.value` of the object in the first field, whatever that is called."""
    read: Reader | None
    """None for what is no set of examples."""
    instead: str = ""
    """What reads it, where `read` does not."""
    unasked: bool = True
    """Whether a file is recognised to be in it without anything in front."""
    parts: bool = False
    """Whether a part of a file can be named behind it: `FILE/train`."""


def _own(file: DataFile) -> list[Example]:
    return examples_of(file.path, file, file.images, file.limit)


def _pairs(name: str, *fields: str) -> Format:
    """HaluEval's, of context, question, right and hallucinated answer."""
    context, question, right, wrong = fields
    read = partial(read_pairs, context=context, question=question, right=right, wrong=wrong)
    return Format(name, ("halueval",), tuple(filter(None, fields)), read)


def _judged(name: str, *fields: str, verdict: str = "hallucination") -> Format:
    """HaluEval's, of context, question and one answer with a verdict."""
    context, question, answer = fields
    read = partial(read_judged, context=context, question=question, answer=answer, verdict=verdict)
    return Format(name, ("halueval",), (*filter(None, fields), verdict), read)


_TQA_TABLE = ("Question", "Best Answer", "Correct Answers", "Incorrect Answers")
_TQA_ROWS = ("question", "best_answer", "correct_answers", "incorrect_answers")
_ASKED = ("question", "answer", "label")
_POPE, _CHAIR = "lens-truth evaluate pope --answers FILE", "lens-truth evaluate chair --captions FILE"

FORMATS = (  # the first whose fields a file has
    _pairs("HaluEval's questions", "knowledge", "question", "right_answer", "hallucinated_answer"),
    _pairs("HaluEval's questions", "knowledge", "raw_question", "correct_answer", "hallucinated_answer"),
    _pairs("HaluEval's dialogues", "knowledge", "dialogue_history", "right_response", "hallucinated_response"),
    _pairs("HaluEval's summaries", "document", "", "right_summary", "hallucinated_summary"),
    _judged("HaluEval's question samples", "knowledge", "question", "answer"),
    _judged("HaluEval's dialogue samples", "knowledge", "dialogue_history", "response"),
    _judged("HaluEval's summary samples", "document", "", "summary"),
    _judged("HaluEval's user queries", "", "user_query", "chatgpt_response"),
    _judged("HaluEval's user queries", "", "user_query", "chatgpt_response", verdict="hallucination_label"),
    *(
        Format(
            "TruthfulQA", ("truthfulqa",), fields, partial(read_answers, question=q, right=tuple(right), wrong=(wrong,))
        )
        for fields in (_TQA_TABLE, _TQA_ROWS)
        for q, *right, wrong in [fields]
    ),
    Format("TruthfulQA's choices", ("truthfulqa",), ("question", "mc1_targets", "mc2_targets"), read_choices),
    Format(
        "TruthProbe's rows about images",
        ("phd", "rlhfv"),
        ("question_id", *_ASKED, "image_id", "image"),
        read_image_rows,
    ),
    Format("PhD", ("phd",), ("image_id", "yes_question", "no_question"), read_phd),
    Format("RLHF-V", ("rlhfv",), ("text", "image_path"), read_preferences),
    Format("RLAIF-V", ("rlhfv",), ("question", "chosen", "rejected", "image_path"), read_preferences),
    Format("POPE's questions", ("pope",), ("question_id", "image", "text", "label"), read_pope),
    Format("NQ-Swap", ("nqswap",), ("question", "sub_context", "sub_answer", "org_answer"), read_swapped),
    Format("MemoTrap", ("memotrap",), ("prompt", "classes", "answer_index"), read_memo_trap),
    Format(
        "FaithEval's counterfactual contexts",
        ("faitheval",),
        ("context", "question", "choices", "answerKey"),
        read_counterfactual,
    ),
    Format("FaithEval", ("faitheval",), ("qid", "context", "question", "answers"), read_unanswerable),
    Format("RAGTruth", ("ragtruth",), ("source_id", "response", "labels"), read_responses),
    Format(
        "RAGTruth's sources", (), ("source_id", "source_info"), None, "--data ragtruth:response.jsonl (in this folder)"
    ),
    Format("TriviaQA", ("triviaqa",), ("Data",), read_trivia),
    Format("TriviaQA's rows", ("triviaqa",), ("question_id", "question", "answer.value"), read_trivia),
    Format("H-Neurons' replies", ("h-neurons",), (f"*.{MARK}", "*.response"), read_marked),
    Format("HotpotQA", ("hotpot",), ("question", "answer", "context", "supporting_facts"), read_hotpot),
    Format("SQuAD", ("squad",), ("data",), read_squad),
    Format("SQuAD's rows", ("squad",), ("context", "question", "answers"), read_squad),
    Format("examples", (), _ASKED, _own),
    Format("statements", ("statements",), ("statement", "label"), read_statements, parts=True),
    Format(
        "statements", ("statements",), ("statement", "correct"), partial(read_statements, label="correct"), parts=True
    ),
    Format("claims and their negations", ("statements",), ("Claim", "Negated Claim"), read_claims),
    Format("TruthProbe's rows", ("phd", "rlhfv"), (*_ASKED, "image"), read_image_rows, unasked=False),
    Format("PhD as text", ("phd-text",), _ASKED, read_text_rows, unasked=False),
    Format("answers to POPE's questions", (), ("question_id", "text"), None, _POPE),
    Format("answers to POPE's questions", (), ("question_id", "answer"), None, _POPE),
    Format("captions", (), ("image_id", "caption"), None, _CHAIR),
    Format("captions", (), ("image", "caption"), None, _CHAIR),
    Format("CHAIR's output", (), ("sentences", "overall_metrics"), None, _CHAIR),
    Format("CHAIR's input", (), ("imgToEval",), None, _CHAIR),
    Format("COCO's annotations", (), ("images", "annotations"), None, "lens-truth evaluate chair --objects FILE"),
)
SOURCES = tuple(dict.fromkeys(source for format in FORMATS for source in format.sources))
"""All that can stand in front of a file."""


def open_data(
    path: Path,
    source: str = "",
    images: Path | None = None,
    limit: int | None = None,
    *,
    images_needed: bool = True,
    part: str = "",
) -> tuple[Format, DataFile]:
    """The format of a file, one of the `source` if that is given, and its rows.

    Raises:
        InputError: if it is in none; names the fields of its first row, and those of the formats.
    """
    rows = read_rows(path)
    first = next(rows, None)
    if first is None:
        raise InputError(f"{path}: holds no rows")
    place, row = first
    known = [format for format in FORMATS if (source in format.sources if source else format.unasked)]
    format = next((format for format in known if all(_has(row, field) for field in format.fields)), None)
    if format is None:
        readable = sorted((format for format in known if format.read), key=lambda format: format.read is not _own)
        formats = "; ".join(f"{format.name} ({', '.join(format.fields)})" for format in readable)
        raise InputError(
            f"{path}, {place}: has the fields {_listed(list(row))}; what can be read has those of {formats}"
        )
    if format.read is None:
        raise InputError(f"{path}: holds {format.name}, not answers with labels; `{format.instead}` reads it")
    if part and not format.parts:
        raise InputError(f"{path}: is read as {format.name}, of which no part '{part}' can be told from the rest")
    source = (source or next(iter(format.sources), "")).removesuffix("-text")
    return format, DataFile(path, chain([first], rows), source, images, images_needed, limit, part)


def _has(row: dict[str, Any], field: str) -> bool:
    name, _, inside = field.partition(".")
    name = next(iter(row), name) if name == "*" else name
    return name in row and (not inside or (is_object(row[name]) and inside in row[name]))


def _listed(names: Sequence[str]) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > 8 else ""
    return ", ".join(f"'{shortened(name)}'" for name in names[:8]) + more if names else "of nothing"
