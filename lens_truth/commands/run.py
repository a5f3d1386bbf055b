"""What all commands have in common: flags of a model, scores by kind, and `Run`, the frame of a run from the check of
the output folder to the words of farewell."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import lens_truth
from lens_truth.errors import InputError, first_line, gathered_notices, lacks_memory, notice
from lens_truth.io.files import alone_in, check_out, hash_of, remove_leftovers, write_text
from lens_truth.io.numbers import count
from lens_truth.io.runs import COMMAND_LINE, RESULT, for_json, write_record
from lens_truth.io.stages import seconds_by_stage
from lens_truth.io.tables import print_warnings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lens_truth.io.results import Result
    from lens_truth.models.prompts import Template

KINDS = ("truth", "causal", "learned", "residual")
PROBED = ("truth", "residual")
"""Of these, what probes say, for which answers of one label to each question are enough."""
ASKED = {"plain": "in the benchmark's own wording", "chat": "by its chat template"}
"""What is said of a template."""
LOG = "answers.jsonl"
"""Every answer of a run, written as it is given."""
_FEW = 10
"""Fewer groups make no interval to be trusted."""
_LOCK = ".lens-truth.lock"


@dataclass(frozen=True)
class Device:
    """Where a model runs."""

    device: str = "cpu"
    """Where the model runs: cpu, cuda, cuda:1, mps; auto spreads it over all GPUs, and what does not fit over
    the CPU and the disk; cuda:0,cuda:1 spreads it over these alone, cuda:0=20GiB,cpu=60GiB,disk puts so much on
    each."""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """Number format of the weights; auto keeps the checkpoint's (bfloat16 for quantised GGUF files)."""
    trust_remote_code: bool = False
    """Let a checkpoint run code of its own."""


@dataclass(frozen=True)
class OneModel:
    """What belongs to `--model`, of commands that take one."""

    adapter: str | None = None
    """An adapter on --model (LoRA or another of PEFT's): a folder, or a Hugging Face id. The same as --model
    MODEL+ADAPTER, which other flags for models take too."""

    def __post_init__(self) -> None:
        if self.adapter is not None:
            vars(self).update(model=f"{vars(self)['model']}+{self.adapter}", adapter=None)


@dataclass(frozen=True)
class Compute(Device):
    """Where and how a model runs."""

    seed: int = 0
    """Seed of every random choice."""
    batch_size: int | None = None
    """Rows of up to 64 tokens in one forward pass, fewer of longer ones, since memory goes by tokens; by default what
    fits into half of a GPU's free memory, and on a CPU 32 rows (128 that write). Where memory runs out, half of them
    go on."""


@dataclass(frozen=True)
class Rows(Compute):
    """What a model is shown, and how."""

    images: Path | None = None
    """Folder with the images that data from a file names."""
    limit: int | None = None
    """Only the first so many examples (answers, not questions); of a file those that stand first in it."""

    def examples(self, data: str) -> list[lens_truth.Example]:
        """The rows of a data set that the flags leave."""
        return read_data(data, self.limit, self.seed, self.images)


def read_data(
    name: str, limit: int | None, seed: int, images: Path | None, *, images_needed: bool = True
) -> list[lens_truth.Example]:
    """`load_examples`, which says as what a file was read and how many rows it has."""
    from lens_truth.data.loading import read_data_set

    found = read_data_set(name, limit, seed, images, images_needed=images_needed)
    if found.format:
        print(f"{name}: read as {found.format}, {found.n_rows} rows")
    return found.examples


def warn_of(examples: Sequence[lens_truth.Example], name: str) -> None:
    """Says what makes whatever is fitted on these rows an artefact, as far as that takes a second or two
    (`DataWarning`): the quick part of `audit`."""
    from lens_truth.confounds.audit import quick_findings
    from lens_truth.confounds.findings import warnings_of

    for sentence in warnings_of(quick_findings(examples), name):
        notice(sentence)


def load_model(name: str, flags: Device) -> Any:
    """The hooked model that the flags describe."""
    return lens_truth.load(name, device=flags.device, dtype=flags.dtype, trust_remote_code=flags.trust_remote_code)


def scores_by_kind(
    kind: str,
    model: Any,
    examples: Sequence[lens_truth.Example],
    flags: Compute,
    template: Template = "plain",
    **probe: Any,
) -> lens_truth.HeadScores:
    """Scores of a kind (truth, causal, learned, residual), computed on `examples`; truth scores also on matched rows.

    Args:
        probe: what `truth_scores` is to be given; no null is drawn unless `n_permutations` says so (None: the rule).
    """
    from lens_truth.models.placing import device_of

    how: dict[str, Any] = {"seed": flags.seed}
    passes: dict[str, Any] = {"template": template, "batch_size": flags.batch_size}
    if kind not in PROBED:
        make = lens_truth.causal_scores if kind == "causal" else lens_truth.learned_gate
        return make(model, examples, **passes, **how)
    activations = lens_truth.capture(model, examples, **passes)
    settings: dict[str, Any] = {"n_permutations": 0, "device": device_of(model), **how, **probe}
    return probed_scores(kind, activations, examples, **settings)


def probed_scores(
    kind: str, activations: lens_truth.HeadActivations, examples: Sequence[lens_truth.Example], **how: Any
) -> lens_truth.HeadScores:
    """Truth scores, on matched rows too, or residual scores, which have no null, of probes.

    Args:
        how: what `truth_scores` is to be given.
    """
    from lens_truth.scoring.matched import on_matched

    if kind == "residual":
        return lens_truth.residual_scores(
            activations, examples, **{name: its for name, its in how.items() if name != "n_permutations"}
        )
    scores, made = lens_truth.truth_scores(activations, **how), {**how}
    made.pop("n_permutations", None)
    return on_matched(scores, activations, examples, **made)


