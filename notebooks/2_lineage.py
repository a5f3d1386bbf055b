# %% [markdown]
# # 2. A lineage inherits its truth
#
# TruthProbe claims that a model's descendants keep its truthful heads: instruction tuning, even learning to see,
# leaves them in place. Here you test the claim on two small lineages, then on the published scores of real models,
# and learn why a high correlation is not yet an answer. It takes less than a minute.
#
# At the end you have a table of correlations with everything that a sceptic asks for: depth taken out, a null, a
# floor from strangers, and a ceiling.

# %%
import os
from dataclasses import replace
from pathlib import Path
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display

import lens_truth
from lens_truth import plots

# %% [markdown]
# ## Six models, one map each
#
# `llama-base` has two children: `llama-chat` learnt to chat, `llama-memory` learnt facts by heart. `llama-seed1` and
# `llama-seed2` are strangers: the same architecture and recipe, trained from another seed; `llama-seed1-chat` is a
# child of the first of them.

# %%
ROOT = {
    "llama-base": "llama-base",
    "llama-chat": "llama-base",
    "llama-memory": "llama-base",
    "llama-seed1": "llama-seed1",
    "llama-seed1-chat": "llama-seed1",
    "llama-seed2": "llama-seed2",
}
examples = lens_truth.load_examples("zoo:text", limit=500)
truth = {
    name: lens_truth.truth_scores(lens_truth.capture(lens_truth.load(f"zoo:{name}"), examples), n_permutations=0)
    for name in ROOT
}
plots.heatmaps({name: scores.values for name, scores in truth.items()}, "truth scores, each map in its own colours")

# %% [markdown]
# The first line is one lineage, and its maps look alike, head by head. The second line looks otherwise; yet its maps,
# too, are dark above and bright below.
#
# ## Raw correlation says yes to everybody

# %%


def r(one, other):
    """Pearson correlation over heads."""
    return np.corrcoef(one.ravel(), other.ravel())[0, 1]


def inside(values):
    """Each layer's mean removed: what is left is about heads, not about depth."""
    return values - values.mean(axis=1, keepdims=True)


base = truth["llama-base"].values
print("with llama-base       raw    inside layers")
for name in ("llama-chat", "llama-memory", "llama-seed1", "llama-seed2"):
    print(f"{name:20} {r(base, truth[name].values):5.2f}   {r(inside(base), inside(truth[name].values)):5.2f}")

# %% [markdown]
# Raw, strangers reach about one half with `llama-base`: enough to be reported as a relation, if nobody asks for more.
# Yet heads have no order: renumber the heads of a layer and you have the same network. So head 3 of one model has
# nothing to do with head 3 of a stranger; what the two share is the depth profile. With each layer's mean removed,
# kin keep their correlation and strangers lose it.
#
# ## The null
#
# That heads can be renumbered also tells what chance looks like. Shuffle the heads of one model inside each layer,
# and correlate again; do it a few thousand times.

# %%
rng = np.random.default_rng(0)


def shuffled(values):
    """Heads of each layer in another order."""
    return np.stack([rng.permutation(layer) for layer in values])


figure, panels = plt.subplots(1, 2, figsize=(7.5, 2.6), sharex=True, sharey=True, layout="constrained")
for axes, name in zip(panels, ("llama-chat", "llama-seed1"), strict=True):
    other = truth[name].values
    null = [r(inside(base), inside(shuffled(other))) for _ in range(4000)]
    axes.hist(null, bins=40, color="#9A9A9A")
    axes.axvline(r(inside(base), inside(other)), color="#0072B2", lw=2)
    axes.set(title=f"llama-base and {name}", xlabel="r inside layers")
panels[0].set_ylabel("shuffles")
plt.show()

# %% [markdown]
# Blue is what was measured, grey what shuffled heads give. The child stands outside, the stranger is one of the
# crowd. The crowd is wide, because six layers of eight heads are few; a 7B model has over a thousand heads, and a
# narrow null.
#
# ## All pairs, with interval, null, floor and ceiling
#
# `heritability` does this for every pair, adjusts the p-values for the number of pairs (Holm), and adds two marks to
# hold r against. The *floor* is what unrelated models of one architecture reach. The *ceiling* is what two equal
# models would reach, given that scores from a few hundred rows are noisy.

# %%
result = lens_truth.heritability(truth, unrelated=("llama-base", "llama-seed1", "llama-seed2"))
for sentence in result.verdicts(ROOT):
    print(fill(sentence, 100))
