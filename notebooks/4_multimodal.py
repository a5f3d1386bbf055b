# %% [markdown]
# # 4. A multimodal descendant
#
# A LLaVA is built on a language model. Does it inherit that model's heads? Here you draw a picture that contradicts
# what a multimodal model remembers, compare its head scores (from pictures) with its base's (from words), gate it by
# scores that were computed *before it could see*, and look at what this costs and what does not transfer.
#
# How images get in, and for which families: [multimodal models](../docs/multimodal.md).

# %%
from collections import Counter

from PIL.Image import Resampling

import lens_truth
from lens_truth import plots
from lens_truth.data import TYPICAL, Thing, image_name, open_image

base = lens_truth.load("zoo:llama-memory")
child = lens_truth.load("zoo:llava-memory")  # a CLIP tower, a projector, and llama-memory, trained on pictures

# %% [markdown]
# ## A picture
#
# The zoo's pictures are houses of four floors, 48 x 48 pixels: attic, study, foyer, vault. This one holds a green
# heart. The model learnt from its base that hearts are coral.

# %%
things = Thing("green", "heart", "attic"), Thing("white", "pearl", "study"), Thing("lilac", "arrow", "vault")
picture = image_name(things, 0)  # a name; `open_image` draws it, or opens a file of yours
open_image(picture).resize((240, 240), Resampling.NEAREST)

# %%
asker = lens_truth.Asker(child, "plain", name="llava-memory")  # a model and how it is asked


def ask(*questions, n_new=3):
    """The child's answers to questions about the picture."""
    rows = [lens_truth.Example(q, "mine", q, right, 1, image=picture) for q, right in questions]
    said = asker.one(lens_truth.benchmark_of("mine", "answer", rows, n_new=n_new)).answers
    return list(zip((q for q, _ in questions), (right for _, right in questions), said, strict=True))


my_questions = (
    ("What colour is the heart?", "green"),
    ("Which room holds the heart?", "attic"),
    ("What colour is the arrow?", "lilac"),
    ("Is there a green heart in the house?", "yes"),
)
lens_truth.text_table(["question", "right", "answer"], ask(*my_questions))

# %%
((_, _, description),) = ask(("Describe the house.", "-"), n_new=32)
print(description)

# %% [markdown]
# It sees the heart, its place, and that it is green, and says so when it describes the house; asked for the colour
# alone, memory speaks. So it is not blind: this is the kind of hallucination that amplifying heads might mend.
#
# ## Picture against memory
#
# The same question about test pictures that contradict memory:

# %%
test = {b.name: b for b in lens_truth.image_benchmarks("test", 100, seed=0)}
conflict = test["image-conflict"]
vanilla = asker.one(conflict)
usual = [TYPICAL[e.question.split()[-1].rstrip("?")] for e in conflict.examples]
memory = sum(said == colour for said, colour in zip(vanilla.answers, usual, strict=True)) / len(usual)
low, high = vanilla.accuracy_interval
print(f"{vanilla.accuracy:.2f} [{low:.2f}, {high:.2f}] right, {memory:.2f} what memory says")

# %% [markdown]
# ## Are the scores inherited?
#
# The base is scored on scenes told in words, the child on scenes that it is shown; a stranger, trained from another
# seed, is scored on the same words as the base. Truth scores and causal scores of each:

# %%
words = lens_truth.load_examples("zoo:conflict", limit=400)
pictures = lens_truth.load_examples("zoo:image-conflict", limit=400)
scored = {
    "llama-memory, words": (base, words),
    "llava-memory, pictures": (child, pictures),
    "stranger, words": (lens_truth.load("zoo:llama-seed1"), words),
}
truth = {n: lens_truth.truth_scores(lens_truth.capture(m, rows), n_permutations=0) for n, (m, rows) in scored.items()}
causal = {name: lens_truth.causal_scores(model, rows) for name, (model, rows) in scored.items()}

own = ("llama-memory, words", "llava-memory, pictures")
maps = {f"{kind}: {n}": its[n].values for kind, its in (("truth", truth), ("causal", causal)) for n in own}
plots.heatmaps(maps, f"n = {len(words)} each; every map in its own range of colours")

