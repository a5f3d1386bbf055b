"""Makes the figures that the documentation shows: runs each command below once and keeps the figures it wrote.

    python figures/make.py             all of them
    python figures/make.py FIGURE ...  some

Commands on published scores read them under $LENS_TRUTH_DATA/head_scores, those on SmolLM2 what the commands of
docs/real-model.md wrote under $LENS_TRUTH_REAL_RUNS, and are left out where that is not set.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from lens_truth.io.files import write_bytes, write_text

HERE = Path(__file__).resolve().parent
OUT = "runs/figures"
DATA, RUNS = "$LENS_TRUTH_DATA", "$LENS_TRUTH_REAL_RUNS"
ALONE = f"{DATA}/head_scores/truthprobe/published/converted_score_cv5_head_metrics_"
TOGETHER = f"{DATA}/head_scores/truthprobe/fig1/vicuna_setD_"

ZOO = f"python figures/pictures.py {OUT}/zoo/pictures.png"
PROBE = f"python -m lens_truth.probe --out {OUT}/probe"
INHERIT = f"python -m lens_truth.inherit --out {OUT}/inherit"
LLAMA = (
    f"python -m lens_truth.inherit Llama-2={ALONE}llama2_halueval_292.npy Vicuna={ALONE}vicuna_halueval_292.npy "
    f"LLaVA-1.5={ALONE}llava1.5_rlhfv_2726.npy LLaVA-NeXT={ALONE}llava_next_rlhfv_2726.npy "
    f"--kv-heads 32 --out {OUT}/llama"
)
QWEN = (
    f"python -m lens_truth.inherit Qwen2.5={ALONE}qwen2.5_halueval_292.npy "
    f"Qwen2.5-VL={ALONE}qwen2.5_vl_instruct_rlhfv_2726.npy Qwen2.5-Omni={ALONE}qwen2.5_vl_omni_rlhfv_2726.npy "
    f"--kv-heads 4 --out {OUT}/qwen"
)
FIG1 = (
    f"python -m lens_truth.inherit Vicuna={TOGETHER}vicuna.csv LLaVA-1.5={TOGETHER}llava1.5.csv "
    f"LLaVA-NeXT={TOGETHER}llavanxt.csv Mistral={TOGETHER}mistral.csv --unrelated Vicuna Mistral "
    f"--kv-heads 32 Mistral=8 --out {OUT}/fig1"
)
ABLATE = f"python -m lens_truth.ablate --random-gate --out {OUT}/ablate"
REAL = f"python figures/real_lineage.py {RUNS}/inherit {OUT}/real/lineage.png"
CHILDREN = f"python figures/real_children.py {RUNS}/children {OUT}/real/children.png"
RIVALS = f"python figures/rivals.py {OUT}/real/rivals.png " + " ".join(
    f"{RUNS}/rivals/{name}" for name in ("zoo", "smollm2", "reader", "llava")
)
EVIDENCE = f"python -m lens_truth.evidence --out {OUT}/evidence"


class Shown(NamedTuple):
    """A figure of the documentation."""

    stem: str
    """Of its PNG and PDF, here."""
    command: str
    output: str
    """Which of the files that the command writes it is."""
    says: str


FIGURES = (
    Shown("zoo_pictures", ZOO, "zoo/pictures", "What the zoo's multimodal models see, and how they would describe it"),
    Shown("truth_heatmap", PROBE, "probe/heatmap", "Truth scores of every head of zoo:llama-base (Fig. 1a)"),
    Shown("lineage_matrix", INHERIT, "inherit/matrix", "Correlation of truth scores between the zoo's models (Fig. 3)"),
    Shown(
        "lineage_bars",
        INHERIT,
        "inherit/bars",
        "The zoo's models against llama-base: null, ceiling and floor (Fig. 1c)",
    ),
    Shown(
        "lineage_heatmaps", INHERIT, "inherit/heatmaps", "Truth scores of every head of every model of the zoo (Fig. 2)"
    ),
    Shown("lineage_truth_causal", INHERIT, "inherit/truth_causal", "Truth score against causal score of every head"),
    Shown(
        "lineage_weights", INHERIT, "inherit/weights", "Truth score against what children keep of each head's weights"
    ),
    Shown(
        "published_llama_matrix",
        LLAMA,
        "llama/matrix",
        "Published truth scores of Llama 2 and its descendants (Fig. 3)",
    ),
    Shown("published_llama_heatmaps", LLAMA, "llama/heatmaps", "The same scores, head by head (Fig. 2)"),
    Shown(
        "published_qwen_matrix", QWEN, "qwen/matrix", "Published truth scores of Qwen2.5 and its descendants (Fig. 3)"
    ),
    Shown("published_qwen_heatmaps", QWEN, "qwen/heatmaps", "The same scores, head by head (Fig. 2)"),
    Shown(
        "published_bars", FIG1, "fig1/bars", "Published truth scores against Vicuna's; Mistral is the floor (Fig. 1c)"
    ),
    Shown("ablation_bars", ABLATE, "ablate/ablation", "Gates and their controls in llama-memory and its chat child"),
    Shown("random_gate_bars", ABLATE, "ablate/random_gate", "The gates by scores beside a random gate (Fig. 5)"),
    Shown(
        "lambda_curves", ABLATE, "ablate/search", "How lambda and normalisation were chosen, on validation questions"
    ),
    Shown("real_lineage", REAL, "real/lineage", "Scores of every head of SmolLM2-135M and of its reader"),
    Shown(
        "real_children",
        CHILDREN,
        "real/children",
        "Agreement of head scores in SmolLM2 and four children, and on the way to three of them",
    ),
    Shown(
        "rivals",
        RIVALS,
        "real/rivals",
        "What helps in a model of the zoo, in SmolLM2, its reader and its child that sees",
    ),
    Shown("evidence_scatter", EVIDENCE, "evidence/scatter", "Head score against attention to the evidence"),
)


def main(wanted: list[str]) -> int:
    """Runs what the wanted figures need (all, if none is named), copies them here, and writes README.md."""
    wanted = [Path(name).stem for name in wanted]
    known = [figure.stem for figure in FIGURES]
    if unknown := [name for name in wanted if name not in known]:
        print(f"error: there is no figure '{unknown[0]}'; there are {', '.join(known)}", file=sys.stderr)
        return 2
    chosen = [figure for figure in FIGURES if not wanted or figure.stem in wanted]
    failed = False
    for command in dict.fromkeys(figure.command for figure in chosen):
        mine = [figure for figure in chosen if figure.command == command]
        names = ", ".join(figure.stem for figure in mine)
        missing = [its for its in (DATA, RUNS) if its in command and its[1:] not in os.environ]
        if missing:
            print(f"\nleft out, since {missing[0][1:]} is not set: {names}", flush=True)
            continue
        print(f"\n{names}\n$ {command}", flush=True)
        if _run(command):
            for figure in mine:
                _keep(figure)
        else:
            print(f"error: that failed, so these stay as they were: {names}", file=sys.stderr, flush=True)
            failed = True
    write_text(HERE / "README.md", readme())
    return int(failed)


def _run(command: str) -> bool:
    arguments = [os.path.expandvars(word) for word in shlex.split(command)[1:]]
    return subprocess.run([sys.executable, *arguments], cwd=HERE.parent).returncode == 0


def _keep(figure: Shown) -> None:
    made, here = HERE.parent / OUT / figure.output, HERE / figure.stem
    write_bytes(here.with_suffix(".png"), _shrunk(made.with_suffix(".png")))
    write_bytes(here.with_suffix(".pdf"), made.with_suffix(".pdf").read_bytes())


def _shrunk(made: Path) -> bytes:
    """A PNG with a palette of 256 colours has a third of the size and looks the same."""
    shrunk = BytesIO()
    with Image.open(made) as picture:
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(shrunk, "PNG", optimize=True)
    return shrunk.getvalue()


def readme() -> str:
    """The figures that are here, each with what it shows and the command that makes it."""
    parts = [
        "# Figures\n\n`make figures` runs these commands and keeps their figures, each as PNG and as PDF.\n"
        "Numbers in brackets are those of TruthProbe's figures.\n"
    ]
    for stem, command, output, says in FIGURES:
        if (HERE / f"{stem}.png").exists():
            parts.append(
                f"## {stem}\n\n{says}: [PDF]({stem}.pdf)\n\n![{says}]({stem}.png)\n\n```sh\n{command}\n```\n\n"
                f"writes it as `{OUT}/{output}.png`.\n"
            )
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
