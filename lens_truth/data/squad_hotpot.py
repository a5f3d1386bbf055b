"""Reading comprehension in which the evidence is known: SQuAD (Rajpurkar et al. 2016, 2018) and XQuAD (Artetxe et al.
2020), where annotators marked the answer in a paragraph, and HotpotQA (Yang et al. 2018), where they marked the
sentences that the answer takes, in ten paragraphs most of which are about something else.

Every answer is supported by its context; hallucinated are only the plausible answers to SQuAD 2.0's unanswerable
questions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from lens_truth.data.data_file import DataFile
from lens_truth.data.examples import HALLUCINATED, SUPPORTED, Example
from lens_truth.data.row_fields import NOT_STATED, UNSTATED
from lens_truth.errors import InputError, notice, shortened
from lens_truth.io.readers import is_object

_KINDS: dict[type, str] = {str: "text", int: "a whole number", list: "a list"}


def read_squad(file: DataFile) -> list[Example]:
    """The questions of a `.json` file in SQuAD's format, or of rows with a question each as the Hugging Face hub gives
    them, each with its first answer, whose span is the evidence; with a limit what comes after the first so many is not
    looked at.

    SQuAD's development set has the answers of several annotators; the others are aliases. Questions about the same
    paragraph share a group. To an unanswerable question (SQuAD 2.0) `not stated` is the supported answer; one that
    annotators found plausible, if there is one, is hallucinated.
    """
    path = file.path
    examples: list[Example] = []
    n = 0
    groups: dict[str, str] = {}
    for context, row, id in _squad_rows(file):
        n += 1
        group = groups.setdefault(context, f"squad-{len(groups)}")
        examples += _asked(row, id, group, context, f"{path}, question {id}")
        if file.limit is not None and len(examples) >= file.limit:
            break
    file.n_rows = n
    return _distinct(examples[: file.limit], path, "holds no questions")


def _asked(row: dict[str, Any], id: str, group: str, context: str, where: str) -> list[Example]:
    """A question with its answer, or, if it has none, with what says so and what looks like an answer."""
    id, answers = f"squad-{id}", _answers(row, where)
    if answers and not row.get("is_impossible"):
        span = start, stop = _answer_span(answers[0], context, where)
        question, answer = _written(row, "question", where), context[start:stop]
        texts = dict.fromkeys(_written(each, "text", where) for each in answers)
        more = tuple(text for text in texts if text != answer)
        return [Example(id, group, question, answer, SUPPORTED, context, (span,), aliases=more)]
    question = _written(row, "question", where)
    plausible = _answers(row, where, "plausible_answers") if row.get("plausible_answers") else []
    wrong = [_written(each, "text", where) for each in plausible[:1]]
    return [
        Example(id, group, question, NOT_STATED, SUPPORTED, context, aliases=UNSTATED),
        *(Example(f"{id}-plausible", group, question, answer, HALLUCINATED, context) for answer in wrong),
    ]


def _squad_rows(file: DataFile) -> Iterator[tuple[str, dict[str, Any], str]]:
    """(paragraph, question, id) of all questions, in order."""
    for place, whole in file:
        if "data" not in whole:
            where = f"{file.path}, {place}"
            yield _written(whole, "context", where), whole, _id(whole, ("id",), where)
            continue
        for number, article in enumerate(_field(whole, "data", list, str(file.path)), start=1):
            where = f"{file.path}, article {number}"
            for p, paragraph in enumerate(_field(article, "paragraphs", list, where), start=1):
                context = _written(paragraph, "context", f"{where}, paragraph {p}")
                for q, row in enumerate(_field(paragraph, "qas", list, f"{where}, paragraph {p}"), start=1):
                    yield context, row, _id(row, ("id",), f"{where}, paragraph {p}, question {q}")


def _answers(row: dict[str, Any], where: str, field: str = "answers") -> list[Any]:
    """`[{"text", "answer_start"}, ...]`, also where the hub has two lists for it."""
    answers: Any = row.get(field)
    if not is_object(answers):
        return _field(row, field, list, where)
    texts, starts = (_field(answers, name, list, f"{where}, {field}") for name in ("text", "answer_start"))
    return [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=False)]


def _answer_span(answer: Any, context: str, where: str) -> tuple[int, int]:
    text, start = _written(answer, "text", where), _field(answer, "answer_start", int, where)
    there = context[start : start + len(text)] if start >= 0 else ""
    if there != text:
        instead = f"where '{shortened(there)}' stands" if there else f"which has {len(context)} characters"
        raise InputError(
            f"{where}: the answer '{shortened(text)}' does not stand at character {start} of its paragraph, {instead}"
        )
    return start, start + len(text)


def read_hotpot(file: DataFile) -> list[Example]:
    """The questions of a file in HotpotQA's format, as its authors (one JSON list) or the Hugging Face hub (JSON lines)
    give it; 2WikiMultihopQA has the same. The evidence are the supporting sentences, each of which is a span.

    The context is all paragraphs, a line each, as `title: sentences`. Supporting facts that are not in the context, of
    which the released data has a few, are left out with a `DataWarning` that counts them. Where two paragraphs have one
    title, the first that has such a sentence is meant. Every question is a group. With a limit what comes after the
    first so many is not looked at.
    """
    path = file.path
    examples: list[Example] = []
    n_facts = 0
    missing: list[str] = []
    for place, row in islice(file, file.limit):
        id = _id(row, ("id", "_id"), f"{path}, {place}")
        where = f"{path}, {place}, question {id}"
        question, answer = _written(row, "question", where), _written(row, "answer", where)
        context, spans = _told(_pairs(row, "context", "sentences", list, where), where)
        facts = _pairs(row, "supporting_facts", "sent_id", int, where)
        evidence = tuple(sorted({spans[fact] for fact in facts if fact in spans}))
        absent = [f"sentence {fact[1]} of '{shortened(fact[0])}'" for fact in facts if fact not in spans]
        if not evidence:
            first = f" (first: {absent[0]})" if absent else ""
            raise InputError(f"{where}: none of its {len(facts)} supporting facts is in its context{first}")
        n_facts += len(facts)
        missing += [f"{fact}, question {id}" for fact in absent]
        examples.append(Example(f"hotpot-{id}", f"hotpot-{id}", question, answer, SUPPORTED, context, evidence))
    if missing:
        notice(
            f"{len(missing)} of {n_facts} supporting facts read from {path} are not in their question's context and "
            f"left out (first: {missing[0]})"
        )
    return _distinct(examples, path, "holds no questions")


def _told(paragraphs: list[tuple[str, Any]], where: str) -> tuple[str, dict[tuple[str, int], tuple[int, int]]]:
    """The context, and where in it each (title, number of sentence) stands, without the spaces around it."""
    context = ""
    spans: dict[tuple[str, int], tuple[int, int]] = {}
    for title, sentences in paragraphs:
        context += f"\n{title}: " if context else f"{title}: "
        for number, sentence in enumerate(sentences):
            if not isinstance(sentence, str):
                raise InputError(f"{where}: a sentence of '{shortened(title)}' is not text")
            start = len(context) + len(sentence) - len(sentence.lstrip())
            context += sentence
            if sentence.strip():
                spans.setdefault((title, number), (start, start + len(sentence.strip())))
    return context, spans


def _pairs(row: dict[str, Any], field: str, second: str, kind: type, where: str) -> list[tuple[str, Any]]:
    """`{"title": [...], second: [...]}` or `[[title, ...], ...]` as pairs of a title and something of that kind."""
    value = row.get(field)
    if value is None:
        raise InputError(f"{where}: has no field '{field}'")
    try:
        both = zip(value["title"], value[second], strict=True) if is_object(value) else value
        pairs: list[tuple[Any, Any]] = [(title, thing) for title, thing in both]
        fits = all(type(title) is str and type(thing) is kind for title, thing in pairs)
    except (KeyError, TypeError, ValueError):
        pairs, fits = [], False
    if not fits:
        raise InputError(
            f"{where}: field '{field}' is neither {{'title': [...], '{second}': [...]}} nor a list of [title, {second}]"
        )
    return pairs


def _field(row: Any, name: str, kind: type, where: str) -> Any:
    if not is_object(row) or row.get(name) is None:
        raise InputError(f"{where}: has no field '{name}'")
    if type(row[name]) is not kind:
        raise InputError(f"{where}: field '{name}' is not {_KINDS[kind]}")
    return row[name]


def _written(row: Any, name: str, where: str) -> str:
    text: str = _field(row, name, str, where)
    if not text.strip():
        raise InputError(f"{where}: field '{name}' is empty")
    return text


def _id(row: Any, names: tuple[str, ...], where: str) -> str:
    """What a question is called, by the first of these fields that it has."""
    found = [str(row[name]) for name in names if row.get(name) not in (None, "")] if is_object(row) else []
    if not found:
        raise InputError(f"{where}: has no field '{names[0]}'")
    return found[0]


def _distinct(examples: list[Example], path: Path, none: str) -> list[Example]:
    """The examples, if there are any and no two have one id."""
    if not examples:
        raise InputError(f"{path}: {none}")
    twice = [id for id, times in Counter(example.id for example in examples).items() if times > 1]
    if twice:
        raise InputError(f"{path}: question {twice[0].partition('-')[2]} stands there twice")
    return examples
