"""`conflict:FILE`: answers that trade places in their contexts."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lens_truth.data.answer_kinds import answer_kind
from lens_truth.data.examples import Example, examples_hash
from lens_truth.data.exchanges import conflicts
from lens_truth.data.loading import load_examples
from lens_truth.data.surface import surface_accuracy
from lens_truth.errors import InputError, gathered_notices

HERE = Path("rows.jsonl")


def asked(answer: str, context: str, question: str = "In what city is it?", number: int = 0, **more: object) -> Example:
    return replace(Example(f"q{number}", f"q{number}", question, answer, 1, context), **more)  # pyright: ignore[reportArgumentType]


def traded(*examples: Example, seed: int = 0) -> list[Example]:
    with gathered_notices():
        return conflicts([replace(e, id=f"q{n}", group=e.group + f"-{n}") for n, e in enumerate(examples)], HERE, seed)


DELHI = asked("Delhi", "The firm has its office in Delhi. Nobody leaves Delhi.")
PARIS = asked("Paris", "It grew up near Paris.")
ADA = asked("Ada Lovelace", "Ada Lovelace wrote it. Lovelace was a countess.", "Who wrote it?")
MARY = asked("Mary Somerville", "A book by Mary Somerville, Mary to friends.", "Who wrote a book?")


def test_two_answers_trade_places() -> None:
    paris, delhi, other, _ = traded(DELHI, PARIS)
    assert (paris.answer, paris.label, delhi.answer, delhi.label) == ("Paris", 1, "Delhi", 0)
    assert paris.context == delhi.context == "The firm has its office in Paris. Nobody leaves Paris."
    assert [paris.context[start:stop] for start, stop in paris.evidence] == ["Paris", "Paris"]
    assert paris.evidence == delhi.evidence and paris.question == DELHI.question
    assert other.context == "It grew up near Delhi." and other.answer == "Delhi"
    assert len({e.id for e in traded(DELHI, PARIS)}) == 4 and len({e.group for e in traded(DELHI, PARIS)}) == 1


def test_a_person_is_exchanged_under_every_name() -> None:
    first, *_, last = traded(ADA, MARY)
    assert first.context == "Mary Somerville wrote it. Somerville was a countess."
    assert last.context == "A book by Ada Lovelace, Ada to friends."
    longer = replace(ADA, context="Ada Lovelace, or Ada King Lovelace, wrote it. Ada A. Noel Lovelace was born rich.")
    assert traded(longer, MARY)[0].context == (
        "Mary Somerville, or Mary Somerville, wrote it. Mary Somerville was born rich."
    )


def test_what_does_not_belong_to_an_answer_is_taken_off() -> None:
    """Quotes, a comma, an article that is no part of the name; a nickname belongs to it."""
    film, song = "Which film is it?", 'It is "Night Train".'
    for answer in ('"Night Train"', '"Night Train".', "Night Train,"):
        two = asked(answer, song, film), asked("Dark Water", "A film, Dark Water.", film)
        assert [e.answer for e in traded(*two)] == ["Dark Water", "Night Train", "Night Train", "Dark Water"]
    which = "Which school was it?"
    first, *_ = traded(
        asked("The Moss School", "He left the Moss School.", which),
        asked("the Oak School", "At the Oak School.", which),
    )
    assert (first.answer, first.context) == ("Oak School", "He left the Oak School.")
    nick = asked('Vincent "Mad Dog" Coll', 'It was Vincent "Mad Dog" Coll.', "Who was it?")
    last = traded(nick, asked("Giovanni da Verrazzano", "By Giovanni da Verrazzano.", "By whom?"))[2]
    assert last.context == 'By Vincent "Mad Dog" Coll.'


def test_partners_are_asked_for_in_one_word_where_they_can_be() -> None:
    """And of as many words; others only where there is none."""
    city, river = "Which city is it?", "Which river is it?"
    names = [("Bonn", city), ("Main", river), ("Elbe", river), ("Rome", city)]
    found = traded(*(asked(name, f"It is {name}.", question) for name, question in names))
    assert {frozenset((e.answer, f.answer)) for e, f in zip(found[::2], found[1::2], strict=True)} == {
        frozenset(("Bonn", "Rome")),
        frozenset(("Main", "Elbe")),
    }
    one, *_ = traded(asked("Liverpool", "At Liverpool.", city), asked("New York", "Of New York.", city))
    assert one.answer == "New York"


@pytest.mark.parametrize(
    ("kept", "why"),
    [
        (replace(DELHI, context="In Delhi. DELHI is large."), "another form"),
        (replace(DELHI, context="In Delhi, in 1911.DELHI is large."), "another form"),
        (replace(DELHI, context="In Delhi. Delhi's people, the Delhiites, know."), "another form"),
        (replace(DELHI, question="In what city is the Delhi office?"), "in the question"),
        (replace(DELHI, context="In New Delhi-town or Delhiville."), "another form"),
        (replace(DELHI, answer="an office", context="It has an office."), "no names"),
        (replace(DELHI, image="black"), "image"),
        (replace(DELHI, answer="L’Aquila", context="In L’Aquila, or L'Aquila."), "another form"),
        (replace(ADA, answer="Kim So-hyun", context="Kim So-hyun met Kim Myung-soo."), "another form"),
        (
            replace(ADA, answer="Grace Hopper", context="Grace Hopper. Brewster was her name: G. Hopper, GH."),
            "another form",
        ),
        (replace(DELHI, answer="United States", context="In the United States, in short U.S., it is."), "another form"),
        (replace(DELHI, answer="Germany", context="In Germany lives the German."), "another form"),
        (replace(DELHI, context="From Paris to Delhi."), "find no partner"),
        (replace(DELHI, answer="Thiruvananthapuram", context="Thiruvananthapuram is it."), "find no partner"),
    ],
)
def test_what_cannot_be_exchanged_is_left_out_and_said(kept: Example, why: str) -> None:
    with gathered_notices() as said:
        found = conflicts(
            [replace(kept, id="kept"), replace(PARIS, id="p"), replace(DELHI, id="d", context="In Delhi.")], HERE, 0
        )
    assert not any("kept" in e.id for e in found)
    (sentence,) = said
    assert sentence.startswith("2 of 3 supported answers of rows.jsonl trade places; of the others 1 ")
    assert why in sentence


def test_a_question_with_several_right_answers_is_left_out() -> None:
    with gathered_notices() as said:
        two = [replace(DELHI, id="x", context="In Delhi, a city."), replace(DELHI, id="y", context="In Delhi, a city.")]
        found = conflicts([DELHI, replace(PARIS, id="p"), two[0], replace(two[1], answer="a city")], HERE, 0)
    assert len(found) == 4 and said[0].endswith("of the others 1 have others beside them")


def test_articles_and_whole_numbers() -> None:
    an, _, a, _ = traded(
        asked("Irish", "She is an Irish singer.", "What is her nationality?"),
        asked("Welsh", "He is a Welsh poet.", "What is his nationality?"),
    )
    assert (an.context, a.context) == ("She is a Welsh singer.", "He is an Irish poet.")
    first, *_ = traded(
        asked("300", "He sold 300 of 1,300 in 3000.", "How many?"), asked("120", "It has 120.", "How many?")
    )
    assert first.context == "He sold 120 of 1,300 in 3000."
    behind, *_ = traded(replace(DELHI, context="It came to Delhi in 1911.Delhi is large."), PARIS)
    assert behind.context == "It came to Paris in 1911.Paris is large."


@pytest.mark.parametrize(
    ("answer", "question", "context", "kind"),
    [
        ("1984", "When?", "", "year"),
        ("8,100", "How many?", "", "number"),
        ("3.62", "How many?", "", "number with a point"),
        ("1.2.3", "Which version?", "", "number with a point"),
        ("Moss Corporation", "Owned by whom?", "", "organisation of 2"),
        ("Moss River", "Name it.", "", "place of 2"),
        ("$2.5 million", "How much?", "", "number $0 million"),
        ("July 5, 1984", "When?", "", "date M 0, 0"),
        ("May", "When?", "", "month"),
        ("seven", "How many?", "", "numeral"),
        ("Ada King", "Which English poet's daughter was she?", "", "person of 2"),
        ("Ada King", "It was written by whom?", "", "person of 2"),
        ("Ada King", "Name her.", "Ada King (1815) was an English author.", "person of 2"),
        ("Dune", "Name it.", 'His novel "Dune" is long.', "work of 1"),
        ("Bonn, Germany", "Where was he born?", "", "place of 2 with ','"),
        ("the Alps", "Name them.", "", "name of 2 with 'the'"),
        ("Welsh", "Name it.", "A Welsh poet.", "adjective"),
        ("Big Data", "Which band's song was it?", "", "organisation of 2"),
        ("Ada King", "Which award-winning game designer made it?", "", "person of 2"),
        ("Ada King", "Which band-mate of hers was it?", "Ada King (born in May).", "person of 2"),
        ("Ada King", "Under which Peace Party president was it?", "", "person of 2"),
        ("Ada King", "Who chaired the night in which the film won?", "", "person of 2"),
        ("Navy", "What branch of military was the governor in?", "", "name of 1"),
        ("South Park", "Which animated television series was it?", "", "work of 2"),
        ("Moss", "What is the name of the band?", "", "organisation of 1"),
        ("Moss", "What is the nickname of the band?", "", "name of 1"),
        ("Moss", "Which of these films is it?", "", "work of 1"),
        ("Red Moss", "Which was it?", "Red Moss (1901) is a small village in the state of Y.", "place of 2"),
        ("Red Moss", "Who is she the coach for?", "The coach of the Red Moss.", "name of 2 with 'the'"),
        ("Duke of Moss", "Who was it?", "", "person of 3 with 'of'"),
        ("Train to Moss", "Which film was it?", "", "work of 3"),
        ("rock band", "What is it?", "", None),
        ("of the", "What is it?", "", None),
    ],
)
def test_kinds(answer: str, question: str, context: str, kind: str | None) -> None:
    assert answer_kind(answer, question, context) == kind


def many(n: int, per_context: int = 1) -> list[Example]:
    """Questions for years, `per_context` of them about one passage."""
    rng = np.random.default_rng(0)
    years = [str(year) for year in rng.permutation(np.arange(1800, 1800 + n))]
    passages = [f"Passage {n}: " + " ".join(years[n : n + per_context]) + "." for n in range(0, n, per_context)]
    return [
        Example(f"{k}", f"p{k // per_context}", f"Question {k}, when?", years[k], 1, passages[k // per_context])
        for k in range(n)
    ]


@pytest.mark.parametrize("per_context", [1, 5])
def test_surface_is_at_chance_in_every_fold(per_context: int) -> None:
    with gathered_notices():
        found = conflicts(many(200, per_context), HERE, 0)
    assert len(found) > 250 and surface_accuracy(found) <= 0.5
    balance: Counter[tuple[str, str]] = Counter()
    for e in found:
        balance[e.group, e.answer] += 1 if e.label else -1
        assert e.answer in e.context if e.label else e.answer not in e.context
    assert not any(balance.values())
    by_context: dict[str, set[str]] = {}
    for e in found:
        by_context.setdefault(e.context.split(":")[0], set()).add(e.group)
    assert {len(groups) for groups in by_context.values()} == {1}
    assert len({e.group for e in found}) >= 15


def test_the_same_by_seed_and_a_limit_takes_the_first(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [{"question": e.question, "answer": e.answer, "label": 1, "context": e.context} for e in many(60)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    whole = load_examples(f"conflict:{file}")
    assert load_examples(f"conflict:{file}", limit=20) == whole[:20]
    assert examples_hash(whole) == examples_hash(load_examples(f"conflict:{file}"))
    assert examples_hash(whole) != examples_hash(load_examples(f"conflict:{file}", seed=1))


@pytest.mark.parametrize(
    ("examples", "sentence"),
    [
        ([replace(DELHI, label=0)], "has no supported answers"),
        ([replace(DELHI, context="")], "none of its 1 supported answers stands in its context"),
        ([DELHI, ADA], r"no two of its 2 supported answers can trade places \(2 find no partner\)"),
    ],
)
def test_bad_files(examples: list[Example], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        conflicts(examples, HERE, 0)


@pytest.mark.parametrize("name", ["conflict:", "conflict:zoo:text", "conflict:facts:text", "conflict:conflict:x"])
def test_only_files_have_answers_to_exchange(name: str) -> None:
    with pytest.raises(InputError, match="no data set"):
        load_examples(name)


@pytest.mark.published
@pytest.mark.parametrize(
    ("file", "least"),
    [("halueval/qa_2000.csv", 1000), ("evidence/xquad.en.json", 300), ("evidence/hotpot_distractor_100.jsonl", 25)],
)
def test_published_files(file: str, least: int) -> None:
    with gathered_notices() as said:
        found = load_examples(f"conflict:{Path(os.environ['LENS_TRUTH_DATA']) / file}")
    assert len(found) > 2 * least and any("trade places" in sentence for sentence in said)
    assert all(e.context[slice(*span)] == e.answer for e in found if e.label for span in e.evidence)
    for exchanged, true in zip(found[::2], found[1::2], strict=True):
        stands = re.compile(rf"(?<!\w){re.escape(true.answer)}(?!\w)", re.IGNORECASE)
        assert exchanged.evidence and not stands.search(f"{true.question} {true.context}")
    assert surface_accuracy(found) < 0.52
