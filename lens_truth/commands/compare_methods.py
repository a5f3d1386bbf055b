"""The methods that `compare` knows by name: what each needs, and what it is made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import TYPE_CHECKING, Any

import lens_truth
from lens_truth.commands.compare_given import Given, UnfitError
from lens_truth.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from lens_truth.commands.compare import Config
    from lens_truth.rivals.rival import Rival

UNDER = "gate"
"""What the gate of --under is called."""
_NEEDED = {
    "heads": ("decore", "dynamic-context"),
    "hallucination_heads": ("adhh",),
    "sibling": ("sibling", "lol"),
}
"""Flags, and the methods that they are for."""


def rivals_of(given: Given) -> tuple[dict[str, Rival], dict[str, str]]:
    """Rivals by name, as the flags want them, and those that do not fit, with the reason."""
    config, made = given.config, _Made(given)
    under = None if config.under is None else _given_gate(config.under, given.model)
    rivals: dict[str, Rival] = {}
    left_out: dict[str, str] = {}
    named = _named(config.methods or METHODS)
    _used(config, {part for parts in named.values() for part in parts})
    given.read()
    for name, parts in named.items():
        try:
            first, *gates = map(made.of, parts)
        except UnfitError as why:
            left_out[name] = str(why)
            continue
        try:
            rivals[name] = first.under(gates[0]) if gates else first
        except InputError as error:
            raise InputError(f"--methods {name}: {error}") from error
    if under is not None:
        alone = {name: its for name, its in rivals.items() if its.kind in ("words", "decoding")}
        rivals[UNDER] = under
        rivals |= {f"{name}+{UNDER}": its.under(under) for name, its in alone.items()}
    if not rivals:
        raise InputError(f"none of the methods fits: {'; '.join(f'{name}: {why}' for name, why in left_out.items())}")
    return rivals, left_out


def _named(methods: Sequence[str]) -> dict[str, list[str]]:
    """What stands before and behind the +; an InputError says what is no method, before anything is computed."""
    found = {name: name.split("+") for name in methods}
    for name, parts in found.items():
        if wrong := [part for part in parts if part not in METHODS]:
            raise InputError(f"there is no method '{wrong[0]}'; the methods are {', '.join(METHODS)}")
        if len(parts) > 2:
            raise InputError(f"--methods {name}: one gate at most stands behind the +")
    return found


def _given_gate(path: Path, model: Any) -> Rival:
    """The gate or the shift of --under; an InputError says with the file what does not fit."""
    from lens_truth.gates.rows import read_intervention
    from lens_truth.rivals import known

    gate = read_intervention(path)
    try:
        gate.check(model)
        return known.given_gate(gate)
    except InputError as error:
        raise InputError(f"--under {path}: {error}") from error


def _used(config: Config, parts: Set[str]) -> None:
    """Raises an InputError for a flag that no method looks at."""
    for flag, methods in _NEEDED.items():
        if getattr(config, flag) is not None and not parts & {*methods}:
            dashed = flag.replace("_", "-")
            raise InputError(f"--{dashed} is for {' and '.join(methods)}, which --methods leaves out")


class _Made:
    """Methods by name, each made once."""

    def __init__(self, given: Given) -> None:
        self._given, self._known = given, dict[str, "Rival"]()

    def of(self, name: str) -> Rival:
        """A method by its name; an UnfitError says why it does not fit."""
        if name not in self._known:
            try:
                made = _MAKERS[name](self._given, self)
                made.check(self._given.model)
            except InputError as error:
                raise UnfitError(str(error)) from error
            self._known[name] = made
        return self._known[name]


_Maker = Callable[[Given, _Made], "Rival"]


def _prompt(given: Given, _: _Made) -> Rival:
    from lens_truth.rivals import known

    _needs_source(given)
    return known.instructions()


def _cad(given: Given, _: _Made) -> Rival:
    from lens_truth.rivals import known

    _needs_source(given)
    return known.context_aware()


def _needs_source(given: Given) -> None:
    if not (given.asks("context") or given.asks("image")):
        raise UnfitError("no question has a context or an image")


def _needs_image(given: Given) -> None:
    if not given.asks("image"):
        raise UnfitError("the questions show no image")


def _dola(given: Given, _: _Made) -> Rival:
    from lens_truth.rivals import known

    return known.lower_layers(given.model)


def _decore(given: Given, _: _Made) -> Rival:
    from lens_truth.rivals import known

    return known.silent_heads(given.copying)


def _vcd(given: Given, _: _Made) -> Rival:
    from lens_truth.rivals import known

    _needs_image(given)
    return known.noised_image(given.config.seed)


def _adhh(given: Given, _: _Made) -> Rival:
    from lens_truth.rivals import known

    _needs_image(given)
    return known.deactivated_heads(given.misleading)


def _sibling(given: Given, _: _Made) -> Rival:
    from lens_truth.rivals import known

    return known.sibling(given.sibling)


def _lol(given: Given, _: _Made) -> Rival:
    from lens_truth.rivals import known

    return known.fused_layers(given.sibling)


def _by_scores(kind: str) -> _Maker:
    def made(given: Given, _: _Made) -> Rival:
        from lens_truth.rivals import known

        return known.head_gate(given.scores(kind))

    return made


def _shift(means: bool) -> _Maker:
    def made(given: Given, _: _Made) -> Rival:
        from lens_truth.rivals import known

        seen, probes = given.probes
        return known.head_shift(lens_truth.truth_directions(probes, seen if means else None))

    return made


def _uniform(given: Given, _: _Made) -> Rival:
    from lens_truth.rivals import known

    return known.common_gain(given.model, given.config.seed)


def _dynamic(rule: str) -> _Maker:
    """A rule switches the causal gate that validation likes best; or the shift, where drafts are rejected."""

    def made(given: Given, made: _Made) -> Rival:
        from lens_truth.rivals import known_dynamic as known

        makers: dict[str, Callable[[], Any]] = {
            "entropy": lambda: known.unsure(made.of("causal")),
            "probe": lambda: known.objecting(made.of("causal"), given.probes[1]),
            "context": lambda: known.inattentive(made.of("causal"), given.copying),
            "agreement": lambda: known.disagreeing(made.of("causal")),
            "draft": lambda: known.rejecting(made.of("iti"), given.probes[1]),
        }
        if rule in ("context", "agreement"):
            _needs_source(given)
        return makers[rule]()

    return made


_MAKERS: dict[str, _Maker] = {
    "prompt": _prompt,
    "cad": _cad,
    "dola": _dola,
    "decore": _decore,
    "vcd": _vcd,
    "adhh": _adhh,
    "sibling": _sibling,
    "lol": _lol,
    "uniform": _uniform,
    "truth": _by_scores("truth"),
    "causal": _by_scores("causal"),
    "learned": _by_scores("learned"),
    "iti": _shift(means=False),
    "mass-mean": _shift(means=True),
    "dynamic-entropy": _dynamic("entropy"),
    "dynamic-probe": _dynamic("probe"),
    "dynamic-context": _dynamic("context"),
    "dynamic-agreement": _dynamic("agreement"),
    "pre-intervention": _dynamic("draft"),
}
METHODS = tuple(_MAKERS)
"""In the order of tables."""
