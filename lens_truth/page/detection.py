"""What `detect` found, as blocks of a page: what a detector is worth, and texts in the colours of its scores."""

from __future__ import annotations

from collections.abc import Sequence

from lens_truth.detection.result import Detection
from lens_truth.detection.texts import ScoredAnswer, ScoredTexts, ScoredToken
from lens_truth.io.numbers import count, number, short, signed
from lens_truth.io.tables import written
from lens_truth.page.blocks import Block, Details, Heading, Sentences, Shade, Shaded, Text
from lens_truth.page.reading import RunRecord
from lens_truth.page.view import View
from lens_truth.scoring.detector import Detector

_NAMED = 16
"""Heads that are named."""


def detection_blocks(run: RunRecord, _: View) -> list[Block]:
    """Verdicts, tables, then answers token by token; and answers without labels."""
    blocks: list[Block] = []
    model = run.config.get("model")
    if Detection.part in run.record.results:
        found = Detection.of_record(run.record)
        data = run.config.get("data") or "zoo:conflict"
        blocks.append(Heading(f"Hallucinations that heads of {model} detect", f"run {run.name}, on {data}"))
        blocks.append(Sentences(tuple(found.verdicts())))
        worth, *rest = found.tables()
        blocks += [worth, Details("Selective answers, calibration, and how many heads", tuple(rest))]
        blocks += _texts("Some test answers, token by token", found.detector, found.shown)
    if ScoredTexts.part in run.record.results:
        texts = ScoredTexts.of_record(run.record)
        blocks.append(Heading(f"Answers without labels, scored by {model}", f"run {run.name}"))
        blocks += [*texts.tables(), *_texts("Token by token", texts.detector, texts.answers)]
    return blocks


def _texts(title: str, detector: Detector, answers: Sequence[ScoredAnswer]) -> list[Block]:
    heads = ", ".join(f"L{layer} H{head}" for layer, head in detector.heads[:_NAMED])
    more = f" and {detector.n_heads - _NAMED} more" if detector.n_heads > _NAMED else ""
    said = (
        "Each token has the colour of the score of an answer that ends there: blue above, orange (and underlined) "
        f"below the threshold of {written(number(detector.threshold))}, which is one for last tokens. Point at a "
        "token, or move with the arrow keys, for the heads that add or take most. "
        f"Asked: {count(detector.n_heads, 'head')} ({heads}{more})."
    )
    far = max((abs(token.score - detector.threshold) for its in answers for token in its.tokens), default=1) or 1
    shown = tuple(_text(detector, its, far) for its in answers)
    return [Details(title, (Text(said), *shown))] if shown else []


def _text(detector: Detector, answer: ScoredAnswer, far: float) -> Shaded:
    label = {1: "labelled supported", 0: "labelled hallucinated", None: ""}[answer.label]
    about = [f"score {number(answer.score)}", f"P(supported) {number(answer.probability)}"]
    said = ", ".join(filter(None, [label, *map(written, about)]))
    tokens = tuple(_shade(detector, token, far) for token in answer.tokens)
    return Shaded(answer.question or answer.id, said, tokens)


def _shade(detector: Detector, token: ScoredToken, far: float) -> Shade:
    above = token.score - detector.threshold
    heads = ", ".join(f"L{layer} H{head} {written(signed(part, 2))}" for layer, head, part in token.heads)
    likely = f"; log-probability {written(short(token.log_prob))}" if token.log_prob == token.log_prob else ""
    tip = f"score {written(number(token.score, 2))}; {heads}{likely}"
    return Shade(token.text, round(100 * above / far), above <= 0, tip)
