# %% [markdown]
# # 6. Is my truth score an artefact?
#
# A probe finds whatever tells the labels apart, and truth is only one candidate. Here you make a truth score out of
# nothing, see the same on HaluEval, from which TruthProbe's scores of text models come, and learn what to do about
# it. It takes a minute.
#
# At the end you can tell, for data of your own, whether a high truth score may be called one.

# %%
import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display

import lens_truth
from lens_truth.data import majority_share, surface_warning

model = lens_truth.load("zoo:llama-base")


def measure(title, examples):
    """Truth scores of the model on these rows; prints them beside the surface baseline."""
    scores = lens_truth.truth_scores(lens_truth.capture(model, examples), n_permutations=200)
    layer, head = scores.best()
    print(
        f"{title} (n = {len(examples)})\n    surface {lens_truth.surface_accuracy(examples):.3f}   "
        f"best head {layer}.{head} {scores.values.max():.3f}   mean of layer 0 {scores.values[0].mean():.3f}   "
        f"{(scores.metrics['p_familywise'] < 0.05).sum()} heads told from chance"
    )
    return scores


# %% [markdown]
# ## Where the surface says nothing
#
# In `zoo:text` every answer is right for one question and wrong for another, and all answers have five letters. The
# surface baseline, a classifier that sees only the answer's length and last character, is at chance. Heads are far
# beyond it; but not those of layer 0, which have only single words to look at.

# %%
clean = lens_truth.load_examples("zoo:text", limit=300)
scores = measure("zoo:text", clean)

# %% [markdown]
# ## Make an artefact
#
# In real data a right answer is often a name or a number, and a hallucinated one is written out. So let the
# hallucinated answers here say the same in a sentence. Nothing about truth has changed, not even the last word, at
# which heads are read.

# %%


def wordy(example):
    """The same answer, in a sentence."""
    return replace(example, answer=f"The answer is {example.answer}")


lengthened = [example if example.label else wordy(example) for example in clean]
for example in lengthened[:2]:
    print(f"label {example.label}   {example.question}  {example.answer}")

artefact = measure("hallucinated answers in sentences", lengthened)
warning = surface_warning(
    lens_truth.surface_accuracy(lengthened), majority_share(lengthened), float(artefact.values.max())
)
artefact.plot("truth scores, hallucinated answers in sentences", warning)

# %% [markdown]
# Most heads know the "truth" now, those of layer 0 included, which a moment ago knew nothing. If you saw only this
# map, you would conclude that truth is everywhere in the model. The red line is the package's; `lens-truth probe`
# writes it over the picture by itself when the surface baseline is more than .1 above the share of the larger class.
#
# ## Truth scores of nothing
#
# In the last example there was truth to be found beside the artefact. Take it away: turn the labels of half of the
# scenes around, chosen by lot, so that they mean nothing. Then write a growing share of the answers that are now
# *labelled* hallucinated in sentences.

# %%
rng = np.random.default_rng(0)
turned = {group: rng.random() < 0.5 for group in dict.fromkeys(example.group for example in clean)}
noise = [replace(example, label=int(example.label ^ turned[example.group])) for example in clean]

shares = (0, 0.25, 0.5, 0.75, 1)
surface, best, mean = [], [], []
for share in shares:
    chosen = np.random.default_rng(1).random(len(noise)) < share
    rows = [wordy(e) if not e.label and long else e for e, long in zip(noise, chosen, strict=True)]
    maps = measure(f"meaningless labels, {share:.0%} of those labelled 0 in sentences", rows).values
    surface.append(lens_truth.surface_accuracy(rows))
    best.append(maps.max())
    mean.append(maps.mean())

figure, axes = plt.subplots(figsize=(5.5, 3), layout="constrained")
axes.plot(shares, surface, "--", color="#B2182B", label="surface baseline")
axes.plot(shares, best, "o-", color="#0072B2", label="best head")
axes.plot(shares, mean, "o-", color="#9A9A9A", label="mean of all heads")
axes.set(xlabel="share of rows labelled 0 whose answer is a sentence", ylabel="accuracy", ylim=(0.45, 1.02))
axes.legend(loc="upper left", frameon=False)
plt.show()

# %% [markdown]
# The best "truth score" goes where the surface baseline goes, from chance to one, while there is no truth in the
# labels at all. The null does not protect you: permuted labels break the tie to length as well as the tie to truth.
# Nor does the interval, nor held-out folds. All of them ask whether there is *something*; only the baseline asks
# what.
#
# ## HaluEval
#
# HaluEval's question answering part has a right and a hallucinated answer to each question. The hallucinated ones
# were written by a language model. The rows are not in this package; the next cell reads them where `LENS_TRUTH_DATA`
# says that they are, and shows numbers only.

# %%
FILE = Path(os.environ.get("LENS_TRUTH_DATA", "")) / "halueval" / "qa_2000.csv"
halueval = []
if not FILE.is_file():
    print(
        "LENS_TRUTH_DATA names no folder with halueval/qa_2000.csv: nothing is shown below. The rows are public\n"
        "(qa_data.json of github.com/RUCAIBox/HaluEval); docs/reproduce.md says how to make the csv of them."
    )
