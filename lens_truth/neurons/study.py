"""`neuron_study`: neurons that foretell hallucination, and what they are worth beside everything else that might."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from lens_truth.data.replies import Reply
from lens_truth.errors import InputError, notice
from lens_truth.io.stages import bar, stage
from lens_truth.neurons import rivals
from lens_truth.neurons.activity import NeuronActivity
from lens_truth.neurons.bench import Bench, Decisions, Numbers, Side, Trial
from lens_truth.neurons.finding import Found, Rows, found_in
from lens_truth.neurons.sparse import sparse_fit
from lens_truth.neurons.study_result import (
    DENSE,
    FOUND,
    POSITIVE,
    RANDOM,
    REFITTED,
    THREE,
    Counted,
    NeuronStudy,
    Stability,
    Worth,
)
from lens_truth.stats.folds import grouped_folds, permuted_labels

_PARTS = 3
"""Parts of the groups, each of which is left out once for the stability of the set."""


@stage("finding")
def neuron_study(
    activity: NeuronActivity,
    replies: Sequence[Reply],
    *,
    test: tuple[NeuronActivity, Sequence[Reply]] | None = None,
    n_folds: int = 3,
    n_random: int = 20,
    n_null: int = 20,
    seed: int = 0,
    progress: bool = False,
) -> NeuronStudy:
    """Neurons whose contribution to answers foretells hallucination (H-Neurons, arXiv 2512.01797): a logistic
    regression with an L1 penalty on the CETT of all neurons, whose positive side is hallucinated. Neurons with a weight
    above 0 are the H-neurons. C is chosen among training groups; what is found is judged on groups that it has not
    seen, beside the same classifier on other neurons and what the texts alone give away.

    >>> replies = lens_truth.whole_replies(lens_truth.load_examples("facts:closed-book", limit=400))
    >>> study = lens_truth.neuron_study(lens_truth.neuron_activity(model, replies), replies)
    >>> study.worth["found neurons"].auroc, study.neurons.positive.save("neurons.json")

    Args:
        replies: those that the activity is of; more may be given.
        test: others to judge on; of these, answers of groups that are among the first are left out (a `DataWarning`).
            Without them every answer is judged by what was found without its fold of the groups; the neurons that are
            told are those of all answers.
        n_random: sets of as many other neurons.
        n_null: draws of shuffled labels, on each of which the whole procedure is run anew.

    Raises:
        InputError: for one label only, fewer groups than folds, test answers of another model, missing replies,
            or if no neuron tells right from hallucinated answers.
    """
    for n, what in ((n_random, "random sets"), (n_null, "draws of shuffled labels")):
        if n < 0:
            raise InputError(f"{n} {what} were asked for; 0 is the least")
    if test is not None and test[0].values.shape[1:] != activity.values.shape[1:]:
        shapes = [" x ".join(str(n) for n in its.values.shape[1:]) for its in (activity, test[0])]
        raise InputError(f"neurons are found among {shapes[0]}, and the test answers are of a model with {shapes[1]}")
    side = Side.of(activity, replies)
    bench = Bench.of(side, None if test is None else Side.of(*test), n_folds, seed)
    whole = found_in(side.rows, seed, told=True)
    founds = [whole] if test is not None else [found_in(side.rows.part(its.train), seed) for its in bench.splits]
    found = [its.fit.decision(bench.test.rows.x[split.test]) for its, split in zip(founds, bench.splits, strict=True)]
    worth = {FOUND: bench.worth([found], found, len(whole.columns))}
    worth |= _of_neurons(bench, founds, found, whole)
    random = [_random(bench, founds, seed, draw) for draw in range(n_random)]
    if random:
        worth[RANDOM] = bench.worth(random, found, len(whole.columns))
    worth |= {name: bench.worth([its], found) for name, its in _of_texts(bench).items()}
    three: Found | None = None
    if activity.others is not None:
        rows = Rows.of(activity, others=True)
        three = found_in(rows, seed)
        made = [three] if test is not None else [found_in(rows.part(its.train), seed) for its in bench.splits]
        decided = [
            its.fit.decision(bench.test.rows.x[split.test]) for its, split in zip(made, bench.splits, strict=True)
        ]
        worth[THREE] = bench.worth([decided], found, len(three.columns))
    columns, M = whole.columns, activity.values.shape[2]
    if not (whole.fit.weights > 0).any():
        notice("no neuron has a weight above 0: none is more active in hallucinated answers")
    return NeuronStudy(
        shape=(int(activity.values.shape[1]), int(M)),
        C=float(whole.fit.C),
        layer=tuple(int(its) for its in columns // M),
        neuron=tuple(int(its) for its in columns % M),
        weight=tuple(float(its) for its in whole.fit.weights[columns]),
        intercept=float(whole.fit.intercept),
        tried=whole.tried,
        worth=worth,
        random=tuple(float(bench.aurocs(its, bench.weights[:1])[0]) for its in random),
        null=tuple(_null(bench, n_null, seed, progress=progress)),
        stability=_stability(side.rows, whole, seed),
        three_positive=None if three is None else int((three.fit.weights > 0).sum()),
        found_on=_counted(side),
        judged_on=None if test is None else _counted(bench.test),
        n_folds=len(bench.splits),
        provenance={**activity.provenance, "seed": seed},
    )


def _counted(side: Side) -> Counted:
    return Counted(len(side), int(side.rows.hallucinated.sum()), len(set(side.rows.groups)))


def _of_neurons(bench: Bench, founds: Sequence[Found], found: Trial, whole: Found) -> dict[str, Worth]:
    """The positive weights alone, and classifiers of another make or on other neurons."""
    of = {split.test.tobytes(): its for split, its in zip(bench.splits, founds, strict=True)}

    def positive(train: Side, fitted: Numbers, test: Side, judged: Numbers) -> Decisions:
        # the fit's intercept is not theirs: on the training answers a threshold is fitted anew
        weights = np.maximum(of[judged.tobytes()].fit.weights, 0)
        on = np.flatnonzero(weights)
        sums = [side.rows.x[np.ix_(its, on)] @ weights[on] for side, its in ((train, fitted), (test, judged))]
        return rivals.refitted(sums[0][:, None], train.rows.hallucinated[fitted], sums[1][:, None])

    def refitted(train: Side, fitted: Numbers, test: Side, judged: Numbers) -> Decisions:
        return _on(of[judged.tobytes()].columns, train, fitted, test, judged)

    def single(train: Side, fitted: Numbers, test: Side, judged: Numbers) -> Decisions:
        n = len(of[judged.tobytes()].columns)
        best = rivals.best_single(train.rows.x[fitted], train.rows.hallucinated[fitted], n)
        return _on(best, train, fitted, test, judged)

    def dense(train: Side, fitted: Numbers, test: Side, judged: Numbers) -> Decisions:
        return rivals.dense(train.rows.x[fitted], train.rows.hallucinated[fitted], test.rows.x[judged])

    n, P = len(whole.columns), bench.train.rows.x.shape[1]
    made = {
        POSITIVE: (positive, int((whole.fit.weights > 0).sum())),
        REFITTED: (refitted, n),
        "best single neurons, as many": (single, n),
        DENSE: (dense, P),
    }
    return {name: bench.worth([bench.trial(decide)], found, many) for name, (decide, many) in made.items()}


def _on(columns: Numbers, train: Side, fitted: Numbers, test: Side, judged: Numbers) -> Decisions:
    few = [side.rows.x[np.ix_(its, columns)] for side, its in ((train, fitted), (test, judged))]
    return rivals.refitted(few[0], train.rows.hallucinated[fitted], few[1])


def _random(bench: Bench, founds: Sequence[Found], seed: int, draw: int) -> Trial:
    """As many other neurons."""
    P, trial = bench.train.rows.x.shape[1], list[Decisions]()
    for split, found in zip(bench.splits, founds, strict=True):
        columns = rivals.drawn_columns(len(found.columns), P, found.columns, seed, draw)
        trial.append(_on(columns, bench.train, split.train, bench.test, split.test))
    return trial


def _of_texts(bench: Bench) -> dict[str, Trial]:
    """What question, answer and length give away."""

    def words(of: str) -> Trial:
        def decide(train: Side, fitted: Numbers, test: Side, judged: Numbers) -> Decisions:
            texts = [side.texts(its, of) for side, its in ((train, fitted), (test, judged))]
            return rivals.words(texts[0], train.rows.hallucinated[fitted], texts[1])

        return bench.trial(decide)

    def length(of: str) -> Trial:
        def decide(train: Side, fitted: Numbers, test: Side, judged: Numbers) -> Decisions:
            its = [_lengths(side, of)[numbers] for side, numbers in ((train, fitted), (test, judged))]
            return rivals.refitted(its[0], train.rows.hallucinated[fitted], its[1])

        return bench.trial(decide)

    told = {f"words of the {of}": words(of) for of in ("question", "answer")}
    return told | {f"{of} of the answer": length(of) for of in ("tokens", "characters")}


def _lengths(side: Side, of: str) -> Float[np.ndarray, "N 1"]:
    its = side.n_tokens if of == "tokens" else [len(reply.answer) for reply in side.replies]
    return np.asarray(its, dtype=float)[:, None]


def _null(bench: Bench, n: int, seed: int, *, progress: bool) -> list[float]:
    """AUROC of the whole procedure on shuffled labels of the training answers. Where these are judged too, they are
    judged by the shuffled labels."""
    rows, found = bench.train.rows, list[float]()
    drawn = permuted_labels(rows.hallucinated, rows.groups, n, seed) if n else rows.hallucinated[None, :0]
    with bar(None, "shuffled labels", n, shown=progress) as done:
        for labels in drawn[:n]:
            shuffled = rows.labelled(labels)
            its = bench if bench.test is not bench.train else bench.relabelled(shuffled)
            trial: list[Decisions] = []
            for split in its.splits:
                try:
                    fit = found_in(shuffled.part(split.train), seed).fit
                    trial.append(fit.decision(its.test.rows.x[split.test]))
                except InputError:  # nothing at all tells these labels apart
                    trial.append(np.zeros(len(split.test)))
            found.append(float(its.aurocs(trial, its.weights[:1])[0]))
            done.update(1)
    return found


def _stability(rows: Rows, whole: Found, seed: int) -> Stability:
    """H-neurons of fits with the same C, each without one part of the groups."""
    fold = grouped_folds(rows.hallucinated, rows.groups, _PARTS, seed)
    sets: list[set[int]] = []
    for k in range(_PARTS):
        part = rows.part(np.flatnonzero(fold != k))
        fit = sparse_fit(part.x, part.signs, whole.fit.C, seed=seed)
        sets.append(set(np.flatnonzero(fit.weights > 0).tolist()))
    P, shared, chance = rows.x.shape[1], list[float](), list[float]()
    for n, one in enumerate(sets):
        for other in sets[n + 1 :]:
            shared.append(len(one & other) / max(1, len(one | other)))
            both = len(one) * len(other) / P
            chance.append(both / max(1.0, len(one) + len(other) - both))
    return Stability(
        tuple(len(its) for its in sets),
        float(np.mean(shared)),
        float(np.mean(chance)),
        len(sets[0].intersection(*sets[1:])),
    )
