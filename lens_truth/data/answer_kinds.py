"""Of which kind a short answer is, as far as its shape and the question tell without a tagger: answers of one kind can
trade places. `None` for an answer that is neither a name nor a number or date: others seldom fit into a sentence."""

from __future__ import annotations

import re

_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_DATE = re.compile(rf"(?=.*\d)[\d\s,]*\b(?:{_MONTHS})\b[\d\s,]*(?:st|nd|rd|th)?[\d\s,]*")
_DAYS = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
_COUNTED = "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fifteen|twenty|thirty|forty|fifty"
SMALL = {
    "of",
    "the",
    "and",
    "de",
    "la",
    "le",
    "del",
    "di",
    "du",
    "da",
    "van",
    "von",
    "der",
    "den",
    "for",
    "in",
    "on",
    "at",
    "to",
    "from",
    "by",
    "with",
    "a",
    "an",
}
_PEOPLE = (
    "who|whom|person|people|man|woman|actor|actress|singer|songwriter|rapper|musician|guitarist|drummer|composer|"
    "director|producer|filmmaker|screenwriter|writer|author|novelist|playwright|poet|journalist|artist|painter|"
    "architect|designer|comedian|host|model|player|footballer|quarterback|coach|wrestler|boxer|driver|politician|"
    "president|minister|governor|senator|mayor|king|queen|emperor|general|businessman|entrepreneur|founder|scientist|"
    "physicist|mathematician|philosopher|historian|explorer|inventor|executive|lawyer|superstar|star|character|"
    "brother|sister|father|mother|son|daughter|wife|husband"
)
_ASKED = {  # the words after "what" or "which" by which a question says what it asks for
    "person": _PEOPLE,
    "nationality": "nationality|nationalities|language",
    "country": "country|countries|nation|kingdom",
    "state": "state|province|county|region|territory|district",
    "place": "city|town|village|capital|borough|suburb|neighborhood|place|location|island|theatre|theater|venue|"
    "stadium|arena|airport|valley|river|lake|mountain|museum|park",
    "work": "film|movie|documentary|album|song|single|book|novel|play|opera|musical|show|sitcom|series|game|magazine|"
    "newspaper",
    "organisation": "company|corporation|band|group|team|club|label|network|channel|university|college|school|league|"
    "party|organization|organisation|agency|airline|manufacturer|brand",
}
_SAYS_ITSELF = {  # the words by which a name does
    "organisation": "Corporation|Company|Inc|Ltd|University|College|School|Institute|Association|Group|League|"
    "Club|Records|Entertainment|Party|Army|Agency|Bank|Airlines|Society|Studios|Pictures|Foundation|Church",
    "place": "River|County|City|Lake|Mount|Stadium|Airport|Hall|Island|Islands|Park|Street|Avenue|Bridge|Castle|Museum|"
    "Province|Bay|Valley|Theatre|Theater|Center|Centre|Arena|House",
}
_ANY = "|".join(f"(?P<{name}>(?:{words})s?)" for name, words in _ASKED.items())
_ANY_NOUN = rf"(?:{'|'.join(_ASKED.values())})s?\b"
_ENDS = "is|was|are|were|did|does|do|has|had|have|can|who|that|the|an?|of|in|on|at|for|by|from|to|with|and|or"
_SAYS_WHAT = re.compile(  # up to the last of the nouns in "which computer game designer", but no further
    r"\b(?:what|which)\b(?: (?:is|was|are|were) (?:the|an?)\b| (?:one )?of (?:the|these)\b)?"
    rf"(?:[\s\"“/]+(?:names? of (?:the|an?)|(?!(?:{_ENDS})\b)[\w'-]+)){{0,6}}?[\s\"“/]+"
    rf"(?:{_ANY})\b(?!-|[\s/]+{_ANY_NOUN})",
    re.IGNORECASE,
)
_WHO = re.compile(r"^\W*(?:who|whom|whose)\b|\b(?:by|after|to|with|and|is|was) who(?:m|se)?\b", re.IGNORECASE)
_WHERE = re.compile(r"^\W*(?:in )?where\b|\bwhere\W*$|\bof where\b|\b(?:based|located|born) where\b", re.IGNORECASE)


