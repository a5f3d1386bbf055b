"""docs/errors.md against the code: what users are told of their flags and files is there, and nothing that is no longer
said.

The rule is by folder, so that it is known without running anything: a new `InputError` in the command line, in
`commands/`, `io/` or `data/` needs an entry, since it is about something that a user typed or wrote. Elsewhere an
entry is welcome; most of those sentences are about arguments in Python, which a traceback shows. A sentence that
changes or goes changes or goes on the page too, wherever it stands: the failing test prints it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "errors.md").read_text()
RAISING = {"InputError", "wrong", "_fail"}
"""What a sentence is passed to, as the last argument: the exception itself, a row's or a record's `wrong` (which puts
the place in front), the command line's last word."""
ENFORCED = ("lens_truth/cli.py", "lens_truth/commands/", "lens_truth/io/", "lens_truth/data/")
"""Where sentences are about what a user typed, or a file that a user named."""
GAP = r"(?:[^a-z<>]|\b(?:line|row|column|image|x|runs|result\.json|attention\.json)\b|<[^<>]*>)*?"
"""What stands on the page for a value: no lower-case letters, save in angle brackets and in these words."""

CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.S)


def literal_parts(node: ast.expr) -> list[str]:
    """The fixed texts of a string, with a gap between each two."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value.lstrip("\n")]
    if isinstance(node, ast.JoinedStr):
        parts = [""]
        for value in node.values:
            if isinstance(value, ast.Constant):
                parts[-1] += str(value.value).lstrip("\n")
            else:
                parts.append("")
        return parts
    return []


def says(parts: list[str], symptom: str) -> bool:
    """Whether a sentence with these fixed parts is the symptom."""
    return max(parts, key=len) in symptom and bool(
        re.fullmatch(GAP.join(re.escape(part) for part in parts), symptom, re.S)
    )


def sentences() -> Iterator[tuple[str, list[str], bool]]:
    """Where each string of the package stands, its fixed parts, and whether it is raised."""
    for path in sorted((ROOT / "lens_truth").rglob("*.py")):
        tree = ast.parse(path.read_text())
        raised = {
            id(node.args[-1]): _name(node.func)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and node.args and _name(node.func) in RAISING
        }
        for node in ast.walk(tree):
            parts = literal_parts(node) if isinstance(node, ast.expr) else []
            if parts and raised.get(id(node)) == "wrong":
                parts = ["", " " + parts[0], *parts[1:]]
            letters = len(re.findall("[a-z]", "".join(parts)))
            if letters > (3 if id(node) in raised else 11):  # others hand on a sentence that was made elsewhere
                yield f"{path.relative_to(ROOT)}:{node.lineno}", parts, id(node) in raised


def _name(function: ast.expr) -> str:
    return getattr(function, "id", getattr(function, "attr", ""))


def part_of_page(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def entries(text: str) -> list[tuple[str, str]]:
    """(symptom line with further forms, everything below it) of each entry."""
    return [(entry.partition("\n")[0], entry.partition("\n")[2]) for entry in re.split(r"^#### ", text, flags=re.M)[1:]]


def symptoms(text: str) -> list[str]:
    found = []
    for heading, body in entries(text):
        also = re.match(r"- Also: (.*?)\n(?=- Cause:)", body, re.S)
        found += [span[1] for span in CODE_SPAN.findall(heading + " " + (also[1] if also else ""))]
    return [re.sub(r"\s+", " ", symptom).strip() for symptom in found]


STRINGS = list(sentences())
BEFORE_WARNINGS = PAGE.split("\n## Warnings\n")[0]
OF_OTHERS = {"Unrecognized options: --FLAG", "Error parsing --FLAG: <why>", "FILE: <what the operating system says>"}
"""What the command line's parser and the operating system say, not this package."""


def test_every_sentence_about_flags_and_files_is_on_the_page() -> None:
    told = symptoms(BEFORE_WARNINGS)
    raised = [(where, parts) for where, parts, is_raised in STRINGS if is_raised and where.startswith(ENFORCED)]
    assert len(raised) > 80  # or the search for them is broken
    missing = [
        f"{where}: {'...'.join(parts)}" for where, parts in raised if not any(says(parts, symptom) for symptom in told)
    ]
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("part", ["errors", "warnings"])
def test_every_sentence_of_the_page_is_in_the_code(part: str) -> None:
    """Warnings, and what follows the name of a file in some errors, are made of strings that are not raised there."""
    text = BEFORE_WARNINGS if part == "errors" else part_of_page("Warnings")
    stale = [symptom for symptom in set(symptoms(text)) - OF_OTHERS if not is_said(symptom)]
    assert not stale, "\n".join(stale)


def is_said(symptom: str) -> bool:
    tail = re.sub(r"^[A-Z]+(?:, (?:line|row) N)?: ", "", symptom)
    return any(says(parts, symptom) or says(parts, tail) for _, parts, _ in STRINGS)


def test_what_nobody_says_is_noticed() -> None:
    assert is_said("FILE: holds no captions")
    assert not is_said("FILE: holds no elephants") and not is_said("FILE: holds no captions at all")
    assert not is_said("FILE: <anything>") and not is_said("N of N captions are of images")


def test_every_entry_has_a_cause_and_a_cure() -> None:
    assert len(entries(PAGE)) > 100
    for heading, body in entries(PAGE):
        assert re.search(r"^- Cause: \S", body, re.M) and re.search(r"^- Cure: \S", body, re.M), heading


def test_no_sentence_stands_there_twice() -> None:
    told = symptoms(PAGE)
    assert {symptom for symptom in told if told.count(symptom) > 1} == set()
