"""The search for lambda: validation accuracy against the size of the gate, with the point that was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lens_truth.ablate import Ablation
from lens_truth.evaluate.search import best_of
from lens_truth.plots.style import BLUE, GREEN, GREY, ORANGE, RED, save, wrapped

_COLOURS = {"center": BLUE, "minmax": ORANGE, "none": GREEN, "uniform": GREY}


def save_search_curves(path: Path, ablations: Mapping[str, Ablation]) -> None:
    """A line of panels a model, a panel a gate; every curve begins at the vanilla model."""
    columns = max(len(ablation.search) for ablation in ablations.values())
    figure = Figure(figsize=(1 + 2.5 * columns, 1.1 + 2.3 * len(ablations)), layout="constrained")
    grid = figure.subplots(len(ablations), columns, squeeze=False, sharey="row")
    for line, (model, ablation) in zip(grid, ablations.items(), strict=True):
        vanilla = ablation.vanilla_objective
        for axes in line[len(ablation.search) :]:
            axes.set_visible(False)
        for axes, (gate, candidates) in zip(line, ablation.search.items(), strict=False):
            for norm in dict.fromkeys(candidate.norm for candidate in candidates):
                curve = [c for c in candidates if c.norm == norm]
                x, y = [0.0, *(c.strength for c in curve)], [vanilla, *(c.objective for c in curve)]
                axes.plot(x, y, color=_COLOURS[norm], marker="o", ms=3, lw=1.2)
            best = best_of(candidates)
            axes.plot(best.strength, best.objective, marker="*", ms=11, color=RED, ls="")
            axes.axhline(vanilla, color=RED, lw=0.8, ls="--")
            norm = "" if best.norm == "uniform" else f", {best.norm}"
            axes.set_title(wrapped(f"{gate}: λ = {best.lam:.3g}{norm}", 32), fontsize=8)
            axes.tick_params(labelsize=7)
            axes.spines[["top", "right"]].set_visible(False)
        line[0].set_ylabel(wrapped(model, 26), fontsize=9, fontweight="bold")
    norms = list(dict.fromkeys(c.norm for a in ablations.values() for cs in a.search.values() for c in cs))
    handles = [Line2D([], [], color=_COLOURS[norm], marker="o", ms=3, label=norm) for norm in norms]
    handles.append(Line2D([], [], color=RED, marker="*", ls="", ms=9, label="chosen"))
    handles.append(Line2D([], [], color=RED, ls="--", lw=0.8, label="vanilla"))
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), fontsize=8)
    figure.supxlabel("distance of the gate from 1 (root mean square over heads)", fontsize=9)
    figure.supylabel("accuracy on validation, mean over benchmarks", fontsize=9)
    save(figure, path)
