"""Random numbers: each purpose draws from a stream of its own, so that one more draw here changes nothing there."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What random numbers are drawn for. The numbers are part of every published result: a new purpose takes the next
    free one, and none is ever used again for something else.

    >>> rng = lens_truth.stream(0, lens_truth.Stream.HEAD_SHUFFLES)
    """

    FOLDS = 1
    """Which groups are held out together when heads are probed."""
    SCORE_INTERVALS = 2
    """Bootstrap over groups behind the interval of a truth score."""
    CAUSAL_INTERVALS = 3
    """Bootstrap over questions behind the interval of a causal score."""
    GATE_STEPS = 4
    """Order of the questions while a gate is learned."""
    ANSWER_INTERVALS = 5
    """Bootstrap over groups of questions behind accuracies and their differences."""
    SPLIT = 6
    """Which groups of a file score heads, choose lambda, and judge."""
    SIGN_FLIPS = 7
    """Signs of groups in the paired test of two gates."""
    HEAD_SHUFFLES = 8
    """Heads shuffled inside layers: the null of a correlation."""
    HEAD_INTERVALS = 9
    """Bootstrap over heads behind the interval of a correlation."""
    TOP_HEADS = 10
    """Heads shuffled inside layers: the null of top heads against the rest."""
    CAUSAL_PARTS = 11
    """Parts of the questions whose causal scores are the score's repeated estimates."""
    EVIDENCE_INTERVALS = 12
    """Bootstrap over groups behind attention to the evidence."""
    JUDGED_ANSWERS = 13
    """Which of a question's two answers is shown to be judged."""
    FACTS = 14
    """Which facts are paired, and how they are put into words."""
    EXCHANGES = 15
    """Which questions of a file trade answers in their contexts."""
    TRANSFER_INTERVALS = 20
    """Bootstrap over groups behind the AUROC of a probe of one domain on another."""
    TRANSFER_NULL = 21
    """Labels permuted inside groups: the null of such an AUROC."""
    RANDOM_DIRECTIONS = 22
    """Directions in place of probes': the null of cosines, of dimensions and of what erasure does."""
    SHUFFLED_CONCEPT = 23
    """Labels shuffled before a direction is erased that is fitted to them."""
    CCS_STARTS = 25
    """Where CCS's probes start; and the random directions beside them."""
    SHUFFLED_PARTNERS = 26
    """Statements paired with the negations of others: the null of CCS and of polar consistency."""
    PAIR_SIDES = 27
    """Which statement of a pair stands first, where nothing else says."""
    CCS_INTERVALS = 28
    """Bootstrap over groups behind the accuracy of CCS."""
    DETECTION_INTERVALS = 35
    """Bootstrap over groups behind what a detector of hallucinations is worth."""
    RANDOM_HEADS = 36
    """Heads drawn at random, as many as a detector reads."""
    SAMPLES = 45
    """Which tokens a sampled answer has: of a question (by what the model is shown) and of a number of the sample."""
    VERIFIED = 46
    """Whose true statement stands for another's, where answers are verified."""
    PLACEBOS = 47
    """Random directions along which a swap's placebo moves as far."""
    STEERED_HEADS = 30
    """Heads that are shifted in place of those with the best probes: a control of shifts along directions of truth."""
    STEERED_DIRECTIONS = 31
    """Directions in place of those of truth: a control of the same."""
    STEERED_JUDGEMENTS = 32
    """Bootstrap over groups behind what steering does to a model's judgement."""
    STABILITY_REFITS = 40
    """Bootstrap over groups behind the angles of refitted probes."""
    STABILITY_NULL = 41
    """True and false rows that join once more: the null of rows that are neither."""
    TUNED_CONTROLS = 42
    """Random directions in place of a base's."""
    ANCHORS = 43
    """Which rows are anchors, and in which order they are taken for one another's."""
    SERIES = 44
    """Bootstrap over groups, and orders of checkpoints, behind a change point."""

    NEURON_ORIGINS = 33
    """Bootstrap over groups behind what a child's neurons are worth in its base."""
    MOVED_NEURONS = 34
    """Other neurons of the same layers to which a classifier's weights are moved."""
    MEDIATION_INTERVALS = 37
    """Bootstrap over groups behind the share of heads' effect that passes through neurons."""
    BALANCED_REPLIES = 48
    """Which of a model's consistent replies are kept, as many right as hallucinated ones."""
    NEURON_INTERVALS = 50
    """Bootstrap over groups behind what a set of neurons is worth."""
    RANDOM_NEURONS = 38
    """Neurons drawn in place of a set: of all layers, or as many of each."""
    SCALED_CONTROLS = 53
    """Which such sets are scaled beside the neurons."""
    IMAGE_NOISE = 54
    """The noise in an image with which another pass is contrasted."""
    LISTED_HEADS = 55
    """Heads shuffled or drawn inside layers: the null and the interval of a list of heads."""
    GATE_SWITCHES = 57
    """Switches of heads while a gate is learned, and where gates between 0 and 1 begin."""
    LEARNED_ROWS = 58
    """Which questions small fits of a learned gate are given."""
    FRONTIER_HEADS = 59
    """Heads in an order of chance, and as many of a layer in place of others: controls of learned gates."""
    MATCHED = 60
    """Which rows of a cell stay, where the surface of answers is matched."""
    SURFACE_INTERVALS = 61
    """Bootstrap over groups behind what the surface of answers tells."""
    SWAPS = 62
    """Which questions trade answers, so that no answer tells its label."""
    RESIDUAL_INTERVALS = 63
    """Bootstrap over groups behind what heads add to the surface of answers."""
    UNTRAINED = 64
    """The weights of a model's untrained twin."""


def stream(seed: int, purpose: Stream, *part: int) -> np.random.Generator:
    """The random numbers of one purpose under a seed; of one part of it, where a purpose has several.

    >>> lens_truth.stream(0, lens_truth.Stream.FOLDS).permutation(5)
    """
    return np.random.default_rng([seed, int(purpose), *part])
