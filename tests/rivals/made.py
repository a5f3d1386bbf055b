"""Made comparisons of any size."""

from __future__ import annotations

from dataclasses import replace

from lens_truth.ablation.rows import Candidate, GateRow
from lens_truth.rivals.result import RivalComparison
from lens_truth.rivals.rows import VANILLA, Cost, Elsewhere, HeadsOrNot, TextEffect
from lens_truth.stats.paired import Comparison


def against(difference: float, p: float) -> Comparison:
    return Comparison(difference, difference - 0.1, difference + 0.1, p, 0, 1, detectable=0.12)


def row(name: str, benchmark: str, accuracy: float, its: Comparison | None = None) -> GateRow:
    ends = accuracy - 0.1, accuracy + 0.1
    made = GateRow("org/x", name, "", benchmark, 1, 50, accuracy, 0.0, *ends, accuracy, 0.0, 2.0)
    return made if its is None else replace(made, lam=1.0, norm="strength", against={VANILLA: its})


def comparison(names: tuple[str, ...] = ("cad", "causal", "dola"), model: str = "org/x") -> RivalComparison:
    """The last one off; the first one helps; others have no effect that is told."""
    tested = names[:-1]
    gains = {name: against(0.3, 0.001) if name == names[0] else against(0.05, 0.4) for name in tested}
    loss = against(-0.2, 0.01)
    rows = [row(VANILLA, "conflict", 0.5), row(VANILLA, "closed-book", 0.7)]
    for name in tested:
        rows += [row(name, "conflict", 0.5 + gains[name].difference, gains[name]), row(name, "closed-book", 0.5, loss)]
    kinds = ("decoding", "heads", "decoding", "both", "dynamic", "words", "gain")
    tried = (Candidate(1.0, "strength", 1.0, {"conflict": 0.75}), Candidate(2.0, "strength", 2.0, {}, 0.4))
    effect = TextEffect(100, 0.15, (0.1, 0.2), float("nan"))
    return RivalComparison(
        model=model,
        headline="conflict",
        rows=tuple(replace(its, model=model) for its in rows),
        kinds={name: kinds[at % len(kinds)] for at, name in enumerate(names)},
        search=dict.fromkeys(names, tried),
        validation={"conflict": 0.7},
        p_holm={name: min(1.0, len(tested) * its.p_value) for name, its in gains.items()},
        elsewhere=dict.fromkeys(tested, Elsewhere(-0.2, -0.3, -0.1)),
        texts={tested[-1]: {"zoo": effect, "wikitext2_test": effect}},
        apart={names[0]: "a text that asks nothing has no context to take away"},
        costs={name: Cost(0.4, 1.9, 1.8, 2.1) for name in (VANILLA, *names)},
        heads_or_not=HeadsOrNot(tested[1], tested[0], against(-0.25, 0.02)) if len(tested) > 1 else None,
        left_out={"vcd": "the questions show no image"},
    )
