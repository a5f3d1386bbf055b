"""What `audit` finds in published data sets, as the table of docs/audit.md: LENS_TRUTH_DATA=FOLDER python
benchmarks/audit_published.py [PART OF A NAME ...]"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import lens_truth
from lens_truth.commands.audit_inputs import read_inputs
from lens_truth.errors import gathered_notices

SETS = (
    "halueval/qa_2000.csv",
    "real/conflict_halueval.jsonl",
    "h_neurons/Llama33_TriviaQA_answer_tokens_train.jsonl",
    "h_neurons/Llama33_TriviaQA_answer_tokens_test.jsonl",
    "h_neurons/gemma27b_TriviaQA_answer_tokens_train.jsonl",
    "h_neurons/gemma27b_TriviaQA_answer_tokens_test.jsonl",
    "pope/questions/coco_pope_random.json",
    "pope/questions/coco_pope_popular.json",
    "pope/questions/coco_pope_adversarial.json",
    "pope/questions/aokvqa_pope_seem_random.json",
    "pope/questions/gqa_pope_seem_random.json",
    "phd:rlhfv_phd/setC_images_phd10k.jsonl.gz",
    "rlhfv:rlhfv_phd/setD_images_rlhfv.jsonl.gz",
    "rlhfv:rlhfv_phd/setE_images_rlhfv_phd.jsonl.gz",
    *(
        f"negation/{sign}{topic}.csv"
        for topic in ("cities", "element_symb", "facts", "inventors")
        for sign in ("", "neg_")
    ),
    *(
        f"negation/{topic}_{joined}.csv"
        for topic in ("cities", "element_symb", "facts", "inventors")
        for joined in ("conj", "disj")
    ),
    *(
        f"truth/geometry_of_truth/{name}.csv"
        for name in ("companies_true_false", "larger_than", "smaller_than", "sp_en_trans", "neg_sp_en_trans")
    ),
    *(
        f"truth/spectrum/claims__{name}_gemini_600_full.csv"
        for name in ("definitional", "evidential", "fictional", "logical")
    ),
    "stability/cities_loc_true_false.csv.gz",
    "stability/cities_loc_synthetic.csv",
    "evidence/xquad.en.json",
    "evidence/hotpot_distractor_100.jsonl",
)


def row(folder: Path, name: str) -> str:
    source, colon, rest = name.partition(":")
    where = f"{source}:{folder / rest}" if colon else str(folder / name)
    with gathered_notices():
        inputs = read_inputs([where], [], None, 0, None)
    ((called, examples),) = inputs.rows.items()
    begin = time.perf_counter()
    audit = lens_truth.audit_examples(examples, rows=inputs.raw[called])
    spent = time.perf_counter() - begin
    by_name = {its.name: its.auroc for its in audit.baselines}
    told = {its.check for its in audit.findings}
    found = [f"{its.check} {by_name[its.check]:.3f}" for its in audit.findings if its.check in by_name]
    others = [f"{its.check} {its.count} of {its.of}" for its in audit.findings if its.check not in by_name]
    assert told
    return f"| {name} | {audit.rows} | {audit.verdict} | {'; '.join(others)} | {', '.join(found)} | {spent:.1f} |"


def main(parts: list[str]) -> None:
    folder = Path(os.environ["LENS_TRUTH_DATA"])
    print("| data | rows | verdict | found | baselines that tell (AUROC) | seconds |\n|---|---|---|---|---|---|")
    for name in SETS:
        if not parts or any(part in name for part in parts):
            try:
                print(row(folder, name), flush=True)
            except (lens_truth.InputError, AssertionError) as error:
                print(f"| {name} | | nothing found | {error} | | |", flush=True)


main(sys.argv[1:])