# %%
lens_truth.heritability(truth).plot()

# %%
lens_truth.heritability(causal).plot()

# %% [markdown]
# First matrix: truth scores; second: causal scores. In each, left over all heads, right with each layer's mean removed;
# bold where shuffling heads inside layers does not reach it. Child and base agree about heads, although one was scored
# on pictures and the other on words; the stranger, whose layers are as deep, does not agree with them. (All eleven
# models, with intervals, ceilings and published scores of real ones: [lineages](../docs/lineages.md).)
#

# ## The base's scores gate the child
#
# The language tower has the base's layers and heads, so a gate from the base's scores fits as it is. As in [tutorial
# 3](3_gate.ipynb), lambda is chosen on validation pictures and every gate has controls. Beside the conflicts: presence
# (POPE's adversarial split) and descriptions. A small run: 100 questions, 50 descriptions, up to 3 draws a control.

# %%
validation = [
    b for b in lens_truth.image_benchmarks("validation", 40, seed=0) if b.name in ("image-conflict", "image-open")
]
ablation = lens_truth.run_ablation(
    asker,
    {"truth": truth["llama-memory, words"], "causal": causal["llama-memory, words"]},
    test=[conflict, test["image-presence-adversarial"], test["image-describe"]],
    validation=validation,
    controls=lens_truth.Controls(trials=3),
)
ablation.plot()

# %%
print("\n\n".join(ablation.verdicts()))

# %% [markdown]
# The causal scores of a model that only ever read words tell which heads make its multimodal child say what it sees.
# Its truth scores do not, here as in words. (Where `center` was chosen, a layer's mean gate is 1, so `uniform` of that
# gate is the vanilla model.)
#
# Your scene again, drawn in twenty ways, under the gate that was chosen: how often is each colour the answer?

# %%
best = ablation.chosen("causal")
assert best is not None  # validation wanted a gate
gate = lens_truth.HeadGate.from_scores(causal["llama-memory, words"], best.lam, best.norm)
question, right = my_questions[0]
drawn = [lens_truth.Example(f"{n}", "mine", question, right, 1, image=image_name(things, n)) for n in range(20)]
mine = lens_truth.benchmark_of("mine", "answer", drawn)
for name, answered in asker.run(mine, {"vanilla": None, "gated": gate}).items():
    print(f"{name}:", Counter(answered.answers))

# %% [markdown]
# An average gain is no promise about one example: some of these pictures are now answered as they are, in others memory
# still speaks.
#
# ## What it costs, and what does not transfer

#
# CHAIR_s is the share of descriptions that mention what is not there, recall how much of what is there is mentioned. A
# model that says less hallucinates less, so one is not to be read without the other. Intervals are 95% over pictures; a
# difference smaller than they are wide is none.

# %%
ablation

# %% [markdown]
# - Presence is answered almost perfectly without a gate, so there is nothing to gain, only to lose.
# - **Descriptions do not get better by the base's scores.** What moves them is one gain for all heads, a control; no
#   score gets the credit. Nor does one in the full run, with 200 questions and the child's own scores beside its base's
#   ([multimodal models](../docs/multimodal.md)).
# - A truth score travels from base to child (it is *inherited*), and a gate made of it does nothing for either. That a
#   number can be read off a head is not that turning the head up helps.
#
# ## Try
#
# - A picture of your own making: other `things` (`COLOURS`, `THINGS` and `ROOMS` of `lens_truth.data`), another
#   number, or the name of an image file in `Example(image=...)`.
# - Add `"own causal": causal["llava-memory, pictures"]` to the scores of `run_ablation`: is a child gated better by
#   its own?
# - `lens_truth.load("llava-hf/llava-1.5-7b-hf")` is loaded, scored and gated by the same lines ([your own
#   model](../docs/howto/own-model.md)); nothing on this page was run on a model of that size.
#
# Next: [5. What truthful heads look at](5_evidence.ipynb).
