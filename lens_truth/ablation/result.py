"""`Ablation`: what gates and their controls did to one model or several, in tables, words and figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from lens_truth.ablation import tables
from lens_truth.ablation.limits import limit_of, limit_said, limit_warnings
from lens_truth.ablation.rows import Candidate, GateRow, SideEffectRow, best_of, mean_accuracy
from lens_truth.ablation.tables import as_good, could_show, gate_name
from lens_truth.errors import InputError
from lens_truth.evaluate.answers import UNREADABLE
from lens_truth.evaluate.choices import length_warning
from lens_truth.io.numbers import count, interval, ranges, signed
from lens_truth.io.results import Result
from lens_truth.io.tables import Table
from lens_truth.stats.paired import Comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Ablation(Result):
    """Gates by scores beside the vanilla model and their controls, as `run_ablation` gives it for one model.

    >>> lens_truth.Ablation.load("runs/ablate").plot().savefig("bars.png")
    """

    command: ClassVar[str] = "ablate"
    part: ClassVar[str] = "ablation"

    rows: tuple[GateRow, ...]
    """One for each model, gate or control, and test benchmark; those of the vanilla model come first."""
    search: Mapping[str, Mapping[str, tuple[Candidate, ...]]]
    """By model, for each gate by scores and for the uniform gain, all candidates of the search on validation."""
    validation: Mapping[str, Mapping[str, float]]
    """By model, accuracy without a gate on each validation benchmark."""
    side_effects: tuple[SideEffectRow, ...] = ()
    """One for each model and gate, if neutral texts were given."""
    relative: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    """By model, layers in which a norm behind the projection undoes a gain that all heads share: gates act there only
    by the ratios of their values (`common_gain_acts`)."""

    @classmethod
    def joined(cls, ablations: Iterable[Ablation]) -> Ablation:
        """Several models in one; `one | other` is the same for two.

        >>> both = lens_truth.Ablation.joined([of_base, of_child])

        Raises:
            InputError: if two of them hold the same model.
        """
        parts = list(ablations)
        counts = Counter(model for part in parts for model in part.models)
        if twice := [model for model, n in counts.items() if n > 1]:
            raise InputError(f"two ablations of '{twice[0]}' cannot be put together; give its models different names")
        return cls(
            rows=tuple(row for part in parts for row in part.rows),
            search={model: its for part in parts for model, its in part.search.items()},
            validation={model: its for part in parts for model, its in part.validation.items()},
            side_effects=tuple(effect for part in parts for effect in part.side_effects),
            relative={model: its for part in parts for model, its in part.relative.items()},
        )

    def __or__(self, other: Ablation) -> Ablation:
        return self.joined([self, other])

    @property
    def models(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(dict.fromkeys(row.model for row in self.rows))

    def unwanted(self, model: str) -> tuple[str, ...]:
        """Gates of a model for which no candidate did better on validation than no gate, so that none was tested.

        >>> ablation.unwanted("zoo:llama-memory")
        """
        tested = {gate_name(*row.arm) for row in self.rows if row.model == model}
        return tuple(gate for gate in self.search.get(model, {}) if gate not in tested)

    def chosen(self, gate: str, model: str | None = None) -> Candidate | None:
        """What the search chose for a gate of a model (by default the first); None where validation wanted no gate.

        >>> best = ablation.chosen("causal")

        Raises:
            InputError: if nothing was searched under these names.
        """
        name = next(iter(self.search), "") if model is None else model
        searched = self.search.get(name, {})
        if not searched.get(gate):
            of = "" if model is None else f" of '{model}'"
            raise InputError(f"there was no search for a gate '{gate}'{of}, only for {', '.join(searched) or 'none'}")
        return None if gate in self.unwanted(name) else best_of(searched[gate])

    def vanilla_objective(self, model: str) -> float:
        """What candidates had to exceed: accuracy without a gate, mean over the validation benchmarks.

        >>> ablation.vanilla_objective("zoo:llama-memory")
        """
        return mean_accuracy(self.validation.get(model, {}))

    def tables(self) -> tuple[Table, ...]:
        """Accuracy under each gate, a table a model; then all readings, captions and side effects, where there are any.

        >>> ablation.tables()[0]  # in a notebook
        """
        effects = tables.side_effect_tables(self.side_effects, self.rows)
        read = tables.reading_tables(self.rows)
        parts = (self.gate_tables(), read, tables.caption_tables(self.rows), effects)
        return tuple(table for by_name in parts for table in by_name.values())

    def gate_tables(self) -> dict[str, Table]:
        """The first of them, by model.

        >>> ablation.gate_tables()["zoo:llama-memory"]  # in a notebook
        """
        return tables.gate_tables(self.rows, self._all_unwanted)

    def search_tables(self, model: str) -> list[Table]:
        """All candidates of a model's search, a table a gate.

        >>> ablation.search_tables("zoo:llama-memory")[0]  # in a notebook
        """
        return tables.search_tables(self.search.get(model, {}), self.vanilla_objective(model), self.unwanted(model))

    def verdicts(self) -> list[str]:
        """A sentence for every gate by scores: its effect on the first benchmark that can tell, controls that did as
        well, other benchmarks that it harmed; for gates that validation did not want, that.

        >>> print(*ablation.verdicts(), sep="\\n")
        """
        said: list[str] = []
        for model in self.models:
            mine = [row for row in self.rows if row.model == model]
            vanilla = {row.benchmark: row for row in reversed(mine) if row.arm == ("vanilla", "")}
            bare = [row for row in mine if row.arm == ("vanilla", "")]
            headline = next((row for row in bare if limit_of(row) is None), mine[0])
            said += [
                _verdict(row, [other for other in mine if other.arm == row.arm], vanilla.get(row.benchmark))
                for row in mine
                if row.benchmark == headline.benchmark and row.by_scores and "vanilla" in row.against
            ]
            said += [self._unwanted(model, gate) for gate in self.unwanted(model)]
        return said

    @property
    def _all_unwanted(self) -> dict[str, tuple[str, ...]]:
        return {model: self.unwanted(model) for model in self.models}

    def _unwanted(self, model: str, gate: str) -> str:
        best, vanilla = best_of(self.search[model][gate]).objective, self.vanilla_objective(model)
        return (
            f"{model}, {gate}: validation wanted no gate (the best reaches {best:.3f} there, the model without one "
            f"{vanilla:.3f}), so none was tested."
        )

    def warnings(self) -> list[str]:
        """What makes results doubtful: benchmarks that cannot tell, answers that length alone tells apart, heads that
        gates invert or that cannot be amplified together, answers that could not be read, a search that found nothing.

        >>> print(*ablation.warnings(), sep="\\n")
        """
        gated = [row for row in self.rows if row.negative_gates and row.by_scores]
        inverted = {(row.model, row.gate): row.negative_gates for row in gated}
        found = [
            f"{of}, {gate}: {n} gates are negative, so those heads are inverted" for (of, gate), n in inverted.items()
        ]
        found += limit_warnings(self.rows)
        found += [
            f"{row.model} on {row.benchmark}: {said}"
            for row in self.rows
            if row.arm == ("vanilla", "") and row.shorter is not None and (said := _length_warning(row, row.shorter))
        ]
        found += [_relative(model, layers) for model, layers in self.relative.items() if layers]
        found += [
            f"{row.model}, {row.gate} on {row.benchmark}: {row.unparsed:.0%} of the answers could not be read"
            for row in self.rows
            if row.unparsed > UNREADABLE and row.gate != "random"  # nobody expects better of a random gate
        ]
        return found + [
            f"{model}, {gate}: on validation no lambda does better than no gate ({best:.3f} against {vanilla:.3f})"
            for model, searched in self.search.items()
            for vanilla in [self.vanilla_objective(model)]
            for gate, candidates in searched.items()
            for best in [best_of(candidates).objective]
            if not best > vanilla
        ]

    def plot(self, what: str = "gates", warning: str = "") -> Figure:
        """A figure, a panel a model.

        >>> ablation.plot("search")

        Args:
            what: `gates`, every gate and control with its 95% interval; `random gate`, TruthProbe's Fig. 5: vanilla
                and gates by scores beside 1 + U(-1, 1); `search`, validation accuracy against the size of the gate.
            warning: stands in red under `gates`, so that the picture cannot travel without it.

        Raises:
            InputError: for another figure.
        """
        from lens_truth.ablation.figures import ablation_bars, lambda_curves, random_gate_bars

        figures = {
            "gates": lambda: ablation_bars(self.rows, self._all_unwanted, warning),
            "random gate": lambda: random_gate_bars(self.rows),
            "search": lambda: lambda_curves(self),
        }
        if what not in figures:
            raise InputError(f"an ablation has no figure '{what}', only {', '.join(figures)}")
        return figures[what]()


def _verdict(row: GateRow, everywhere: Sequence[GateRow], bare: GateRow | None) -> str:
    vanilla = row.against["vanilla"]
    harmed = _harmed(row, everywhere)
    if bare is not None and not vanilla.gained and (why := limit_said(bare)):
        return f"{row.model}, {row.gate} gate on {row.benchmark}: no verdict, since {why}.{harmed}"
    effect = f"{row.model}, {row.gate} gate on {row.benchmark}: {_with_interval(vanilla)} against vanilla "
    effect += f"(p = {vanilla.p_value:.3g})"
    if not vanilla.gained:
        effect += f"; no significant gain{_power(row, bare)}"
    controls = {name: its for name, its in row.against.items() if name != "vanilla"}
    said = {name: f"{name} ({_with_interval(its)}{as_good(its)})" for name, its in controls.items()}
    unbeaten = [said[name] for name, its in controls.items() if not (its.beaten or its.unsettled)]
    unsettled = [said[name] for name, its in controls.items() if its.unsettled]
    if unbeaten:
        effect += f". It does NOT beat: {', '.join(unbeaten)}."
    elif len(unsettled) < len(controls) or not controls:
        others = "all its other controls" if unsettled else "all its controls"
        effect += f". It {f'beats {others}' if controls else 'was compared with no control'}."
    else:
        effect += "."
    effect += f" Drawn no further, since nothing was gained: {', '.join(unsettled)}." if unsettled else ""
    return effect + harmed


def _power(row: GateRow, bare: GateRow | None) -> str:
    """What so many questions could have shown, and whether as much was to be had."""
    could, room = could_show(row.against["vanilla"]), 1 - bare.accuracy if bare else 1.0
    left = f", and the model without a gate leaves {room:.3f}" if row.against["vanilla"].detectable > room else ""
    return f" ({count(row.n, 'question')} {could}{left})" if could else ""


def _harmed(row: GateRow, everywhere: Sequence[GateRow]) -> str:
    others = {other.benchmark: other.against.get("vanilla") for other in everywhere if other is not row}
    harms = {name: its for name, its in others.items() if its and its.difference < 0 and its.significant}
    harmed = ", ".join(f"{name} {signed(its.difference)}" for name, its in harms.items())
    return f" Side effects: {harmed}." if harmed else ""


def _length_warning(row: GateRow, shorter: float) -> str | None:
    return length_warning(shorter, row.chance, row.readings.get("total", row.accuracy), row.readings.get("per token"))


def _relative(model: str, layers: Sequence[int]) -> str:
    return (
        f"{model}: in {count(len(layers), 'layer')} ({ranges(layers)}) a norm behind the heads' projection undoes a "
        "gain that all heads share, so gates and causal scores are relative to the layer's other heads there; "
        "controls without scores tell heads apart at random"
    )


def _with_interval(its: Comparison) -> str:
    return f"{signed(its.difference)} {interval((its.ci_low, its.ci_high), 3, plus=True)}"
