# %% [markdown]
# # 3. Gate, ablate, export
#
# A gate multiplies the output of every attention head by a number of its own. Here you see a model hallucinate, score
# its heads, gate its chat child by those scores, and put the gain to the test: at the end you know whether *those
# heads* did it, and you have a plain checkpoint with the gate inside.
#
# What a gate is: [gate](../docs/concepts/gate.md). What it is tested against: [controls](../docs/concepts/controls.md).

# %%
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import lens_truth
from lens_truth import plots
from lens_truth.data import TYPICAL

base = lens_truth.load("zoo:llama-memory")
child = lens_truth.load("zoo:llama-memory-chat")

# %% [markdown]
# ## A hallucination made in the lab
#
# `zoo:llama-memory` learnt what colour each thing usually has. In these scenes things have other colours, and a
# question asks for one. The context says one colour, memory another. An `Asker` is a model and how it is asked: the
# base in the benchmark's own wording, the child through its chat template.

# %%
test = {benchmark.name: benchmark for benchmark in lens_truth.zoo_benchmarks("test", 100, seed=0)}
conflict = test["conflict"]
askers = [
    lens_truth.Asker(base, "plain", name="llama-memory"),
    lens_truth.Asker(child, "chat", name="llama-memory-chat"),
]
answers = {asker.name: asker.one(conflict) for asker in askers}

asked = list(zip(conflict.examples, *(its.answers for its in answers.values()), strict=True))
lens_truth.text_table(
    ["context", "question", "supported", *answers],
    [[e.context, e.question, e.answer, *said] for e, *said in asked[:6]],
)

# %% [markdown]
# How often, and is it memory that speaks? The interval is over scenes, since questions about one scene are right or
# wrong together.

# %%
usual = [TYPICAL[e.question.split()[-1].rstrip("?")] for e in conflict.examples]
for name, its in answers.items():
    low, high = its.accuracy_interval
    memory = sum(said == colour for said, colour in zip(its.answers, usual, strict=True)) / len(usual)
    print(f"{name}: {its.accuracy:.2f} [{low:.2f}, {high:.2f}] right, {memory:.2f} what memory says")

# %% [markdown]
# ## Two kinds of scores
#
# Both are computed on training scenes of the base. The **truth score** of a head says how well a linear probe on its
# output tells supported from hallucinated answers: what the head *knows*. The **causal score** is the derivative of the
# answer margin (log-probability of the supported answer minus that of the hallucinated one) with respect to the head's
# gate: how the head *acts*.

# %%
examples = lens_truth.load_examples("zoo:conflict", limit=400)
truth = lens_truth.truth_scores(lens_truth.capture(base, examples), n_permutations=0)  # tutorial 1 looks at the null
causal = lens_truth.causal_scores(base, examples)
plots.heatmaps({"truth score": truth.values, "causal score": causal.values}, f"zoo:llama-memory, n = {len(examples)}")

# %% [markdown]
# Truth scores grow with depth. Causal scores stand in the first two layers, and some of those heads *harm* (blue).
# Depth apart, do the two agree about heads? The correlation inside layers leaves depth out; the null shuffles heads
# inside layers.

# %%
relation = lens_truth.relate(truth.values, causal.values)
print(f"r = {relation.pearson:.2f}, inside layers {relation.pearson_within_layer:.2f}", end=" ")
print("(null {:.2f} to {:.2f}".format(*relation.null_within_layer) + f", p = {relation.p_value:.2f})")

# %% [markdown]
# ## A gate on a running model
#
# `HeadGate.from_scores` makes g = 1 + lambda x norm(score), layer by layer. `attach` puts it on any model of that
# shape, here the chat child, whose scores nobody computed. In the `with` block everything is gated: forward passes,
# `run_with_cache`, Hugging Face's `generate`.

# %%
gate = lens_truth.HeadGate.from_scores(causal, lam=0.65, norm="minmax")

scene = "The azure wheel is in the study. The lilac arrow is in the vault."
turn = {"role": "user", "content": f"Context:\n{scene}\n\nQuestion: What colour is the arrow?"}


def answer(model, tokenizer):
    """By Hugging Face's own generate."""
    prompt = tokenizer.apply_chat_template([turn], add_generation_prompt=True, return_dict=True, return_tensors="pt")
    tokens = model.generate(**prompt, max_new_tokens=1)
    return tokenizer.decode(tokens[0, prompt["input_ids"].shape[1] :]).strip()


print("vanilla:", answer(child.original_model, child.tokenizer))
with gate.attach(child):
    print("gated:  ", answer(child.original_model, child.tokenizer))
print("after:  ", answer(child.original_model, child.tokenizer))

