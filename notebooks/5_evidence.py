# %% [markdown]
# # 5. What truthful heads look at
#
# "Truthful heads attend to the evidence": a claim that is easily made from a picture of one head. Here you measure, for
# every head, how much it attends to the sentence that holds the answer, with chance, the sink and a control taken care
# of; hold that against truth scores; and look at single examples, in words and in a picture. At the end you know what
# such a picture can show and what it cannot.
#
# Every measure is defined in [evidence](../docs/evidence.md).

# %%
from collections import Counter
from pathlib import Path

import numpy as np

import lens_truth
from lens_truth.data import FLOOR, ROOMS, SUPPORTED

model = lens_truth.load("zoo:llama-base")
examples = lens_truth.load_examples("zoo:text", limit=600)
right, wrong = ([e for e in examples if (e.label == SUPPORTED) is wanted] for wanted in (True, False))

# %% [markdown]
# ## One example, head by head
#
# An example knows its evidence: a span of the context.

# %%
example = next(e for e in right if e.question.startswith("What colour is the"))
((start, stop),) = example.evidence
print(example.context)
print(f"{example.question} {example.answer}; evidence: {example.context[start:stop]}")

# %% [markdown]
# `show_heads` picks the four heads that look most at the evidence from the answer's last token, where probes read
# too. A line is a head, a column a token; the evidence stands under the orange bar.

# %%
view = lens_truth.show_heads(model, example)
view.plot()

# %% [markdown]
# In Jupyter, `lens_truth.show_heads(model, example)` alone displays all patterns, to be clicked through
# ([CircuitsVis](https://github.com/TransformerLensOrg/CircuitsVis)); `save` writes the same as a page of its own, which
# loads nothing from elsewhere:

