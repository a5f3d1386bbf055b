"""PhD and RLHF-V as TruthProbe releases them: a question about an image, one answer, one label a row,
`{"question_id", "question", "answer", "label": "gold" or "hallucinated", "image": file name}`; in the text counterpart
of PhD (its set C for language models) a `context` stands for the image.

Set D (RLHF-V) and the RLHF-V rows of set E hold the same 2,726 answers, 2,724 of them with opposite labels, and a row
does not say which is right (docs/reproduce.md says what is known; tests/data/test_label_audit.py measures it). The sign
of a causal score hangs on it, and so does any pooling with PhD, whose labels agree in sets C and E.
"""

from __future__ import annotations

from collections.abc import Iterator

from lens_truth.data.data_file import DataFile
from lens_truth.data.examples import Example
from lens_truth.data.images import image_in
from lens_truth.data.row_fields import Fields, is_blank
from lens_truth.errors import InputError, notice


def read_image_rows(file: DataFile) -> list[Example]:
    """The rows with their images; a text context that a row has besides is left out. Rows of one image share a group:
    by `image_id`, its number among COCO's, since PhD and RLHF-V name the file of one photograph in two ways, or else by
    its name. Empty answers, of which the released sets D and E have one, are left out with a `DataWarning` that counts
    them."""
    file.check_folder()
    examples = [
        Example(id, fields.word("image_id", image), *said, image=image_in(file.images, image) if file.images else image)
        for id, fields, said in _rows(file)
        for image in [fields.text("image", hint="; rows without images are read as phd-text:FILE")]
    ]
    return file.first(examples)


def read_text_rows(file: DataFile) -> list[Example]:
    """The rows of a file of PhD as text: the `context` where a row has one, and no image.

    A row without a context is a closed-book question, and a `DataWarning` counts these. Rows of one image, or without
    an image of one context, share a group. Empty answers are left out as by `read_image_rows`.
    """
    examples: list[Example] = []
    for id, fields, said in _rows(file):
        context, image = fields.text("context", ""), fields.text("image", "")
        group = fields.word("image_id", image or context or said[0])
        examples.append(Example(id, group, *said, context))
    closed = sum(not example.context.strip() for example in examples)
    if closed:
        notice(
            f"CLOSED BOOK: {closed} of {len(examples)} rows of {file.path} have no context, so a text model is asked "
            "about images that it is not shown; its scores there are not about a context"
        )
    return examples[: file.limit]


def _rows(file: DataFile) -> Iterator[tuple[str, Fields, tuple[str, str, int]]]:
    """(id, fields, (question, answer, label)) of all rows that have an answer. An id is `rlhfv-17`, or, where a
    question_id comes again, as in set E, `rlhfv-17/2`."""
    ids: set[str] = set()
    empty: list[str] = []
    for place, fields in file.fields():
        if is_blank(fields.value("answer")[1]):
            empty.append(place)
            continue
        first = f"{file.source}-{fields.word('question_id', str(file.n_rows))}"
        id, again = first, 1
        while id in ids:
            again += 1
            id = f"{first}/{again}"
        ids.add(id)
        yield id, fields, (fields.text("question"), fields.text("answer"), fields.label())
    if len(empty) == file.n_rows:
        raise InputError(f"{file.path}: all {file.n_rows} answers are empty")
    if empty:
        notice(f"{len(empty)} of {file.n_rows} answers of {file.path} are empty and left out (first: {empty[0]})")
