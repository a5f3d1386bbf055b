"""What the methods of `compare` are made from: scores, probes and lists of heads, each computed once, on rows that
judge nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import lens_truth
from lens_truth.commands.run import load_model, scores_by_kind
from lens_truth.commands.score_sources import list_part, short_name
from lens_truth.errors import InputError

if TYPE_CHECKING:
    from lens_truth.commands.ablate_data import Parts
    from lens_truth.commands.compare import Config


class UnfitError(Exception):
    """Why a method does not fit the model or the data."""


@dataclass
class Given:
    """The model, its questions, and what is computed for methods."""

    model: Any
    parts: Parts
    config: Config
    scored: dict[str, lens_truth.HeadScores] = field(default_factory=dict[str, "lens_truth.HeadScores"])
    """Scores that were computed, by title."""
    _sibling: Any = None
    _lists: dict[str, lens_truth.HeadList] = field(default_factory=dict[str, "lens_truth.HeadList"])
    _scores: dict[str, lens_truth.HeadScores] = field(default_factory=dict[str, "lens_truth.HeadScores"])

    def read(self) -> None:
        """Reads what flags name, so that what is wrong there is told before anything is computed."""
        config = self.config
        self._lists = {its: self._listed(its) for its in (config.heads, config.hallucination_heads) if its is not None}
        if config.sibling is not None:
            self._sibling = load_model(config.sibling, config)

    def asks(self, what: str) -> bool:
        """Whether a question that judges has such a thing: a context, an image."""
        return any(getattr(example, what) for benchmark in self.parts.test for example in benchmark.examples)

    @property
    def rows(self) -> list[lens_truth.Example]:
        """Rows with answers of both labels, which judge nothing."""
        if len({example.label for example in self.parts.to_score}) < 2:
            raise UnfitError("there are no rows with answers of both labels to compute it on")
        return self.parts.to_score

    def scores(self, kind: str) -> lens_truth.HeadScores:
        """Of a kind (truth, causal, learned)."""
        if kind not in self._scores:
            from lens_truth.scoring.learned import kept_fit

            rows, template = self.rows, self.config.scoring
            made = kept_fit(
                self.config.out / "scores",
                (self.model, rows, template, kind, {}, self.config.seed),
                lambda: scores_by_kind(kind, self.model, rows, self.config, template),
            )
            self._keep(kind, made)
        return self._scores[kind]

    def _keep(self, kind: str, made: lens_truth.HeadScores) -> None:
        named = replace(made, provenance={**made.provenance, "data": short_name(self.config.data)})
        self._scores[kind] = self.scored[f"{kind} scores"] = named

    @cached_property
    def probes(self) -> tuple[lens_truth.HeadActivations, lens_truth.HeadProbes]:
        """Of every head, and the activations that they are fitted on."""
        from lens_truth.models.placing import device_of

        config = self.config
        seen = lens_truth.capture(self.model, self.rows, template=config.scoring, batch_size=config.batch_size)
        return seen, lens_truth.HeadProbes.fit(seen, seed=config.seed, device=device_of(self.model))

    @property
    def sibling(self) -> Any:
        """The model of --sibling."""
        if self._sibling is None:
            raise UnfitError("no sibling is named (--sibling)")
        return self._sibling

    @cached_property
    def copying(self) -> lens_truth.HeadScores | list[tuple[int, int]]:
        """Heads that copy from the context: those of --heads, or by the model's own retrieval scores. Where the
        evidence lies in images, by how much they look at it; where no row has evidence, by causal scores."""
        if self.config.heads is not None:
            listed = self._lists[self.config.heads]
            return list(listed.heads) if listed.scores is None else listed.scores
        right = [example for example in self.parts.to_score if example.label and example.has_evidence]
        if not right:
            return self.scores("causal")
        how: dict[str, Any] = {"template": self.config.scoring, "batch_size": self.config.batch_size}
        looked = lens_truth.evidence_attention(self.model, right, seed=self.config.seed, **how).scores()
        self._keep("retrieval", looked.get("retrieval", looked["evidence"]))
        return self._scores["retrieval"]

    @cached_property
    def misleading(self) -> lens_truth.HeadScores | list[tuple[int, int]]:
        """Heads that make it hallucinate: those of --hallucination-heads, or those with the lowest causal scores."""
        if self.config.hallucination_heads is not None:
            return list(self._lists[self.config.hallucination_heads].heads)
        causal = self.scores("causal")
        return replace(causal, values=-causal.values, kind="against", metrics={}, folds=None)

    def _listed(self, given: str) -> lens_truth.HeadList:
        """A list from a file, or FILE#NAME, one of several in it; an InputError says with the file if it is of another
        model."""
        file, part = list_part(given)
        listed = lens_truth.HeadList.load(file, part=part)
        try:
            listed.marks(self.model.cfg.n_layers, self.model.cfg.n_heads)
        except InputError as error:
            raise InputError(f"{given}: {error}") from error
        return listed
