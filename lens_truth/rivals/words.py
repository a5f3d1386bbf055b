"""What a comparison of rivals found, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens_truth.ablation.limits import limit_said
from lens_truth.ablation.rows import GateRow
from lens_truth.ablation.tables import could_show
from lens_truth.io.numbers import SIGNIFICANT, count, interval, p_value, share, signed
from lens_truth.rivals.rows import VANILLA
from lens_truth.rivals.tables import said
from lens_truth.stats.paired import Comparison

if TYPE_CHECKING:
    from lens_truth.rivals.result import RivalComparison


def sentences(found: RivalComparison) -> list[str]:
    """One a rival that was tested; then those that validation wanted off, and whether it is the heads."""
    lines = [_verdict(found, name) for name in found.tested]
    if off := found.unwanted:
        best = ", ".join(f"{name} ({found.chosen(name).objective:.3f})" for name in off)
        lines.append(
            f"{found.model}: validation wanted these off, where the model as it is reaches {found.on_validation:.3f}: "
            f"{best}. None was tested."
        )
    if not found.tested:
        return [*lines, f"{found.model}: nothing that was tried helps on validation."]
    if found.heads_or_not is not None:
        lines.append(_heads(found))
    return lines


def _verdict(found: RivalComparison, name: str) -> str:
    its, bare = found.row(name), found.row(VANILLA)
    against, p = its.against[VANILLA], found.p_holm[name]
    harmed = _harms(found, name)
    if against.difference <= 0 and (why := limit_said(bare)):
        return f"{found.model}, {name} on {its.benchmark}: no verdict, since {why}.{harmed}"
    what = f"{found.model}, {name} ({said(found.chosen(name))}) on {its.benchmark}: {_with_interval(against)}"
    told = "it helps" if against.difference > 0 else "it HARMS"
    told = told if p < SIGNIFICANT else f"no effect told{_power(its)}"
    more = "".join(
        f"; on {text} it would write another token at {share(effect.changed)} of the places"
        for text, effect in found.texts.get(name, {}).items()
    )
    if (dynamic := found.triggered.get(name)) is not None:
        acts = share(dynamic.of_rows[found.headline])
        twins = {"the same gate acting always": dynamic.against_static, "its static twin": dynamic.against_twin}
        over = (f"{_with_interval(its)} over {what}" for what, its in twins.items() if its is not None)
        more += f"; it acts on {acts}: {', '.join(over)}"
    more += "".join(
        f"; {_with_interval(over)} over {part} alone" for part, over in its.against.items() if part != VANILLA
    )
    cost = f"; {found.costs[name].ratio:.2f} times as long" if name in found.costs else ""
    return f"{what}, p {p_value(p)} (Holm): {told}{more}{cost}.{harmed}"


def _power(its: GateRow) -> str:
    could = could_show(its.against[VANILLA])
    return f" ({count(its.n, 'question')} {could})" if could else ""


def _harms(found: RivalComparison, name: str) -> str:
    others = [its for its in found.rows if its.gate == name and its.benchmark != found.headline]
    harms = [its for its in others if its.against[VANILLA].difference < 0 and its.against[VANILLA].significant]
    listed = ", ".join(f"{its.benchmark} {signed(its.against[VANILLA].difference)}" for its in harms)
    return f" It loses on {listed}." if listed else ""


def _heads(found: RivalComparison) -> str:
    its = found.heads_or_not
    assert its is not None
    told = f"{_with_interval(its.against)}, p {p_value(its.against.p_value)}"
    if its.against.significant:
        better = its.heads if its.against.difference > 0 else its.other
        end = f"{better} is better"
    else:
        could = could_show(its.against)
        end = f"neither is told to be better{f' ({could})' if could else ''}"
    return (
        f"{found.model}, is it the heads? On {found.headline} {its.heads}, which validation likes best of what tells "
        f"heads apart, against {its.other}, which it likes best of the rest (of equals the plainer): {told}: {end}."
    )


def _with_interval(its: Comparison) -> str:
    return f"{signed(its.difference)} {interval((its.ci_low, its.ci_high), 3, plus=True)}"
