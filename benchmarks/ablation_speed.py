"""How fast are many gates on many yes-or-no questions? All together, against one gate and one question at a time.

    python benchmarks/ablation_speed.py [--threads 2]

Two workloads on `zoo:llama-chat`: presence questions, a few to a scene; and judgements that share an instruction
of about 400 tokens, as HaluEval's do. The reference is Hugging Face's `generate` with the same gate attached, one
question a call. Both sides must give identical answers; the run fails if they do not.

The floor is what cannot be avoided: a token of a shared beginning once a gate, any other token once a gate and
question. It is estimated from a plain forward pass over that many tokens in full batches.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch

from lens_truth.data.examples import Example
from lens_truth.data.world_examples import presence_examples, text_examples
from lens_truth.evaluate.generate import Questions, answered
from lens_truth.gates.controls import control_gate
from lens_truth.gates.gate import HeadGate
from lens_truth.gates.rows import Gates
from lens_truth.models import sharing
from lens_truth.models.budget import Budget
from lens_truth.models.loading import load
from lens_truth.models.prefixes import prompt_families
from lens_truth.models.prompts import PromptTokens, Wording, encode_prompts, judge_text, prompt_of

N_NEW = 3
BATCH = 128


def few_shot() -> Wording:
    """A judgement behind an instruction of worked examples."""
    shown = [e for e in text_examples("train", 40, 3) if e.group][:14]
    worked = "\n\n".join(f"{judge_text(e)} {'no' if e.label else 'yes'}" for e in shown)
    return Wording(lambda example: f"{worked}\n\n{judge_text(example)}", "{content}")


def one_at_a_time(model: Any, prompts: list[list[int]], gates: dict[str, HeadGate]) -> dict[tuple[str, int], str]:
    said: dict[tuple[str, int], str] = {}
    for name, gate in gates.items():
        for row, ids in enumerate(prompts):
            with gate.attach(model), torch.no_grad():
                output = model.original_model.generate(
                    torch.tensor([ids]), max_new_tokens=N_NEW, do_sample=False, pad_token_id=0
                )
            said[name, row] = model.tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True)
    return said


def floor_seconds(model: Any, prompts: list[PromptTokens], n_gates: int) -> float:
    """A forward pass over the tokens that have to be computed, new ones included."""
    families = prompt_families(prompts)
    tokens = sum(f.length + sum(len(prompts[row].ids) - f.length + N_NEW - 1 for row in f.rows) for f in families)
    width = 32
    rows = torch.randint(3, 300, (BATCH, width))
    with torch.no_grad():
        model.original_model(rows)
        start = time.perf_counter()
        for _ in range(3):
            model.original_model(rows)
    return (time.perf_counter() - start) / 3 / (BATCH * width) * tokens * n_gates


def said_together(model: Any, prompts: list[PromptTokens], gates: Gates) -> dict[tuple[str, int], str]:
    made = answered(model, [Questions(prompts, N_NEW)], gates, budget=Budget.of(model, BATCH))
    return {(gate, row): answer.text for (_, gate, row), answer in made}


def unshared_seconds(model: Any, prompts: list[PromptTokens], gates: dict[str, HeadGate]) -> float:
    """All gates together as ever, but every prompt goes through the model whole: what sharing alone is worth."""
    shares = sharing.shares_beginnings
    sharing.shares_beginnings = lambda model: False
    try:
        start = time.perf_counter()
        said_together(model, prompts, gates)
        return time.perf_counter() - start
    finally:
        sharing.shares_beginnings = shares


def measure(name: str, model: Any, examples: list[Example], wording: Wording | None, n_gates: int) -> None:
    ones = HeadGate(torch.ones(model.cfg.n_layers, model.cfg.n_heads))
    gates = {f"gate {i}": control_gate("random", ones, i) for i in range(n_gates)}
    prompts = [
        prompt_of(model.tokenizer, e, "plain", wording) if wording else prompt_of(model.tokenizer, e, "chat")
        for e in examples
    ]
    asked = encode_prompts(model.tokenizer, prompts)
    ids = [prompt.ids for prompt in asked]
    said_together(model, asked[:4], {"": None})  # warm up
    start = time.perf_counter()
    together = said_together(model, asked, gates)
    ours = time.perf_counter() - start
    alone = unshared_seconds(model, asked, gates)
    start = time.perf_counter()
    reference = one_at_a_time(model, ids, gates)
    theirs = time.perf_counter() - start
    same = sum(together[key] == reference[key] for key in reference)
    floor = floor_seconds(model, asked, n_gates)
    print(
        f"{name}: {n_gates} gates x {len(ids)} questions of {sum(map(len, ids)) / len(ids):.0f} tokens\n"
        f"  one at a time {theirs:7.2f} s  {len(reference) / theirs:8.1f} answers/s\n"
        f"  together      {ours:7.2f} s  {len(reference) / ours:8.1f} answers/s  {theirs / ours:.1f} times as many\n"
        f"  without shared beginnings {alone:.2f} s, {alone / ours:.2f} times as long\n"
        f"  floor         {floor:7.2f} s\n"
        f"  identical answers: {same} of {len(reference)}"
    )
    if same < len(reference):
        raise SystemExit("the answers differ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--gates", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = load("zoo:llama-chat")
    scenes = [e for e in presence_examples("test", 160, 0) if e.label]
    measure("presence, questions of a scene", model, scenes, None, arguments.gates)
    measure("judgement behind an instruction", model, text_examples("test", 60, 0), few_shot(), arguments.gates)


if __name__ == "__main__":
    main()