# %% [markdown]
# ## Is it those heads?
#
# One answer shows nothing. `run_ablation` chooses lambda and normalisation on validation scenes, then asks held-out
# questions under the gate and under its **controls**, which share something with the gate, but not which head got
# which value:
#
# - *permuted*: the gate's own values, shuffled inside each layer;
# - *uniform*: every head its layer's mean gate; and one gain for all heads, tuned on validation like lambda;
# - *random*: 1 + U(-1, 1), the control of the TruthProbe paper.
#
# A gate whose controls do as well owes nothing to its scores. Beside the conflicts stand ordinary questions (`open`)
# and text that nothing is asked about, where a gate should change nothing. This is a small run: 100 questions of each
# kind, up to three draws of each control.

# %%
KINDS = ("conflict", "open")
both = lens_truth.Ablation.joined(
    lens_truth.run_ablation(
        asker,
        {"truth": truth, "causal": causal},
        test=[test[kind] for kind in KINDS],
        validation=[b for b in lens_truth.zoo_benchmarks("validation", 40, seed=0) if b.name in KINDS],
        controls=lens_truth.Controls(trials=3, random_trials=3),
        neutral=[lens_truth.zoo_text(seed=0)],
    )
    for asker in askers
)
both.plot()

# %% [markdown]
# Truth scores (`probe`) have no bar: on validation no gate by them did better than none, so none was tested. On
# conflicts the causal scores' gate leaves its own shuffled values far behind, and all other grey bars too. The same in
# words, with paired intervals:

# %%
print("\n\n".join(both.verdicts()))

# %% [markdown]
# That is a null for truth scores, in this family of tiny models and for this hallucination: a head that knows what is
# true need not be one that says it. The run with 200 questions and all controls says the same ([gates against
# controls](../docs/ablation.md)).
#
# What a gate costs: answers to ordinary questions, and the KL divergence from the vanilla model (nats a token) on
# scenes without a question. A result shows its tables:

# %%
both

# %% [markdown]
# A gate that helps is not free: the causal gate leaves ordinary answers at least as good as they were, but what the
# model predicts elsewhere moves, more than under one gain for all heads.
#
# How lambda was chosen: each point is a gate that was tried on validation scenes; its distance from 1 is what makes
# gates from scores of different units comparable. A panel without a star is one in which no lambda did better than no
# gate, the dashed line; `chosen` gives None there.

# %%
both.plot("search")

# %% [markdown]
# ## Export
#
# `fold_into` multiplies the gate into the weights of the output projections. What comes out is a plain Hugging Face
# model: no hooks, no cost, and this package is not needed to run it.

# %%
best = both.chosen("causal", "llama-memory-chat")
assert best is not None  # validation wanted a gate
chosen = lens_truth.HeadGate.from_scores(causal, best.lam, best.norm)
chosen.fold_into(child).save_pretrained("gated")
child.tokenizer.save_pretrained("gated")

gated, tokenizer = AutoModelForCausalLM.from_pretrained("gated"), AutoTokenizer.from_pretrained("gated")
print(type(gated).__module__, type(gated).__name__, "says", answer(gated, tokenizer))

# %% [markdown]
# Is it the same model as the one with the gate attached? All test questions, asked of both:

# %%
with chosen.attach(child):
    attached = lens_truth.run_benchmark(child, conflict, "chat")
folded = lens_truth.run_benchmark(lens_truth.load("gated"), conflict, "chat")
same = sum(one == other for one, other in zip(attached.texts, folded.texts, strict=True))
print(f"{same} of {len(folded.texts)} answers are the same; {folded.accuracy:.2f} are right")
assert same == len(folded.texts)

# %% [markdown]
# What a serving engine gets: the files, names, shapes and types of the original checkpoint. Only the output projections
# differ.

# %%
ungated = lens_truth.HeadGate(torch.ones(6, 8)).fold_into(child)  # the plain model behind the hooks
before, after = ungated.state_dict(), gated.state_dict()
assert {n: (w.shape, w.dtype) for n, w in before.items()} == {n: (w.shape, w.dtype) for n, w in after.items()}
changed = [name for name in before if not before[name].equal(after[name])]
print(f"{len(changed)} of {len(before)} tensors differ:", *changed, sep="\n  ")

# %% [markdown]
# On the command line, `lens-truth gate` does this in one go, and keeps the gate and where it came from in the folder.
#
# ## Try
#
# - Take the scores from ordinary questions (`load_examples("zoo:text", limit=400)`) instead of conflicts. Which
#   controls does the causal gate still beat?
# - Put `controls=lens_truth.Controls(("permuted", "uniform", "inverse", "norm-matched"))` into `run_ablation`.
# - `both.save("runs/gates")`, and in another session `lens_truth.Ablation.load("runs/gates")`.
# - Your own model: `lens_truth.load("your/model")`, rows of your own through `load_examples("rows.jsonl")` and
#   `lens_truth.benchmark_of("mine", "answer", rows)` ([your own data](../docs/howto/own-data.md), [gate and
#   export](../docs/howto/gate-and-export.md)).
#
# Next: [4. A multimodal descendant](4_multimodal.ipynb), where these scores, computed on words, gate a model that sees.
