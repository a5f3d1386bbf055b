"""Tokens as texts: where some of them, marked as the answer, stand in a reply, and which characters of it they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Marked:
    """Where the marked tokens of a reply stand."""

    first: int
    stop: int
    """The tokens [first, stop) hold them."""
    places: int = 1
    """How often they stand there; the first counts."""
    gaps: bool = False
    """Whether tokens that are not marked stand between them, or some differ in case, spaces or signs."""


def place_of(tokens: Sequence[str], marked: Sequence[str]) -> Marked | None:
    """Where the marked tokens stand: in one run, or else in order, in the shortest stretch that holds them all. None if
    they do not stand there, not even without regard to case, spaces and signs."""
    n = len(marked)
    if not n:
        return None
    if runs := [start for start in range(len(tokens) - n + 1) if list(tokens[start : start + n]) == list(marked)]:
        return Marked(runs[0], runs[0] + n, len(runs))
    for key in (str, _bare):
        wanted = [key(token) for token in marked if key(token)]
        if wanted and (stretch := _stretch([key(token) for token in tokens], wanted)):
            return Marked(*stretch, gaps=True)
    return None


def _stretch(tokens: Sequence[str], wanted: Sequence[str]) -> tuple[int, int] | None:
    """The shortest stretch of tokens in which the wanted ones stand in order; of equals the first."""
    found = list[tuple[int, int]]()
    for start in (place for place, token in enumerate(tokens) if token == wanted[0]):
        at = start
        for token in wanted[1:]:
            at = next((place for place in range(at + 1, len(tokens)) if tokens[place] == token), -1)
            if at < 0:
                break
        else:
            found.append((start, at + 1))
    return min(found, key=lambda stretch: (stretch[1] - stretch[0], stretch[0]), default=None)


def _bare(token: str) -> str:
    return re.sub(r"[\W_ĠĊ▁]", "", token).casefold()


def characters_of(tokens: Sequence[str], first: int, stop: int, text: str) -> tuple[int, int] | None:
    """Characters [start, stop) of a text that its tokens [first, stop) spell, without spaces around them; None if its
    tokens do not spell it. They may be written as byte-level BPE writes them (Ġ for a space), as SentencePiece does (▁)
    or as plain text, in which half a character is a stand-in; text around may lack in the tokens if it is empty."""
    said = text.strip()
    shift = text.find(said)
    for spell in (_bytes, _pieces, "".join):
        whole = spell(tokens).strip()
        if whole != said and "\ufffd" not in whole:
            continue
        before, its, behind = (spell(part) for part in (tokens[:first], tokens[first:stop], tokens[stop:]))
        before, behind = (before.lstrip(), behind.rstrip())
        begin, end = len(before), len(said) - len(behind)
        if begin >= end or not (said.startswith(before) and said.endswith(behind)):
            continue
        inside = said[begin:end]
        if its.strip() in inside or "\ufffd" in its:  # of a character that is cut, a side has nothing or a stand-in
            blank = len(inside) - len(inside.lstrip())
            return (shift + begin + blank, shift + begin + len(inside.rstrip())) if inside.strip() else None
    return None


def _bytes(tokens: Sequence[str]) -> str:
    known = _byte_of()
    return bytes(known.get(sign, 0xFF) for token in tokens for sign in token).decode("utf-8", "ignore")


@cache
def _byte_of() -> dict[str, int]:
    """Which byte each sign stands for in byte-level BPE (GPT-2's): printable ones for themselves, the others for signs
    from U+0100 on, in order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}


def _pieces(tokens: Sequence[str]) -> str:
    return re.sub(r"(?:<0x[0-9A-F]{2}>)+", _of_bytes, "".join(tokens).replace("▁", " "))


def _of_bytes(found: re.Match[str]) -> str:
    """The characters whose bytes are written out: <0xC3><0xA9>."""
    return bytes.fromhex(found[0].replace("<0x", "").replace(">", "")).decode("utf-8", "ignore")