def activations_folder(
    keep: Path, model: Any, examples: Sequence[lens_truth.Example], template: str, batch_size: int | None, *more: str
) -> Path:
    """The folder inside another one for what a model does on some rows: its name hangs on all that decides it (`more`:
    what else does)."""
    from lens_truth.models.hashing import weights_hash
    from lens_truth.models.provenance import setup_hash

    shown = hash_of_examples(examples), template, str(batch_size)
    return keep / hash_of(weights_hash(model), setup_hash(model), *shown, *more)


def hash_of_examples(examples: Sequence[lens_truth.Example]) -> str:
    """Of everything in them that a model is shown."""
    from lens_truth.data.examples import examples_hash

    return examples_hash(examples)


def plain_name(model: str) -> str:
    """A model's name as part of a file's name."""
    return re.sub(r"[^\w.-]+", "-", model).strip("-.")


def shown_name(model: str) -> str:
    """What titles and sentences call it: a folder with an absolute path by its last part."""
    return Path(model).name if Path(model).is_absolute() else model


class Run:
    """One run of a command, which lasts as long as its context is open: `with Run("evidence", config) as run:`.

    Inside, data warnings (`DataWarning`) are printed at once and gathered, no other run has the output folder, and what
    killed ones had begun to write there is gone. What is written is listed; when the context closes without an error,
    `result.json` is written, last of all files, so that it stands for a finished run, and the other warnings and the
    list are printed.
    """

    def __init__(self, command: str, config: Any, out: Path | None = None) -> None:
        self._command, self._config = command, config
        self._open = ExitStack()
        self.out: Path = config.out if out is None else out
        self.results: dict[str, Any] = {}
        self.hashes: dict[str, Any] = {}
        self.warnings: list[str] = []
        self._told: list[str] = []
        self._files = [RESULT]

    def __enter__(self) -> Run:
        check_out(self.out)
        self._open.enter_context(alone_in(self.out, self.out / _LOCK))
        for inner in (*self.out.glob("scores"), *self.out.glob("activations/*")):
            remove_leftovers(inner)
        self.warnings = self._open.enter_context(gathered_notices(self._tell))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        with self._open:
            if kind is None:
                self.write_record(self.out)
        if error is not None and lacks_memory(error):  # else than in batches, which are halved
            raise InputError(
                f"the memory is too small for this model: --dtype bfloat16 takes less ({first_line(error)})"
            ) from error
        if kind is not None:
            return
        print_warnings([sentence for sentence in self.warnings if sentence not in self._told])
        figures = " (each .png also as .pdf)" if any(name.endswith(".png") for name in self._files) else ""
        print(f"\nwritten to {self.out}/: {', '.join(self._files)}{figures}")

    def _tell(self, sentence: str) -> None:
        """At once: what is wrong with the data is read before the numbers that rest on it."""
        print_warnings([sentence])
        self._told.append(sentence)

    def printed(self, sentences: Sequence[str]) -> None:
        """Adds warnings that the command prints in its own place."""
        self.warnings += sentences
        self._told += sentences

    def write_record(self, folder: Path) -> None:
        """Writes what is known so far as `result.json`: of itself where a command makes its folder at one stroke."""
        spent = seconds_by_stage()
        record = {
            "command": self._command,
            "command_line": COMMAND_LINE.get(),
            "results": self.results,
            "warnings": self.warnings,
            "config": {name: for_json(value) for name, value in asdict(self._config).items()},
            "hashes": self.hashes,
            "seconds": round(sum(spent.values()), 2),
            "seconds_by_stage": spent,
        }
        write_record(folder, record)

    def wrote(self, name: str) -> Path:
        """The path of a file in the output folder, which is listed as written; from the first one on, an earlier run's
        result.json is gone, since it does not tell of these files."""
        if Path(name).name != name:
            raise InputError(f"'{name}' is no name of a file in {self.out}")
        if len(self._files) == 1:
            (self.out / RESULT).unlink(missing_ok=True)
        self._files.append(name)
        return self.out / name

    def rests_on(self, groups: Collection[str], what: str = "") -> None:
        """Warns of intervals (of what, if there are others) that are drawn over few groups of rows or questions."""
        if (n := len(set(groups))) < _FEW:
            self.warnings.append(
                f"{what}intervals rest on {count(n, 'group')} of examples; of fewer than {_FEW} they are rough, and "
                "mostly too narrow"
            )

    def figure(self, name: str, figure: Figure) -> None:
        """Saves a figure as .png and .pdf."""
        from lens_truth.plots.style import save

        save(figure, self.wrote(name))

    def text(self, name: str, text: str) -> None:
        """Writes a text."""
        write_text(self.wrote(name), text)

    def heads(self, maps: Mapping[str, lens_truth.HeadScores]) -> None:
        """Puts scores by title into result.json, where the report finds them."""
        self.results.setdefault("head_scores", {}).update({title: its.as_dict() for title, its in maps.items()})

    def hold(self, result: Result, name: str | None = None) -> None:
        """Puts a result into result.json, under its name where a run can have several; what does not fit into JSON goes
        into a file beside it."""
        held = {result.part: result.in_record()} if name is None else {name: result.in_record()}
        (self.results if name is None else self.results.setdefault(result.part, {})).update(held)
        self._files += result.save_arrays(self.out)
