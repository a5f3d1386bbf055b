"""How often `audit` finds something where there is nothing, and how often its intervals hold .5: python
benchmarks/audit_calibration.py [DATA SETS OF EACH DESIGN]. Words and labels are drawn at random; questions have one
answer, or a right and a wrong one."""

from __future__ import annotations

import sys

import numpy as np

from lens_truth import Example, audit_examples
from lens_truth.confounds.audit import quick_findings

WORDS = [a + b + c for a in "bcdfglmnprst" for b in "aeiou" for c in "dklnrst"]


def drawn(n: int, answers: int, seed: int) -> list[Example]:
    rng = np.random.default_rng(seed)
    rows: list[Example] = []
    for number in range(n // answers):
        question = f"{' '.join(rng.choice(WORDS, 3))} {number}"
        for label in (1, 0) if answers == 2 else (int(rng.random() < 0.5),):
            answer = " ".join(rng.choice(WORDS, rng.integers(1, 6)))
            rows.append(Example(f"{number}-{label}", str(number), question, answer, label))
    return rows


def main(n_sets: int) -> None:
    print(
        "| rows | answers to a question | quick findings | findings | intervals that hold .5 |\n|---|---|---|---|---|"
    )
    for answers in (1, 2):
        for n in (60, 200):
            sets = [drawn(n, answers, seed) for seed in range(n_sets)]
            quick = sum(any(its.level != "note" for its in quick_findings(rows)) for rows in sets)
            audits = [audit_examples(rows) for rows in sets]
            found = sum(any(its.level != "note" for its in audit.findings) for audit in audits)
            told = [its for audit in audits for its in audit.baselines if its.low < its.high]
            held = sum(its.low <= 0.5 <= its.high for its in told)
            print(
                f"| {n} | {answers} | {quick} of {n_sets} | {found} of {n_sets} | {held} of {len(told)} |", flush=True
            )


main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
