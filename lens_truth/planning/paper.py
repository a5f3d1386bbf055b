"""The stages of the paper's whole study, TruthProbe (Choi et al. 2026), with the controls that it lacks: HaluEval, POPE
and CHAIR, a base and multimodal children, gates by truth and causal scores with all controls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lens_truth.planning.llama import llava_child
from lens_truth.planning.shape import ModelShape
from lens_truth.planning.sizes import DataSize
from lens_truth.planning.study import JUDGED, GateCounts, ablation_works, scoring_works
from lens_truth.planning.work import Case, Passes, Work, logged

PAPER = "paper"
"""The name of the study where that of a data set may stand."""
HALUEVAL = DataSize(
    "HaluEval",
    rows=20_000,
    questions=10_000,
    prompt=127,
    answer=10,
    longest=490,
    n_new=92,
    source="10,000 questions with two answers each; tokens of the first 2,000 under SmolLM2's tokenizer",
)
"""`qa_data.json`: right answers have 4 tokens and hallucinated ones 16."""
POPE_FILES, POPE_IMAGES, POPE_QUESTIONS = 9, 500, 6
"""Three kinds of questions about COCO, A-OKVQA and GQA; each file asks six about each of 500 images: 27,000 in all."""
POPE_BEGUN, POPE_REST = 3, 24
"""Tokens of a question beside the image, before and behind where questions part (SmolLM2's tokenizer)."""
CHAIR_IMAGES, CHAIR_PROMPT = 500, 15
CHAIR_WRITTEN: dict[Case, float] = {"good": 190, "bad": 512}
"""Tokens of a caption, of which a batch writes as many as its longest has: the longest of the 500 that LLaVA-1.5's
authors published, or the most that are allowed."""
MORE_TOKENS: dict[Case, float] = {"good": 1.0, "bad": 1.25}
"""Times as many tokens as SmolLM2's tokenizer makes, whose vocabulary is larger than Llama 2's. Assumed."""


def paper_works(shape: ModelShape, n_children: int, case: Case, model: str) -> Iterator[Work]:
    """The base on HaluEval; each child, of the shape of LLaVA-1.5 on top of it, on HaluEval, POPE and CHAIR."""
    size, data = HALUEVAL.times(MORE_TOKENS[case]), "halueval:qa_data.json"
    text = replace(shape, vision=None)
    yield from scoring_works(text, size, model, data)
    yield from ablation_works(text, size, GateCounts(kinds=2), case, model, data)
    child = shape if shape.vision is not None else llava_child(shape)
    gating = GateCounts(kinds=4)  # the base's truth and causal scores, and its own
    for number in range(1, n_children + 1):
        name = "CHILD" if n_children == 1 else f"CHILD{number}"
        works = scoring_works(child, size, name, data)
        works += ablation_works(child, size, gating, case, name, data, source=model)
        works += _with_images(child, gating.arms(case), case, name)
        yield from (its.of("child" if n_children == 1 else f"child {number}") for its in works)


def _with_images(child: ModelShape, arms: int, case: Case, name: str) -> list[Work]:
    """POPE and CHAIR, each under every gate, which is a command a gate and file."""
    image = 0 if child.vision is None else child.vision.image_tokens
    more = MORE_TOKENS[case]
    asked = Passes(
        POPE_FILES * POPE_IMAGES,
        image + POPE_BEGUN * more,
        POPE_QUESTIONS,
        POPE_REST * more,
        written=JUDGED[case],
        times=arms,
        images=True,
    )
    told = Passes(CHAIR_IMAGES, image + CHAIR_PROMPT * more, 1, 1, written=CHAIR_WRITTEN[case], times=arms, images=True)
    command = f"lens-truth evaluate {{}} --model {name} --gate GATE"
    return [
        Work(
            "POPE",
            command.format("pope"),
            child,
            (asked,),
            loads=arms * POPE_FILES,
            stored=logged((asked,)),
            apart=True,
        ),
        Work("CHAIR", command.format("chair"), child, (told,), loads=arms, stored=logged((told,)), apart=True),
    ]
