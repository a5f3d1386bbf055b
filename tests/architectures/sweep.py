"""`make architectures`: every causal language model class of the installed Transformers, examined in a process of its
own with a limit of time and memory, and docs/architectures.md from what was found."""

from __future__ import annotations

import argparse
import multiprocessing
import re
import resource
import sys
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import transformers
from architectures.examine import Row, examine
from transformers.models.auto import modeling_auto

import lens_truth  # noqa: F401 (imported once, before processes are forked)

PAGE = Path(__file__).parents[2] / "docs" / "architectures.md"
CAUSAL: dict[str, str] = dict(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
TOWERS: dict[str, str] = {
    name: kind
    for name, kind in modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.items()
    if name not in CAUSAL and name != "shieldgemma2"  # a classifier
}
UNBUILT = {"gemma3n", "gemma4_assistant", "gemma4_unified_assistant"}
"""Causal types whose class Transformers cannot build here: the first wants timm."""
_SECONDS, _BYTES = 150, 6 * 2**30
_FORK = multiprocessing.get_context("fork")


def examined(model_type: str) -> Row:
    """What `examine` found in another process; that it failed, was killed or took too long is wrong."""
    mine, theirs = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=_examine, args=(model_type, theirs))
    process.start()
    theirs.close()
    try:
        if mine.poll(_SECONDS):
            return mine.recv()
        wrong = f"took over {_SECONDS} seconds"
    except EOFError:
        wrong = "its process died"
    finally:
        process.kill()
        process.join()
    return Row(model_type, (CAUSAL | TOWERS)[model_type], wrong=[wrong])


def _examine(model_type: str, out: Any) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    try:
        row = examine(model_type)
    except Exception as error:
        wrong = f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"
        row = Row(model_type, (CAUSAL | TOWERS)[model_type], wrong=[wrong])
    out.send(row)


def page(rows: list[Row]) -> str:
    """The page in docs/."""
    causal = [row for row in rows if row.model_type in CAUSAL]
    towers = [row for row in rows if row.model_type not in CAUSAL]
    accepted = [row for row in causal if _accepted(row)]
    return "\n".join(
        [
            *_HEAD.format(
                version=transformers.__version__,
                torch=torch.__version__.partition("+")[0],
                types=len(causal),
                accepted=len(accepted),
                refused=sum(bool(row.refused) for row in causal),
            ).splitlines(),
            "",
            *_tables(causal),
            "",
            "## Language towers of multimodal models",
            "",
            *_TOWERS.splitlines(),
            "",
            *_tables(towers),
            "",
        ]
    )


_HEAD = """# Architectures

<!-- Made by `make architectures`; do not edit. -->

Every model type with a causal language model in Transformers {version} ({types}; PyTorch {torch}, on the CPU), each
as a tiny random model made from its default config: {accepted} are accepted and right, {refused} refused. [What a head
is](concepts/heads.md) says what the columns mean.

**Right** is checked from outside, by watching PyTorch's own calls, knowing no module's name: logits with hooks equal
Hugging Face's bit for bit; `hook_z` is what the weights behind attention are given, cut into as many heads of as much
width as attention gave out; a gate of ones changes no bit; a gate attached equals the gate folded and the same weights
scaled by hand, all heads together and head by head, in rows padded on the left and on the right, and in generation with
and without the KV cache; its gradient equals finite differences in double precision; `state_dict` and the tree of
modules stay as they were; `save_pretrained` works after loading and after folding, and what it wrote gives the same
logits. A note says where Hugging Face's model by itself is not what one expects: there hooks follow it."""

_TOWERS = """Models that are asked with an image. Here they are given text alone; what images add is tested in
[the families that are named](howto/own-model.md)."""


def _tables(rows: list[Row]) -> Iterator[str]:
    accepted = [row for row in rows if _accepted(row)]
    yield "| model type | class | layers with heads | heads x width | z is | notes |"
    yield "|---|---|---|---|---|---|"
    for row in accepted:
        notes = "; ".join(dict.fromkeys(row.notes)) or ""
        yield f"| `{row.model_type}` | {row.kind} | {row.layers} | {row.heads} | {_Z[row.z]} | {_cell(notes)} |"
    yield ""
    yield "| model type | class | refused |"
    yield "|---|---|---|"
    for row in rows:
        if row.refused:
            yield f"| `{row.model_type}` | {row.kind} | {_cell(re.sub(f'^{row.kind}:? ', '', row.refused))} |"
    for title, of in (
        ("not right", lambda row: "; ".join(row.wrong)),
        ("could not be built here", lambda row: row.untried),
    ):
        if found := [row for row in rows if of(row)]:
            yield ""
            yield f"| model type | {title} |"
            yield "|---|---|"
            yield from (f"| `{row.model_type}` | {_cell(of(row))} |" for row in found)


def _accepted(row: Row) -> bool:
    return not (row.refused or row.wrong or row.untried)


_Z = {
    "plain": "attention's output",
    "gated": "the same behind a gate",
    "normed": "the same behind a norm of each head",
    "normed together": "the same behind a norm over all heads",
}


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def types_in(text: str) -> tuple[str, set[str]]:
    """The version of Transformers that a page is about, and its model types."""
    version = text.partition("in Transformers ")[2].partition(" ")[0]
    return version, {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}


def main(arguments: Iterable[str] | None = None) -> int:
    """Examines all types, or those named; writes the page if they are all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("types", nargs="*", help="model types (by default all, and the page is written)")
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args(None if arguments is None else list(arguments))
    rows: list[Row] = []
    with ThreadPoolExecutor(chosen.jobs) as pool:
        for row in pool.map(examined, chosen.types or [*CAUSAL, *TOWERS]):
            rows.append(row)
            state = "right" if _accepted(row) else "refused" if row.refused else "untried" if row.untried else "WRONG"
            what = row.refused or row.untried or "; ".join(row.wrong or row.notes)
            print(f"{state:8}{row.model_type}: {what}", flush=True)
    if not chosen.types:
        PAGE.write_text(page(rows), encoding="utf-8")
    return int(any(row.wrong or (row.untried and row.model_type in set(CAUSAL) - UNBUILT) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
