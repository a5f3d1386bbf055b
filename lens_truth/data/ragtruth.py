"""RAGTruth (Niu et al. 2024) as it is released: `response.jsonl`, what models answered, with the spans in which they
hallucinate, and `source_info.jsonl`, what they were given: passages and a question, news to be summarised, or data to
be put into words."""

from __future__ import annotations

import json
from pathlib import Path

from lens_truth.data.data_file import DataFile
from lens_truth.data.examples import HALLUCINATED, SUPPORTED, Example
from lens_truth.data.halueval import SUMMARIZE
from lens_truth.data.row_fields import Fields, is_blank
from lens_truth.errors import InputError, notice
from lens_truth.io.readers import is_list, is_object
from lens_truth.io.rows import read_rows

_OVERVIEW = "Write an overview of the business that the data describe."
_SOURCES = "source_info.json*"


def read_responses(file: DataFile) -> list[Example]:
    """An example for each response, supported if no span is marked in it; those to one source share a group. The
    sources are read from `source_info.jsonl` beside the file, unless rows were joined with theirs. As by the authors,
    responses whose `quality` is not `good` are left out, and empty ones; a `DataWarning` counts them."""
    sources: dict[str, Fields] | None = None
    examples: list[Example] = []
    left_out: list[str] = []
    for place, fields in file.fields():
        if is_blank(fields.value("response")[1]) or fields.word("quality", "good") != "good":
            left_out.append(place)
            continue
        of, its = fields.word("source_id", ""), fields
        if fields.value("source_info")[1] is None:
            sources = _sources(file.path) if sources is None else sources
            if of not in sources:
                raise fields.wrong(f"no source has the source_id '{of}'")
            its = sources[of]
        name, spans = fields.value("labels")
        if not is_list(spans):
            raise fields.wrong(f"field '{name}' is not a list of spans")
        context, question = _given(its)
        id, label = f"ragtruth-{fields.word('id', str(file.n_rows))}", HALLUCINATED if spans else SUPPORTED
        examples.append(Example(id, f"ragtruth-{of}", question, fields.text("response"), label, context))
    if left_out:
        notice(
            f"{len(left_out)} of {file.n_rows} responses of {file.path} are empty or not of good quality and left out "
            f"(first: {left_out[0]})"
        )
    return file.first(examples)


def _sources(responses: Path) -> dict[str, Fields]:
    """What responses were given, by `source_id`."""
    path = next(iter(sorted(responses.parent.glob(_SOURCES))), None)
    if path is None:
        raise InputError(f"{responses}: needs RAGTruth's source_info.jsonl, which says what was asked, in its folder")
    rows = (Fields(row, f"{path}, {place}") for place, row in read_rows(path))
    return {fields.word("source_id", ""): fields for fields in rows}


def _given(fields: Fields) -> tuple[str, str]:
    """Context and question."""
    name, given = fields.value("source_info")
    if isinstance(given, str) and given.strip():
        return given, SUMMARIZE
    if not is_object(given):
        raise fields.wrong(f"field '{name}' is neither text nor an object")
    if given.keys() >= {"question", "passages"}:
        its = fields.of(given)
        return its.text("passages"), its.text("question")
    return json.dumps(given, ensure_ascii=False), _OVERVIEW
