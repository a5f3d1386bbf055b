"""Published conflicts of a context with what is known: NQ-Swap (Longpre et al. 2021), where the answer was exchanged in
its context, FaithEval (Ming et al. 2025), whose contexts are counterfactual, silent or at odds with themselves, and
MemoTrap (Liu and Liu 2023), which asks for an ending that no proverb has."""

from __future__ import annotations

from lens_truth.data.data_file import DataFile
from lens_truth.data.examples import HALLUCINATED, SUPPORTED, Example
from lens_truth.data.places import places_of
from lens_truth.data.row_fields import NOT_STATED, UNSTATED, Fields
from lens_truth.errors import notice
from lens_truth.io.readers import is_list, is_object

CONFLICT = "conflict"
"""The supported answer where a context says two things."""
_CONFLICTING = (
    "conflicting",
    "multiple answers",
    "two answers",
    "2 answers",
    "disagreement",
    "contradiction",
    "contradictory",
    "inconsistent",
    "inconsistency",
)


def read_swapped(file: DataFile) -> list[Example]:
    """Two examples a row of NQ-Swap, about the context in which the answer was exchanged: what stands there now is
    supported, wherever it stands evidence, and what stood there before is hallucinated. Other answers of a side are
    aliases. Rows that ask the same share a group."""
    examples: list[Example] = []
    same: list[str] = []
    for number, (place, fields) in enumerate(file.fields()):
        context, question = fields.text("sub_context"), fields.text("question")
        sides = fields.texts("sub_answer"), fields.texts("org_answer")
        if not all(sides):
            raise fields.wrong("field 'sub_answer' or 'org_answer' is empty")
        if {answer.lower() for answer in sides[0]} & {answer.lower() for answer in sides[1]}:
            same.append(place)
            continue
        for label, end, (answer, *more) in zip((SUPPORTED, HALLUCINATED), ("swapped", "before"), sides, strict=True):
            evidence = places_of(answer, context, any_case=True) if label == SUPPORTED else ()
            examples.append(
                Example(
                    f"nqswap-{number}-{end}", question, question, answer, label, context, evidence, aliases=(*more,)
                )
            )
    if same:
        notice(f"{len(same)} of {file.n_rows} rows of {file.path} exchange nothing and are left out (first: {same[0]})")
    return file.first(examples)


def read_counterfactual(file: DataFile) -> list[Example]:
    """FaithEval's counterfactual contexts: an example for each choice, of which the one named by `answerKey` is what
    the context says; where it says so word by word is evidence."""
    examples: list[Example] = []
    for number, (_, fields) in enumerate(file.fields()):
        context, question, key = fields.text("context"), fields.text("question"), fields.word("answerKey", "")
        choices = _lettered(fields)
        if key not in choices:
            raise fields.wrong(f"field 'answerKey' is '{key}', not one of {', '.join(choices)}")
        group = f"faitheval-{fields.word('id', str(number))}"
        for letter, answer in choices.items():
            label, evidence = (
                (SUPPORTED, places_of(answer, context, any_case=True)) if letter == key else (HALLUCINATED, ())
            )
            examples.append(Example(f"{group}-{letter}", group, question, answer, label, context, evidence))
    return file.first(examples)


def read_unanswerable(file: DataFile) -> list[Example]:
    """FaithEval's contexts that do not hold the answer, where `answers` are ways to say so, and those that hold two,
    where they are these. Supported are `not stated` and `conflict` with what else is said for them; the answers that
    contradict each other are hallucinated."""
    examples: list[Example] = []
    for number, (_, fields) in enumerate(file.fields()):
        context, question, answers = fields.text("context"), fields.text("question"), fields.texts("answers")
        group = f"faitheval-{fields.word('qid', str(number))}"
        silent = not answers or bool({answer.lower() for answer in answers} & {NOT_STATED, *UNSTATED})
        if not silent and len(set(answers)) < 2:
            raise fields.wrong("field 'answers' holds neither words for an unknown answer nor two answers")
        right, more = (NOT_STATED, (*UNSTATED, *answers)) if silent else (CONFLICT, _CONFLICTING)
        aliases = tuple(dict.fromkeys(more))
        examples.append(Example(f"{group}-right", group, question, right, SUPPORTED, context, aliases=aliases))
        examples += [
            Example(f"{group}-{place}", group, question, answer, HALLUCINATED, context)
            for place, answer in enumerate([] if silent else dict.fromkeys(answers))
        ]
    return file.first(examples)


def read_memo_trap(file: DataFile) -> list[Example]:
    """An example for each of a prompt's endings (`classes`), of which the one at `answer_index` does what the prompt
    asks. Prompts that want the same sentence finished share a group."""
    examples: list[Example] = []
    for number, (_, fields) in enumerate(file.fields()):
        prompt, endings, index = fields.text("prompt"), fields.texts("classes"), fields.word("answer_index", "")
        if len(set(endings)) < 2:
            raise fields.wrong("field 'classes' does not hold two endings")
        if index not in map(str, range(len(endings))):
            raise fields.wrong(f"field 'answer_index' is '{index}', not the place of one of {len(endings)} endings")
        begun = prompt.splitlines()[-1].rpartition(":")[2].strip() or prompt
        examples += [
            Example(f"memotrap-{number}-{place}", begun, prompt, ending, int(str(place) == index))
            for place, ending in enumerate(endings)
        ]
    return file.first(examples)


def _lettered(fields: Fields) -> dict[str, str]:
    """`{"label": [...], "text": [...]}`, or a list of `{"label", "text"}`, as answers by their letters."""
    _, value = fields.value("choices")
    rows = value if is_list(value) else []
    if is_object(value) and is_list(value.get("label")) and is_list(value.get("text")):
        rows = [{"label": label, "text": text} for label, text in zip(value["label"], value["text"], strict=False)]
    choices = {str(row.get("label")): row.get("text") for row in rows if is_object(row)}
    if len(choices) < 2 or not all(isinstance(text, str) and text.strip() for text in choices.values()):
        raise fields.wrong("field 'choices' is not {'label': [...], 'text': [...]}")
    return {letter: str(text).strip() for letter, text in choices.items()}