result.plot()

# %%
result.plot("bars", reference="llama-base")

# %% [markdown]
# Left, raw: the grey null reaches far to the right, because shuffling inside layers keeps the depth profile; the bars
# of strangers end inside it. Right, inside layers: kin stand outside the null, near the ceiling; strangers stand
# inside. Here the claim holds, and it is about heads. One pair of kin, `llama-seed1` and its own child, is *not* told
# from shuffled heads in this small run: r near one half is within the reach of eight heads a layer, once fifteen
# pairs have to be paid for. That is what a null is for.
#
# (The ceiling from folds is a little too high, since folds share training rows. The result also has
# `disattenuated_within_layer`, r corrected for noise from different runs only, which it prefers in its tables.)
#
# ## Real models
#
# TruthProbe publishes truth scores of Llama 2 7B, its child Vicuna, and Vicuna's children LLaVA-1.5 and LLaVA-NeXT,
# which see; and of Mistral, which is no relative. They are not in this package. The next cell reads them where
# `LENS_TRUTH_DATA` says that they are.

# %%
FOLDER = Path(os.environ.get("LENS_TRUTH_DATA", "")) / "head_scores" / "truthprobe"
ALONE = "published/converted_score_cv5_head_metrics"
FILES = {
    "Llama 2": f"{ALONE}_llama2_halueval_292.npy",
    "Vicuna": f"{ALONE}_vicuna_halueval_292.npy",
    "LLaVA-1.5": f"{ALONE}_llava1.5_rlhfv_2726.npy",
    "LLaVA-NeXT": f"{ALONE}_llava_next_rlhfv_2726.npy",
    "Mistral": "fig1/vicuna_setD_mistral.csv",
}
published = {}
if missing := [file for file in FILES.values() if not (FOLDER / file).is_file()]:
    print(
        f"LENS_TRUTH_DATA names no folder with head_scores/truthprobe/{missing[0]}: nothing is shown below. The "
        "files are public: github.com/miso-choi/TruthProbe."
    )
else:
    for name, file in FILES.items():
        scores = lens_truth.HeadScores.load(FOLDER / file)
        n_kv_heads = 8 if name == "Mistral" else scores.n_heads  # the files do not say which heads share keys
        published[name] = replace(scores, provenance={"n_kv_heads": n_kv_heads})
        layer, head = scores.best()
        print(f"{name:10} {scores.n_layers} x {scores.n_heads} heads, best {layer}.{head}: {scores.values.max():.3f}")

# %%
if published:
    real = lens_truth.heritability(published)
    for sentence in real.verdicts({**dict.fromkeys(published, "Llama 2"), "Mistral": "Mistral"}):
        print(fill(sentence, 100))
    display(real.plot())
    display(real.plot("bars", reference="Vicuna"))

# %% [markdown]
# The same picture with a thousand heads. All kin agree far beyond shuffled heads, and taking depth out costs them
# little; Mistral's faint raw correlation is gone without depth. The text models were probed on HaluEval's words and
# the LLaVAs on answers about photographs, and still a good part of the map is the same.
#
# Two things this does **not** show. That heads agree on a score does not make the score one of truth: where the data
# has a confound, all relatives will find it ([tutorial 6](6_artefact.ipynb); these very scores come from HaluEval,
# where the answer's length tells nearly all). And that heads *know* does not mean that they *act* ([tutorial
# 3](3_gate.ipynb)).
#
# ## Your own lineage
#
# Score files of any origin and models can be mixed; this is the whole analysis as one command:
#
# ```sh
# lens-truth inherit base=base/scores.safetensors child=child/scores.safetensors other=other.npy --unrelated base other
# lens-truth weights --base zoo:llama-base --child zoo:llama-chat --unrelated zoo:llama-seed1
# ```
#
# The second asks whether heads with high scores keep their *weights* better than others of their layer. (In the zoo
# they do not.)
#
# **Try**
#
# - Add `zoo:llama-memory-chat`, a grandchild. Is it nearer to its parent than to its grandparent?
# - Use `lens_truth.causal_scores(model, examples)` for `truth_scores(capture(...))`. Are the heads that act inherited
#   too?
# - Compare one model's truth scores with its own causal scores: `lens_truth.relate(truth.values, causal.values)`.
#
# All results on the zoo and on published scores: [Lineages](../docs/lineages.md). Next: [3. Gate, ablate,
# export](3_gate.ipynb).