else:
    halueval = lens_truth.load_examples(f"halueval:{FILE}")
    lengths = [[len(example.answer) for example in halueval if example.label == label] for label in (1, 0)]
    print(f"{len(halueval)} rows; mean length of right answers {np.mean(lengths[0]):.0f} characters, ", end="")
    print(f"of hallucinated ones {np.mean(lengths[1]):.0f}")
    print(f"surface baseline: {lens_truth.surface_accuracy(halueval):.3f}")

    figure, axes = plt.subplots(figsize=(5.5, 2.6), layout="constrained")
    bins = np.arange(0, 160, 5)
    for some, colour, label in zip(lengths, ("#0072B2", "#E69F00"), ("right", "hallucinated"), strict=True):
        axes.hist(np.clip(some, 0, 157), bins, color=colour, alpha=0.7, label=label)
    axes.set(xlabel="characters of the answer (155 and more together)", ylabel="rows")
    axes.legend(loc="upper right", frameon=False)
    plt.show()

# %% [markdown]
# Length and last character alone nearly settle the matter. Now let a model read these answers that cannot know:
# `zoo:llama-base` has one and a half million parameters, has only ever read of wheels and crowns in attics, and
# spells HaluEval's words letter by letter. To be sure, take the knowledge away, too, that the answer would have to be
# checked against.

# %%
if halueval:
    ignorant = [replace(example, context="") for example in halueval]
    blind = measure("HaluEval without its knowledge", ignorant[:300])
    display(blind.plot("'truth' scores of a model that knows no English, on HaluEval without knowledge"))

# %% [markdown]
# These would pass for excellent truth scores. That they are highest in layer 0, which has only single words to look
# at, gives them away here; a larger model need not be so plain. A real model may well know which answers are true,
# but a head's accuracy on these rows as they are cannot tell us.
#
# ## What to do about it
#
# **1. Audit before you probe.** `lens-truth audit DATA ...` takes no model and a few seconds: the surface baseline,
# repeated rows, answers with both labels, and data sets that contradict each other.
#
# **2. Match.** Keep as many right as hallucinated answers of every length, and let the rest go.

# %%


def matched(rows, key):
    """As many rows of each label for every value of the key, drawn by lot."""
    rng = np.random.default_rng(0)
    cells = defaultdict(lambda: ([], []))
    for row in rows:
        cells[key(row)][row.label].append(row)
    kept = []
    for sides in (cells[value] for value in sorted(cells)):
        n = min(map(len, sides))
        kept += [side[i] for side in sides for i in sorted(rng.permutation(len(side))[:n])]
    return kept


def ends_in_stop(row):
    return row.answer.strip().endswith(".")


if halueval:
    by_length = matched(ignorant[:2400], lambda row: len(row.answer))
    measure("matched by length", by_length)
    by_both = matched(ignorant, lambda row: (len(row.answer), ends_in_stop(row)))
    left = measure("matched by length and full stop", by_both)
    for label, name in ((1, "right"), (0, "hallucinated")):
        print(f"share of {name} answers that end in a full stop: ", end="")
        print(f"{np.mean([ends_in_stop(row) for row in halueval if row.label == label]):.3f}")

# %% [markdown]
# Matched by length the baseline is still high, and so are the scores: hallucinated answers end in a full stop and
# right ones do not. So always compute the baseline *again* after matching. Matched by both it comes near chance, and
# what the heads "knew" is gone with it.
#
# The price is rows: of 4,000 few are left, and where rows are few, a weak effect can hide. Are they too few to see
# knowledge where it is? As many rows of the zoo answer that:

# %%
enough = measure("zoo:text, as many rows", clean[: len(by_both) if halueval else 176])

# %% [markdown]
# So the rows would do for heads that know; the matched ones show none, as they must with this reader. With a real
# model this is the number to look at.
#
# **3. Better: write rows that need no matching.** Let every answer be right for one question and hallucinated for
# another, as in `zoo:text`. The surface baseline is at chance by construction, for every surface, also those that
# nobody thought of.
#
# **4. Ask what heads do.** An artefact can be read from a head, but that is no reason why amplifying the head should
# help. Causal scores (`lens_truth.causal_scores`) measure what a head does to the answer; and a gate from any score
# has to help on held-out questions, more than its own values shuffled inside layers and more than one gain for all
# heads. That is [tutorial 3](3_gate.ipynb).
#
# **5. Say it.** Beside a truth score stand: the surface baseline of the same rows, the number of rows and groups, the
# family-wise p-value. `probe` writes them all into `result.json`, and the report puts every warning on top of its
# page.
#
# **Try**
#
# - Lengthen the *right* answers instead. What happens to the best head?
# - Leave lengths alone, and put a full stop behind hallucinated answers only: `replace(example, answer=example.answer
#   + ".")`. The surface baseline sees it. Which artefact would it not see?
# - Your own rows: `lens_truth.surface_accuracy(lens_truth.load_examples("my-rows.jsonl"))`.
#
# Where to go from here: [your own data](../docs/howto/own-data.md), and [what a gate has to
# beat](../docs/concepts/controls.md).