# %%
view.save("attention.html")
print(f"attention.html: {Path('attention.html').stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# These heads find the evidence, and all their attention is there: a picture to be shown around. Three of them look at
# the full stop that ends its sentence. The same heads, while the model reads the *hallucinated* answer to the same
# question:

# %%
twin = next(e for e in wrong if (e.question, e.context) == (example.question, example.context))
lens_truth.show_heads(model, twin, view.heads).plot()

# %% [markdown]
# Now those three look at the end of the sentence in which the *hallucinated* word stands. They follow the word that was
# answered, whether it is right or not: matching of words, and no knowledge of what is true. One picture alone would not
# have told.
#
# ## All examples, all heads
#
# `evidence_attention` measures over all supported answers:
#
# - `evidence`: the share of the evidence in the attention that does not go to the first token (the sink), over its
#   share of those tokens. 1 is chance: a head that does not care.
# - `evidence over control`: the same, less that of equally long parts of the same context.
# - `evidence when answering`: as `evidence`, but of the tokens from which the answer is predicted, which right and
#   wrong answers share.
# - `retrieval`: the share of answer tokens at which the head copies from the evidence (retrieval heads, Wu et al.
#   2024).
# - `lookback`: attention to the prompt against attention to the answer so far (lookback ratio, Chuang et al. 2024).

# %%
looked = lens_truth.evidence_attention(model, right)
measures = looked.scores()
when_wrong = lens_truth.evidence_attention(model, wrong).scores()

lines = []
for name, its in measures.items():
    at = layer, head = its.best()
    interval = "[{:.2f}, {:.2f}]".format(*(its.metrics[end][at] for end in ("ci_low", "ci_high")))
    most = f"{layer}.{head}: {its.values[at]:.2f} {interval}"
    lines.append([name, f"{its.values.mean():.2f}", f"{when_wrong[name].values.mean():.2f}", most])
lens_truth.text_table(["measure", "mean over heads", "the same, hallucinated", "head with the most [95%]"], lines)

# %% [markdown]
# The first line is what the two pictures showed: less attention to the evidence where the answer is hallucinated. The
# third line is the same for both by construction: the tokens before an answer do not know it yet.
#
# ## Do truthful heads look at it?

# %%
truth = lens_truth.truth_scores(lens_truth.capture(model, examples), n_permutations=0)
looked.plot({"truth score": truth})

# %% [markdown]
# The evidence is found in layer 1; truth is known in the upper layers. So over all heads the two are *negatively*
# related: that is depth. The question is about heads of one layer, and the null shuffles heads inside layers:

# %%
relations = looked.relate(truth)
relations

# %%
looked.scatter({"truth": truth}, {"truth": relations}, ("evidence", "evidence over control", "lookback"))

# %%
wrong_mean = when_wrong["evidence"].values.mean()
print("\n\n".join(looked.verdicts({"truth": relations}, wrong_mean)))

# %% [markdown]
# **No relation inside layers holds up** for any measure of the evidence. The two columns with p-values are adjusted for
# the number of measures (Holm). So it is in all eleven models of the zoo, with truth scores and with causal scores;
# what shows in some is that truthful heads look back *less* ([all numbers](../docs/evidence.md)). It is one
# architecture with one way of answering, and no statement about models of 7B parameters.
#
# What then does the head with the highest truth score look at?

# %%
knowing = lens_truth.show_heads(model, example, [truth.best()])
print(knowing.names[0], "gives", knowing.said[0])
print(f"the answer's last token itself gets {knowing.weights[0, knowing.query]:.0%}")

# %% [markdown]
# At the answer itself: what tells supported from hallucinated has been written there by earlier layers.
#
# ## Evidence in a picture
#
# For a model that sees, evidence is a box in the image, here the floor on which the thing stands. A patch counts as
# evidence if half of it lies in the box.

# %%
llava = lens_truth.load("zoo:llava")
seen = [e for e in lens_truth.load_examples("zoo:image", limit=300) if e.label == SUPPORTED]
looked = lens_truth.evidence_attention(llava, seen)
of_image = looked.scores()

looked

# %% [markdown]
# (`retrieval` is missing, since tokens of an image are no words.) The head that looks most at the evidence over all
# pictures, in the picture where it does so most. Bright is where it looks:

# %%
most = layer, head = of_image["evidence"].best()
order = looked.measures["evidence"][:, layer, head].argsort()
lens_truth.show_heads(llava, seen[order[-1]], [most]).plot()

# %% [markdown]
# And in the picture that is the median of all:

# %%
lens_truth.show_heads(llava, seen[order[len(order) // 2]], [most]).plot()

# %% [markdown]
# The first picture would look well in a paper. The second shows none of it, and the same patch is bright in both. So
# break the mean down by the floor that is asked about, and see which patch is the brightest one:

# %%
floor_of = np.array([example.boxes[0][1] // FLOOR for example in seen])
for number, room in enumerate(ROOMS):
    its = looked.measures["evidence"][floor_of == number, layer, head]
    print(f"evidence in the {room}: {its.mean():.2f} (n = {len(its)})")

views = [lens_truth.show_heads(llava, example, [most]) for example in seen[:20]]
brightest = Counter(int(view.weights[0, slice(*view.picture.span)].argmax()) for view in views)
print(f"brightest of 16 patches, in how many of {len(views)} pictures:", dict(brightest.most_common()))

# %% [markdown]
# The head that looks *most at the evidence* looks at one place in the house; where that happens to be the floor asked
# about, it counts as looking at the evidence. Neither the mean nor its control told: both are taken over all floors at
# once.
#
# And the model answers its questions almost without error ([the zoo](../docs/zoo.md)). What a model uses need not be
# where its last token looks: earlier tokens may have read it.

#
# ## Try
#
# - `model = lens_truth.load("zoo:llama-seed2")`: there the relation with `lookback` is strongest.
# - Causal scores instead of truth scores: `lens_truth.causal_scores(model, examples)`.
# - Your own rows: `evidence` in a row takes texts that occur once in the context, or spans; SQuAD and HotpotQA bring
#   theirs ([your own data](../docs/howto/own-data.md)).
#
# Next: [6. Is my truth score an artefact?](6_artefact.ipynb)
