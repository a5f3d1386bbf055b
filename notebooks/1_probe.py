# %% [markdown]
# # 1. Probe your first model
#
# At the end you have a truth score for every attention head of a model, with an interval and a null; a picture of
# them; a file that all other commands read; and you know what to change to do the same with your own model. It takes
# half a minute on a laptop, and no network: the model is one of the tiny trained ones that come with the package (the
# *zoo*).
#
# The question is TruthProbe's: *which heads know whether an answer is supported by the context it was given?* A head
# knows if a linear classifier, a *probe*, can tell supported from hallucinated answers by what that head writes, on
# rows that the classifier never saw.

# %%
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import matplotlib.pyplot as plt
import numpy as np

import lens_truth

model = lens_truth.load("zoo:llama-base")
print(f"{model.cfg.n_layers} layers of {model.cfg.n_heads} heads, each {model.cfg.d_head} wide")

# %% [markdown]
# `load` wraps an unchanged Hugging Face model in TransformerLens hooks. While loading it checks that hooks change
# nothing and that a gate on heads does what it says; a model that fails is refused.
#
# ## Look at the rows first
#
# A row is a question, an answer, a label (1: the context supports the answer, 0: it is hallucinated) and the context.

# %%
examples = lens_truth.load_examples("zoo:text", limit=600)

print(examples[0].context.replace(". ", ".\n"), "\n")
for example in examples[:4]:
    print(f"label {example.label}   {example.question}  {example.answer}")

# %% [markdown]
# The first four rows are two questions about one scene. Each answer is right for one question and wrong for the
# other, so no word is a sign of truth by itself: only who has read the context can tell. These four share a *group*,
# and a group is never split between the rows a probe learns from and those it is tested on.

# %%
print(f"{len(examples)} rows in {len({example.group for example in examples})} groups")
print(f"share supported: {np.mean([example.label for example in examples]):.2f}")

# %% [markdown]
# Here everything has been prepared so that nothing but truth tells the labels apart. In your own data this is rarely
# so. The question to ask before any probing is what a classifier reaches that sees only the answer's length and its
# last character, and neither the question nor the context:

# %%
surface = lens_truth.surface_accuracy(examples)
print(f"surface baseline: {surface:.3f}")

# %% [markdown]
# One half is chance. Whatever heads reach beyond it, they did not get it from the length of the answer. [Tutorial
# 6](6_artefact.ipynb) shows what happens when this number is high.
#
# ## Capture, then probe
#
# `capture` runs every row through the model once and keeps what each head writes (`hook_z`) at the last token of the
# answer: the point at which the model has read context, question and answer, and nothing comes after.

# %%
activations = lens_truth.capture(model, examples)
activations.z.shape  # rows, layers, heads, width of a head

# %%
truth = lens_truth.truth_scores(activations)
truth.plot("truth scores of zoo:llama-base on zoo:text")

# %% [markdown]
# A *truth score* is the accuracy of a head's probe on held-out rows, averaged over five folds. Nothing is known in
# the first two layers; the answer becomes known in the middle; and in the last layer the head that knows best has
# neighbours that know nothing. So depth explains much of this map, but not all of it. That it explains much is a
# warning: any two models look somewhat alike on such maps. [Tutorial 2](2_lineage.ipynb) deals with that.
#
# ## The best heads, and how sure we are

# %%
order = np.argsort(-truth.values, axis=None)
ranked = list(zip(*np.unravel_index(order, truth.values.shape), strict=True))

print("head   accuracy   95% interval   AUROC   null, 95%   p (family-wise)")
for at in ranked[:6]:
    m = {name: values[at] for name, values in truth.metrics.items()}
    interval = f"[{m['ci_low']:.3f}, {m['ci_high']:.3f}]"
    print(
        f"{at[0]}.{at[1]}    {truth.values[at]:.3f}      {interval} {m['auroc']:.3f}   "
        f"{m['null_q95']:.3f}       {m['p_familywise']:.4f}"
    )

# %% [markdown]
# - The **interval** says how far the accuracy might move with other scenes of the same kind: whole groups are drawn
#   again with replacement (a bootstrap). Rows of one scene are not independent, and drawing single rows would make it
#   too narrow.
# - The **null** is what the same head reaches when labels are permuted: 95% of such probes stay below the number
#   given. A probe on a few hundred rows is not at one half sharp, even where there is nothing to learn.
# - The **family-wise p-value** compares a head with the *best of all heads* in each permutation. Who looks at 48
#   heads and reports the best has looked 48 times; this p-value has paid for that.
#
# The same for all heads at once:

# %%
layer = np.repeat(np.arange(truth.n_layers), truth.n_heads)
x = layer + np.tile(np.linspace(-0.32, 0.32, truth.n_heads), truth.n_layers)
y = truth.values.ravel()
low, high, null = (truth.metrics[name].ravel() for name in ("ci_low", "ci_high", "null_q95"))
known = truth.metrics["p_familywise"].ravel() < 0.05

