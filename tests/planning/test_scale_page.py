"""The tables of docs/scale.md are what `lens-truth plan` says; run this file to print them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from lens_truth.io.tables import markdown, text_table
from lens_truth.planning.estimate import study_cost
from lens_truth.planning.llama import LLAMA_2
from lens_truth.planning.ratios import ANY, CPU, GPU
from lens_truth.planning.result import Ends, StudyCost, time_said

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
DEVICES = (1, 8, 64)


@cache
def cost(model: str, n: int) -> StudyCost:
    return study_cost(LLAMA_2[model], "paper", "h100", n_devices=n)


def peta(ends: Ends) -> str:
    return Ends(ends.low / 1000, ends.high / 1000).said


def totals() -> Iterator[list[str]]:
    for model in LLAMA_2:
        for n in DEVICES:
            its = cost(model, n)
            fits = not any("does not fit" in said for said in its.warnings)
            told = [time_said(its.total.hours), time_said(its.total.loading_hours)] if fits else ["does not fit", ""]
            memory = its.total.memory_gb.said if fits else ""
            copies = f"{its.workers} on {its.group} each" if fits else ""
            sizes = [f"{its.weights_gb:.1f}", peta(its.total.tflop), its.total.disk_gb.said, memory]
            command = f"`lens-truth plan --model {model} --data paper --devices {n}`"
            yield [f"{model}, {n} x H100", copies, *sizes, *told, command]


def stages() -> Iterator[list[str]]:
    by_model = [cost(model, 8).stages for model in LLAMA_2]
    for found in zip(*by_model, strict=True):
        hours = [time_said(its.hours) for its in found]
        disk = " / ".join(dict.fromkeys(its.disk_gb.said for its in found)) if found[0].disk_gb.high else ""
        yield [found[0].name, found[0].tokens.said, *(peta(its.tflop) for its in found), disk, *hours]


def ratios() -> Iterator[list[str]]:
    for where, its in (("GPU", GPU), ("CPU", CPU), ("any", ANY)):
        for name, ratio in its.items():
            yield [f"{name}, {where}", f"{ratio.good:g}", f"{ratio.bad:g}", ratio.known, ratio.what]


TABLES = {
    "totals": (
        [
            "the study",
            "copies",
            "weights, GB",
            "PFLOP",
            "to disk, GB",
            "GB a device",
            "time",
            "of it loading",
            "command",
        ],
        totals,
    ),
    "stages": (
        [
            "stage",
            "million tokens",
            *(f"PFLOP {m}" for m in LLAMA_2),
            "to disk, GB",
            *(f"{m}, 8 x H100" for m in LLAMA_2),
        ],
        stages,
    ),
    "ratios": (["what", "good", "bad", "known", "meaning"], ratios),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_page_says_what_the_command_says(name: str) -> None:
    header, rows = TABLES[name]
    assert markdown(text_table(header, rows())) in PAGE.read_text()


if __name__ == "__main__":
    for header, rows in TABLES.values():
        print(markdown(text_table(header, rows())), end="\n\n")
