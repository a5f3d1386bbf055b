"""`RivalComparison`: the one table of what helps, at what cost; read back without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from lens_truth.ablation.limits import limit_of, limit_warnings
from lens_truth.ablation.rows import Candidate, GateRow, best_of, mean_accuracy
from lens_truth.ablation.tables import caption_tables
from lens_truth.evaluate.answers import UNREADABLE
from lens_truth.io.numbers import share
from lens_truth.io.results import Result
from lens_truth.io.tables import Table
from lens_truth.rivals.rows import VANILLA, Cost, Elsewhere, HeadsOrNot, Kind, TextEffect, Triggered

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class RivalComparison(Result):
    """Rivals beside the model as it is, as `compare_rivals` gives it.

    >>> found = lens_truth.RivalComparison.load("runs/compare")
    >>> found.tables()[0], found.verdicts(), found.unwanted
    >>> found.plot().savefig("rivals.png")
    """

    command: ClassVar[str] = "compare"
    part: ClassVar[str] = "rivals"

    model: str
    headline: str
    """The benchmark that counts: the first on which the model as it is could gain and lose."""
    rows: tuple[GateRow, ...]
    """One for each rival that was tested, and test benchmark; `gate` is its name, `vanilla` comes first."""
    kinds: Mapping[str, Kind]
    """What each rival changes."""
    search: Mapping[str, tuple[Candidate, ...]]
    """By rival, all sizes that were tried on validation."""
    validation: Mapping[str, float]
    """Accuracy of the model as it is on each validation benchmark."""
    p_holm: Mapping[str, float]
    """On the benchmark that counts, by rival that was tested, adjusted for their number."""
    elsewhere: Mapping[str, Elsewhere] = field(default_factory=dict[str, Elsewhere])
    """By rival."""
    texts: Mapping[str, Mapping[str, TextEffect]] = field(default_factory=dict[str, Mapping[str, TextEffect]])
    """By rival and name of the text."""
    apart: Mapping[str, str] = field(default_factory=dict[str, str])
    """By rival, why a text without a question cannot show what it does."""
    costs: Mapping[str, Cost] = field(default_factory=dict[str, Cost])
    """By rival; times are measured, and so differ from run to run."""
    triggered: Mapping[str, Triggered] = field(default_factory=dict[str, Triggered])
    """By rival that is a dynamic gate."""
    heads_or_not: HeadsOrNot | None = None
    """None unless a rival of heads and another one were tested."""
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])
    """Rivals that do not fit the model or the data, with the reason."""
    seed: int = 0

    @property
    def tested(self) -> tuple[str, ...]:
        """Rivals that validation wanted."""
        return tuple(dict.fromkeys(row.gate for row in self.rows if row.gate != VANILLA))

    @property
    def unwanted(self) -> tuple[str, ...]:
        """Rivals no size of which did better on validation than the model as it is."""
        return tuple(name for name in self.search if name not in self.tested)

    @property
    def on_validation(self) -> float:
        """What candidates had to exceed: accuracy of the model as it is, mean over the validation benchmarks."""
        return mean_accuracy(self.validation)

    def row(self, rival: str, benchmark: str = "") -> GateRow:
        """Of a rival that was tested, or `vanilla`; by default on the benchmark that counts.

        >>> found.row("cad").against["vanilla"].difference
        """
        wanted = rival, benchmark or self.headline
        return next(row for row in self.rows if (row.gate, row.benchmark) == wanted)

    def chosen(self, rival: str) -> Candidate:
        """The size that did best on validation.

        >>> found.chosen("cad").lam
        """
        return best_of(self.search[rival])

    def tables(self) -> tuple[Table, ...]:
        """What helps at what cost; then every benchmark, captions, what was tried, and what does not fit.

        >>> found.tables()[0]  # in a notebook
        """
        from lens_truth.rivals import tables

        captions = caption_tables(self.rows, "rival").values()
        dynamic = [tables.trigger_table(self)] if self.triggered else []
        parts = (tables.main_table(self), tables.benchmark_table(self), *captions, *dynamic, tables.search_table(self))
        return (*parts, *([tables.left_out_table(self)] if self.left_out else []))

    def verdicts(self) -> list[str]:
        """What helps, what harms, what could not be told, and whether it is the heads.

        >>> print(*found.verdicts(), sep="\\n")
        """
        from lens_truth.rivals.words import sentences

        return sentences(self)

    def warnings(self) -> list[str]:
        """Benchmarks that cannot tell, and answers that could not be read.

        >>> print(*found.warnings(), sep="\\n")
        """
        unread = [
            f"{self.model}, {row.gate} on {row.benchmark}: {share(row.unparsed)} of the answers could not be read"
            for row in self.rows
            if row.unparsed > UNREADABLE
        ]
        bare = [row for row in self.rows if row.gate == VANILLA]
        fallback = (
            f"{self.model}: no benchmark leaves room for a gain and for a loss; {self.headline} counts all the same"
        )
        nowhere = [fallback] if all(limit_of(row) for row in bare) else []
        return limit_warnings(self.rows) + nowhere + unread

    def plot(self) -> Figure:
        """A line a rival: gain, change elsewhere, tokens changed in neutral text, cost.

        >>> found.plot()
        """
        from lens_truth.rivals.figures import rival_lines

        return rival_lines(self)