figure, axes = plt.subplots(figsize=(7.5, 3.2), layout="constrained")
kinds = (known, "#0072B2", "family-wise p < .05"), (~known, "#9A9A9A", "not told from chance")
for some, colour, label in kinds:
    whiskers = np.maximum(0, [y - low, high - y])[:, some]
    axes.errorbar(x[some], y[some], whiskers, fmt="o", ms=4, lw=1, color=colour, label=label)
axes.scatter(x, null, marker="_", s=40, color="#B2182B", label="95% of permuted labels stay below")
axes.set(xlabel="layer", ylabel="out-of-fold accuracy", xticks=range(truth.n_layers))
axes.legend(loc="upper left", frameon=False, fontsize=8)
plt.show()
print(f"{known.sum()} of {known.size} heads are told from chance")

# %% [markdown]
# Where a grey point lies above its red mark, the head passes the test by itself, but not as one of 48 that were
# looked at.
#
# ## What if there were nothing to find?
#
# An analysis is worth what it says when it should say nothing. So turn the labels of half of the scenes around,
# chosen by lot. The activations stay; the labels now mean nothing.

# %%
rng = np.random.default_rng(0)
turned = {group: rng.random() < 0.5 for group in dict.fromkeys(activations.groups)}
labels = [int(label) ^ turned[group] for label, group in zip(activations.labels, activations.groups, strict=True)]
nothing = lens_truth.truth_scores(replace(activations, labels=activations.labels.new_tensor(labels)))

best = nothing.best()
print(f"best head of {nothing.values.size}: accuracy {nothing.values[best]:.3f}")
print(f"heads with p < .05 by themselves: {(nothing.metrics['p_value'] < 0.05).sum()}")
print(f"heads with family-wise p < .05:   {(nothing.metrics['p_familywise'] < 0.05).sum()}")

# %% [markdown]
# The best of 48 heads lies a little above one half even here; that is what being the best of many means. One head in
# twenty passes a test at 5% by luck alone, so that among 48 two or three may be expected (heads are alike, so luck
# comes to none or to many at once). The family-wise p-value is the one to report.
#
# ## Does the head know, or was it only picked?
#
# The best of many heads was picked because it did well, so its own number flatters it a little. New scenes do not:
# the test split shares none with the rows above.

# %%
fresh = lens_truth.truth_scores(
    lens_truth.capture(model, lens_truth.load_examples("zoo:text/test", limit=600)), n_permutations=0
)
print("head   here    on new scenes")
for at in ranked[:3]:
    print(f"{at[0]}.{at[1]}    {truth.values[at]:.3f}   {fresh.values[at]:.3f}")
print(f"correlation over all heads: {np.corrcoef(truth.values.ravel(), fresh.values.ravel())[0, 1]:.3f}")

# %% [markdown]
# ## Save, and read again
#
# `.safetensors` keeps everything: scores, metrics, folds, and where they come from. `.npy` and `.csv` are the formats
# in which TruthProbe publishes its scores; other people's tools read them, and `HeadScores.load` reads other people's
# files.

# %%
for suffix in ("safetensors", "npy", "csv"):
    truth.save(f"llama-base.{suffix}")

again = lens_truth.HeadScores.load("llama-base.safetensors")
print("equal:", np.array_equal(again.values, truth.values))
print({name: again.provenance[name] for name in ("model", "estimator", "n_examples", "n_folds", "seed")})

# %% [markdown]
# ## Now your own model
#
# Two lines change. `load` takes a Hugging Face id, a folder, or a model in memory. `load_examples` takes a `.jsonl`
# or `.csv` file with `question`, `answer`, `label` and, as you have them, `context`, `group` (rows that must not be
# split between folds) and `id`. So that there is a folder and a file to read, they are made here first.

# %%
copytree(Path(lens_truth.__file__).parent / "zoo/checkpoints/llama-base", "my-model")  # stands for yours
lens_truth.write_examples("my-rows.jsonl", examples)

mine = lens_truth.load("my-model")  # device="cuda", dtype="bfloat16" for a large one
rows = lens_truth.load_examples("my-rows.jsonl")
print(f"surface baseline: {lens_truth.surface_accuracy(rows):.3f}")

scores = lens_truth.truth_scores(lens_truth.capture(mine, rows), n_permutations=0)
print("the same scores as above:", np.array_equal(scores.values, truth.values))

# %% [markdown]
# From the command line, with everything that was printed and drawn here in one folder:
#
# ```sh
# lens-truth check my-model
# lens-truth probe --model my-model --data my-rows.jsonl --out runs/mine
# ```
#
# A truth score says what a head *knows*. Whether it *acts* on what it knows is another question, with another answer
# ([tutorial 3](3_gate.ipynb)).
#
# **Try**
#
# - `lens_truth.load_examples("zoo:conflict")`: scenes that contradict what `zoo:llama-memory` remembers. Do the same
#   heads know?
# - `lens_truth.truth_scores(activations, estimator="adamw")`, the paper's own recipe, or `"mass-mean"`. How far does
#   the picture depend on the probe?
# - Another model of the zoo: `zoo:mistral-base`, `zoo:qwen2-base`. Then look at two of them side by side.
#
# Next: [2. A lineage inherits its truth](2_lineage.ipynb).
