"""`Prompted`: what most people would try first, an instruction before the question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from lens_truth.data.examples import Example
from lens_truth.decoding.decoder import Decoder
from lens_truth.errors import InputError
from lens_truth.models.prompts import Wording

INSTRUCTIONS: Mapping[str, str] = {
    "only": "Answer only from the {source}.",
    "not memory": "Use only what the {source} says or shows, even if you know or believe something else.",
    "read": "Instruction: read the given information and answer the corresponding question.",
    "careful": "Answer truthfully. Do not say anything that the {source} does not support.",
}
"""Candidates by name; `read` is the instruction of Zhou et al. (2023, arXiv 2303.11315, context-faithful prompting),
the others are what one would write. `{source}` is the example's: context, image, or both."""


@dataclass(frozen=True, eq=False)
class Prompted(Decoder):
    """Greedy decoding behind an instruction, which begins the user's turn, or under the plain template the content.

    >>> prompted = lens_truth.Prompted(instruction="Answer only from the {source}.")
    >>> prompted.worded(benchmark.wording), prompted.said_to(example)
    """

    strength: float = 1.0
    """1, or 0 for none."""
    instruction: str = INSTRUCTIONS["only"]
    """`{source}` in it becomes context, image, or image and context; where an example has neither, an instruction that
    names it is left away."""

    def __post_init__(self) -> None:
        if self.strength not in (0, 1):
            raise InputError(f"the strength of Prompted is {self.strength}; an instruction is given (1) or not (0)")
        if self.strength and not self.instruction.strip():
            raise InputError("Prompted needs an instruction")

    @property
    def does(self) -> tuple[str, Sequence[Float[Tensor, "..."]]] | None:
        """See `Decoder.does`."""
        return (f"Prompted {self.instruction!r}", ()) if self.strength else None

    def said_to(self, example: Example) -> str:
        """The instruction for an example; empty where it is left away."""
        sources = [name for name, its in (("image", example.image), ("context", example.context)) if its]
        if not self.strength or ("{source}" in self.instruction and not sources):
            return ""
        return self.instruction.replace("{source}", " and the ".join(sources))

    def worded(self, wording: Wording) -> Wording:
        """With the instruction before everything else that is said."""
        if not self.strength:
            return wording

        def content(example: Example) -> str:
            return "\n\n".join(part for part in (self.said_to(example), wording.content(example)) if part)

        return replace(wording, content=content)
