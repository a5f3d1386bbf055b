"""`Rival`: a method by its candidates, of which validation chooses one, or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from lens_truth.ablation.search import Found, Validation
from lens_truth.decoding.decoder import Decoder
from lens_truth.errors import InputError
from lens_truth.gates.rows import Intervention
from lens_truth.models.hooks import Hooked
from lens_truth.rivals.rows import Kind

Way = Intervention | Decoder
Tried = tuple[Way, float, str]
"""What acts, its strength, and the words that tell it from others of that strength. Words that end in strength,
threshold or above are followed by the number where the size is said; behind others a strength of 1 is left away."""
_UNGATED: tuple[Kind, ...] = ("words", "decoding")


@dataclass(frozen=True, eq=False)
class Rival:
    """A method: what it changes, and the sizes in which it is tried.

    >>> sizes = [(lens_truth.ContextAware(strength), strength, "strength") for strength in (0.5, 1.0, 2.0)]
    >>> rival = lens_truth.Rival.of("decoding", sizes)
    >>> gated = rival.under(gate)
    """

    kind: Kind
    candidates: Callable[[Searching], Sequence[Tried]]
    """What is tried; what was found for other rivals can be asked for."""
    fixed: bool = False
    """Whether the best is tested even if validation wants it off."""
    apart: str = ""
    """Why a text about which nothing is asked cannot show what it does; empty if it can."""
    ready: Sequence[Tried] = ()
    """Candidates that hang on nothing else."""
    parts: tuple[Rival, ...] = ()
    """Of one under a gate, the way and the gate, if it is a rival too: it is held against both."""

    @classmethod
    def of(cls, kind: Kind, candidates: Sequence[Tried], *, fixed: bool = False, apart: str = "") -> Rival:
        """With candidates that hang on nothing else."""
        return cls(kind, lambda _: candidates, fixed, apart, candidates)

    def check(self, model: Hooked) -> None:
        """Raises an InputError if a candidate that is known beforehand does not fit the model: `rival.check(model)`."""
        for way, _, _ in self.ready:
            way.check(model)

    def under(self, gate: Intervention | Rival) -> Rival:
        """The same with all of its passes under a gate; of a rival under the gate that validation likes best.

        Raises:
            InputError: if it is itself a gate, or the other one is none.
        """
        if self.kind not in _UNGATED:
            raise InputError("only ways to decode and to ask can be put under a gate; gates cannot")
        if isinstance(gate, Rival) and gate.kind not in ("heads", "gain"):
            raise InputError("what decodes or asks cannot stand in for a gate; name the gate behind the +")

        def gated(searching: Searching) -> list[Tried]:
            its = searching.best(gate) if isinstance(gate, Rival) else gate
            return [(_under(decoder, its), size, setting) for decoder, size, setting in self.candidates(searching)]

        parts = (self, gate) if isinstance(gate, Rival) else (self,)
        return Rival("both", gated, self.fixed, self.apart, parts=parts)


def _under(decoder: Way, gate: Way) -> Decoder:
    assert isinstance(decoder, Decoder)
    assert not isinstance(gate, Decoder)
    return replace(decoder, gate=gate)


@dataclass
class Searching:
    """What validation chose so far; every rival is searched once."""

    validation: Validation
    _found: dict[Rival, Found[Way]] = field(default_factory=dict[Rival, Found[Way]])
    _best: dict[Rival, Way] = field(default_factory=dict[Rival, Way])

    def of(self, rival: Rival) -> Found[Way]:
        """What it found for a rival."""
        if rival not in self._found:
            tried = rival.candidates(self)
            named = [f"{setting}, {size:.3g}" for _, size, setting in tried]
            if not tried:
                raise InputError("a rival has no size in which it could be tried")
            if twice := next((name for name in named if named.count(name) > 1), None):
                raise InputError(f"two sizes of a rival are called '{twice}'; give them other words")
            found = self._found[rival] = self.validation.tried(tried, fixed=rival.fixed)
            self._best[rival] = tried[found.candidates.index(found.best)][0]
        return self._found[rival]

    def best(self, rival: Rival) -> Way:
        """Its best candidate, wanted or not."""
        self.of(rival)
        return self._best[rival]