_TOLD = {  # how a passage writes of an answer (\0), where the question does not say what it asks for
    name: re.compile(form)
    for name, form in {
        "person": rf"\b(?:{_PEOPLE}) \0|\0,? \([^)]*\bborn",
        "work": '["“]\0["”]',
        "place": r"\b(?:in|near) (?:the )?\0",
    }.items()
}
_TOLD_WHAT = re.compile(  # "was a poetry magazine of ...": up to a word after which it says something else
    rf"\0(?: \([^)]*\))?,? (?:is|was|are|were) (?:an?|the|one of the) "
    rf"(?:(?!\b(?:{_ENDS}|which)\b)[^.])*?\b(?:{_ANY})\b(?!-| {_ANY_NOUN})"
)


def answer_kind(answer: str, question: str, context: str) -> str | None:
    """What the answer is: `year`, `number`s by their unit, `date`s by their form, names by what is asked for and their
    number of words (three stands for more).

    >>> answer_kind("Delhi", "In what city is it?", "It is in Delhi.")
    'place of 1'
    """
    if re.fullmatch(r"1\d{3}|20\d\d", answer):
        return "year"
    if re.fullmatch(r"\d+(?:[.,]\d+)*", answer):
        return "number" + " with a point" * ("." in answer)
    if _DATE.fullmatch(answer):
        return "date " + re.sub(r"\d+", "0", re.sub(_MONTHS, "M", answer))
    if re.fullmatch(r"\W?\d+(?:[.,]\d+)*\W?(?: ?[\w ]+)?", answer):
        return "number " + re.sub(r"\d+(?:[.,]\d+)*", "0", answer)
    for name, words in (("numeral", _COUNTED), ("month", _MONTHS), ("day", _DAYS)):
        if re.fullmatch(words, answer, re.IGNORECASE):
            return name
    words = answer.split()
    inner = [word for word in words if word not in SMALL]
    if not inner or words[-1] in SMALL or not all(_is_name(word) for word in inner):
        return None
    told = context.replace(answer, "\0")
    # "a Welsh folk singer": what stands between an article and a common noun is an adjective
    if len(words) == 1 and re.search(r"\b[Aa]n? \0,? [a-z]", told):
        return "adjective"
    asked = _asked_for(answer, question, told)
    with_the = words[0].lower() == "the" or (asked != "person" and re.search(r"\b[Tt]he \0", told))
    there = {"the": with_the, ",": "," in answer, "and": "and" in words, "of": asked == "person" and "of" in words}
    marks = [f"with '{mark}'" for mark, is_there in there.items() if is_there]
    return " ".join([asked, f"of {min(len(words), 3)}", *marks])


def _is_name(word: str) -> bool:
    """Also a nickname in quotes."""
    word = word.rstrip(",").strip('"“”')
    return word[:1].isupper() and all(letter.isalpha() or letter in ".'’-&!" for letter in word)


def _asked_for(answer: str, question: str, told: str) -> str:
    """`person`, `place`, ...: what the question says by a noun, the answer by one of its words, the question by "who"
    or "where", or else the context says that it is; `name` where none of them does."""
    if noun := _SAYS_WHAT.search(question):
        return str(noun.lastgroup)
    if itself := next((name for name, of in _SAYS_ITSELF.items() if re.search(rf"\b(?:{of})\b", answer)), None):
        return itself
    if _WHO.search(question) and not re.search(r"\bfor\W*$", question):
        return "person"
    if _WHERE.search(question):
        return "place"
    if said := _TOLD_WHAT.search(told):
        return str(said.lastgroup)
    return next((name for name, form in _TOLD.items() if form.search(told)), "name")


def asked_noun(question: str) -> str:
    """The noun by which a question says what it asks for, such as "film"; empty where it has none."""
    noun = _SAYS_WHAT.search(question)
    return re.sub(r"(?<!s)s$", "", noun[str(noun.lastgroup)].lower()) if noun else ""
