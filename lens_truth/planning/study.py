"""The stages of a study of one data set: what `probe` does with all rows, and what `ablate` asks."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lens_truth.planning.shape import ModelShape
from lens_truth.planning.sizes import DataSize
from lens_truth.planning.work import Case, Passes, Work, logged

CANDIDATES, GAINS, FINALISTS, RANKED = 12, 6, 2, 16
"""Of the search for lambda (`ablation/search.py`): candidates of a kind of scores (two normalisations, six strengths),
of a gain without scores, how many are asked everything, and on how many questions they are ranked. A test holds them
to what the search has."""
RANDOM_GATES = 3
"""Draws of `--random-gate`."""
SHARES = (0.2, 0.4, 0.4)
"""Of the questions of a file that choose lambda, that the scores rest on, and that test (`ablate`)."""
PERMUTATIONS, FOLDS, PENALTIES = 1000, 5, 3
"""Of the null of truth scores, and of ridge probes."""
OPEN, JUDGE = 3, 10
"""Tokens behind the question, and behind the answer that is judged (SmolLM2's tokenizer)."""
JUDGED: dict[Case, float] = {"good": 2, "bad": 5}
"""Tokens of yes or no: one with the end of the text, or as many as there is room for."""


@dataclass(frozen=True)
class GateCounts:
    """What an ablation compares; by default that of `ablate --controls all --random-gate --scores truth causal`.

    >>> lens_truth.GateCounts(controls=("permuted", "uniform"), random=False).arms("bad")
    """

    kinds: int = 2
    """Kinds of scores that gate a model."""
    controls: tuple[str, ...] = ("permuted", "uniform", "inverse", "norm-matched")
    trials: int = 5
    """The most draws of each control that draws."""
    random: bool = True

    def arms(self, case: Case) -> int:
        """Gates that are tested, vanilla among them, if validation wants all of them: of every control that draws one
        draw, or all that may be made.

        >>> lens_truth.GateCounts(kinds=3).arms("good"), lens_truth.GateCounts(kinds=3).arms("bad")
        """
        drawn = sum(kind in _DRAWN for kind in self.controls)
        draws = 1 if case == "good" else self.trials
        of_kind = 1 + len(self.controls) - drawn + drawn * draws
        tuned = int("uniform" in self.controls)
        return 1 + self.kinds * of_kind + tuned + (RANDOM_GATES if self.random else 0)

    @property
    def candidates(self) -> int:
        """Gates and gains that the search tries.

        >>> lens_truth.GateCounts().candidates
        """
        return CANDIDATES * self.kinds + (GAINS if "uniform" in self.controls else 0)

    @property
    def finalists(self) -> int:
        """Of these, what is asked everything, and the model as it is.

        >>> lens_truth.GateCounts().finalists
        """
        return 1 + FINALISTS * (self.kinds + int("uniform" in self.controls))


_DRAWN = ("permuted", "norm-matched")
"""Controls that draw."""


def probe_flops(rows: int, shape: ModelShape, permutations: int = PERMUTATIONS) -> float:
    """Of truth scores by ridge, for all heads: Gram matrices 2 N D^2, inverses for every fold and penalty 4 D^3 (a
    factorisation and its use), decisions under each penalty 2 N D^2, sums over permuted labels and their decisions
    4 N D P (`scoring/closed_form.py`)."""
    D = shape.d_head
    grams, decisions = 2.0 * rows * D**2, 2.0 * PENALTIES * rows * D**2
    of_head = grams + decisions + 4.0 * FOLDS * PENALTIES * D**3 + 4.0 * rows * D * permutations
    return shape.n_layers * shape.n_heads * of_head


def scoring_works(shape: ModelShape, size: DataSize, model: str, data: str) -> list[Work]:
    """Truth scores and causal scores on all rows, as `probe` computes them."""
    read = _rows(shape, size, size.questions)
    command = f"lens-truth probe --model {model} --data {data}"
    stored = float(shape.activation_bytes(size.rows))
    works = [
        Work("capture", command, shape, (read,), loads=1, stored=stored),
        Work("probing", command, shape, probe_flops=probe_flops(size.rows, shape)),
    ]
    if size.paired:
        twice = replace(read, logits=size.answer, backward=2)  # where answers differ in length
        works.append(Work("causal scores", f"{command} --scores causal", shape, (twice,), loads=1))
    return works


def ablation_works(
    shape: ModelShape, size: DataSize, gating: GateCounts, case: Case, model: str, data: str, source: str = ""
) -> list[Work]:
    """What `ablate` does with a file: scores on a share of the questions, the search on another, the test on the third.
    With the name of another model, a child gated by its `source` as well as by itself, whose scores cost as much."""
    command = f"lens-truth ablate --model {model} --data {data} --scores truth causal --random-gate "
    command += f"--scores-from {source}" if source else "--controls all"
    choosing, scoring, test = (max(1, round(share * size.questions)) for share in SHARES)
    n_sources = 2 if source else 1
    read = _rows(shape, size, scoring)
    causal = [replace(read, logits=size.answer, backward=2)] if size.paired else []
    passes = (read, *causal) * n_sources
    probes = n_sources * probe_flops(round(read.answers), shape, permutations=0)
    ranked = [_chosen(shape, size, min(RANKED, choosing), gating.candidates)] if size.paired else []
    search = (*ranked, *_every_way(shape, size, choosing, gating.finalists, case))
    tested = _every_way(shape, size, test, gating.arms(case), case)
    return [
        Work("ablate: scores", command, shape, passes, loads=n_sources, probe_flops=probes),
        Work("ablate: search", command, shape, search, stored=logged(search)),
        Work("ablate: test", command, shape, tested, stored=logged(tested)),
    ]


def _rows(shape: ModelShape, size: DataSize, questions: int, times: int = 1) -> Passes:
    """All rows of so many questions, behind what they share; an image is part of that."""
    n, begun, rest = size.shared
    image = size.image_share * (shape.vision.image_tokens if shape.vision else 0)
    some = n * questions / size.questions
    return Passes(some, begun + image, size.rows / n, rest, times=times, images=size.image_share > 0)


def _chosen(shape: ModelShape, size: DataSize, questions: int, times: int) -> Passes:
    """Which answer is likelier."""
    return replace(_rows(shape, size, questions, times), logits=size.answer)


def _every_way(shape: ModelShape, size: DataSize, questions: int, times: int, case: Case) -> tuple[Passes, ...]:
    """A question in three ways: which answer is likelier, what is the answer, is this one hallucinated. Its beginning
    goes through the model once for all of them."""
    every = _rows(shape, size, questions, times)
    question = max(0.0, every.rest - size.answer)  # what stands of it behind what rows share
    written = size.n_new if case == "bad" else size.n_new / 2
    opened = replace(every, rows=size.questions / size.shared[0], rest=question + OPEN, written=written)
    judged = replace(every, rest=every.rest + JUDGE, written=JUDGED[case], shared=True)
    return (opened, judged, *([replace(_chosen(shape, size, questions, times), shared=True)] if size.paired else []))
