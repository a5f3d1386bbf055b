"""Examples by name: the zoo's own (`zoo:text`, `zoo:image`, ...), world facts (`facts:conflict`, ...), a file in one of
the `formats`, alone (`FILE`) or with the name of its data set in front (`halueval:FILE`); memory against context, made
of such a file (`conflict:FILE`, `conflict:halueval:FILE`), and rows rewritten so that no answer tells its label
(`swap:FILE`, `cloze:FILE`); and by the probing settings of TruthProbe:

| setting | text models | multimodal models |
|---|---|---|
| A | HaluEval | HaluEval, no image |
| B | HaluEval | HaluEval with a black image |
| C | PhD as text | PhD with its images |
| D | HaluEval | RLHF-V with its images |
| E | HaluEval and PhD as text | RLHF-V and PhD with their images |

Without files a setting runs on the zoo: its stories stand for HaluEval, its questions whether a thing is there for PhD,
its pictures for RLHF-V.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from lens_truth.data import world_examples as zoo
from lens_truth.data.agreement import label_warnings, repeats
from lens_truth.data.examples import Example
from lens_truth.data.exchanges import conflicts
from lens_truth.data.fact_passages import DIFFICULTIES, Difficulty
from lens_truth.data.fact_sets import FACT_KINDS, FactKind, fact_examples
from lens_truth.data.formats import SOURCES, open_data
from lens_truth.data.h_neurons import marked_replies, read_marked
from lens_truth.data.images import BLACK
from lens_truth.data.replies import Reply, whole_replies
from lens_truth.data.rewrites import cloze_examples, swapped_answers
from lens_truth.data.world import Split
from lens_truth.errors import InputError, notice
from lens_truth.io.stages import stage

DEFAULT_ROWS = 1200
"""How many examples a generated data set has unless a limit says otherwise."""

_ZOO: dict[str, Callable[[Split, int, int], list[Example]]] = {
    "zoo:text": zoo.text_examples,
    "zoo:conflict": zoo.conflict_examples,
    "zoo:presence": zoo.presence_examples,
    "zoo:image": zoo.image_examples,
    "zoo:image-conflict": zoo.image_conflict_examples,
    "zoo:image-presence": partial(zoo.image_presence_examples, kind="random"),
}
_SPLITS: tuple[Split, ...] = get_args(Split)
FACTS = "facts:"
"""What names of data sets of world facts begin with."""
_REWRITTEN: dict[str, Callable[[Sequence[Example], Path, int], list[Example]]] = {
    "conflict:": conflicts,
    "swap:": lambda examples, _, seed: swapped_answers(examples, seed=seed),
    "cloze:": lambda examples, _, seed: cloze_examples(examples, seed=seed),
}
"""What names of files begin with whose rows are to be rewritten, and who does it."""

Setting = Literal["A", "B", "C", "D", "E"]
Part = Literal["halueval", "phd", "phd_text", "rlhfv"]

_PARTS: dict[Setting, tuple[tuple[Part, ...], tuple[Part, ...]]] = {  # of text models, of multimodal models
    "A": (("halueval",), ("halueval",)),
    "B": (("halueval",), ("halueval",)),
    "C": (("phd_text",), ("phd",)),
    "D": (("halueval",), ("rlhfv",)),
    "E": (("halueval", "phd_text"), ("rlhfv", "phd")),
}
_STAND_INS = {"halueval": "zoo:text", "phd": "zoo:image-presence", "phd_text": "zoo:presence", "rlhfv": "zoo:image"}
_TITLES: dict[Part, str] = {"halueval": "HaluEval", "phd": "PhD", "phd_text": "PhD as text", "rlhfv": "RLHF-V"}
_FLAGS: dict[Part, str] = {
    "halueval": "--halueval FILE",
    "phd": "--phd FILE",
    "phd_text": "--phd-text FILE, or --phd FILE for its questions alone",
    "rlhfv": "--rlhfv FILE",
}


def load_examples(
    name: str, *, limit: int | None = None, seed: int = 0, images: Path | None = None, images_needed: bool = True
) -> list[Example]:
    """The examples of a data set.

    >>> examples = lens_truth.load_examples("zoo:text/test", limit=200)
    >>> examples = lens_truth.load_examples("my-rows.jsonl")

    Args:
        name: `zoo:text`, `zoo:conflict`, `zoo:presence` and the same with pictures, `zoo:image`, `zoo:image-conflict`,
            `zoo:image-presence` (their train split; `zoo:text/test` for another); `facts:conflict` and others of world
            facts (`lens_truth/data/fact_sets.py`), also at one difficulty, `facts:conflict@passing/test`; or a
            file: of examples, or as HaluEval, TruthfulQA, PhD, RLHF-V, POPE, SQuAD, HotpotQA, TriviaQA, H-Neurons,
            NQ-Swap, FaithEval, MemoTrap, RAGTruth and statements (`lens_truth/data/statements.py`; also a part,
            `FILE/train`) are released, which its fields tell. With `halueval:FILE`, `truthfulqa:`, `phd:`,
            `phd-text:`, `rlhfv:`, `pope:`, `squad:`, `hotpot:`, `triviaqa:`, `h-neurons:`, `nqswap:`, `faitheval:`,
            `memotrap:`, `ragtruth:` or `statements:` it has to be such a file. SQuAD and HotpotQA have evidence; in
            HotpotQA and TriviaQA, and in SQuAD but for answers to its unanswerable questions, all answers are
            supported.
            With `conflict:` in front of any of these, right answers trade places in their contexts
            (`lens_truth/data/exchanges.py`); with `swap:` they go to one another's questions, and with `cloze:`
            questions are made of the contexts (`lens_truth/data/rewrites.py`).
        limit: only the first so many examples.
        seed: of generated data, and of which answers trade places; files are read as they are.
        images: the folder of the image files that rows name.
        images_needed: False reads published rows about images without these, for looking at rows alone.

    Raises:
        InputError: for an unknown name, or whatever the reader finds wrong.
    """
    return read_data_set(name, limit, seed, images, images_needed=images_needed).examples


def load_replies(
    name: str, *, limit: int | None = None, seed: int = 0, images: Path | None = None, labels: Path | None = None
) -> list[Reply]:
    """Labelled replies of a data set, and where in each the answer lies: in a file as H-Neurons publishes them
    (`h-neurons:FILE`, `lens_truth/data/h_neurons.py`), as `lens-truth neurons sample` writes it too, in the tokens that
    are marked; in every other data set the answer is all of a reply.

    >>> replies = lens_truth.load_replies("facts:closed-book", limit=400)

    Args:
        limit: as `load_examples` has it.
        seed: as `load_examples` has it.
        images: as `load_examples` has it.
        labels: of such a file the ids of right (`t`) and hallucinated (`f`) replies; by default the file beside it,
            `NAME_train_qids.json` to `NAME_answer_tokens_train.jsonl`.

    Raises:
        InputError: as `load_examples`; if no label is known, or of no reply where its answer lies.
    """
    check_limit(limit)
    if not name.startswith(("zoo:", FACTS, *_REWRITTEN)):
        source, path = _source_and_file(name)
        if path.is_file():
            format, file = open_data(path, source, images, limit)
            if format.read is read_marked:
                return marked_replies(file, labels)
    if labels is not None:
        raise InputError(f"{name}: holds no replies with marked answer tokens, whose labels {labels} could tell")
    return whole_replies(load_examples(name, limit=limit, seed=seed, images=images))


@dataclass(frozen=True)
class DataSet:
    """What `load_examples` gives, and what it was read from."""

    examples: list[Example]
    format: str = ""
    """Of a published file, as people call it; empty for generated data and for files of examples."""
    n_rows: int = 0
    """Rows read from it."""


@stage("data")
def read_data_set(
    name: str, limit: int | None = None, seed: int = 0, images: Path | None = None, *, images_needed: bool = True
) -> DataSet:
    """`load_examples`, with the format that was recognised."""
    check_limit(limit)
    if name.startswith("zoo:"):
        kind, _, split = name.partition("/")
        if kind not in _ZOO or split not in ("", *_SPLITS):
            names = ", ".join(f"{kind}[/{'|'.join(_SPLITS)}]" for kind in _ZOO)
            raise InputError(f"there is no data set '{name}'; the zoo offers {names}")
        chosen: Split = split or "train"  # pyright: ignore[reportAssignmentType] (checked above)
        return DataSet(_ZOO[kind](chosen, limit or DEFAULT_ROWS, seed))
    if name.startswith(FACTS):
        kind, split, level = fact_set(name)
        return DataSet(fact_examples(kind, split, limit or DEFAULT_ROWS, seed, level))
    rewrite = next((prefix for prefix in _REWRITTEN if name.startswith(prefix)), "")
    source, path = _source_and_file(name.removeprefix(rewrite))
    path, part = (path.parent, path.name) if path.parent.is_file() else (path, "")
    format, file = open_data(path, source, images, None if rewrite else limit, images_needed=images_needed, part=part)
    assert format.read is not None
    examples = format.read(file)
    if rewrite:
        examples = _REWRITTEN[rewrite](examples, path, seed)[:limit]
    return DataSet(examples, format.name if format.sources else "", file.n_rows)


def fact_set(name: str) -> tuple[FactKind, Split, Difficulty | None]:
    """What `facts:KIND@DIFFICULTY/SPLIT` means, of which the kind alone must be said."""
    which, _, split = name.removeprefix(FACTS).partition("/")
    kind, at, level = which.partition("@")
    if kind not in FACT_KINDS or split not in ("", *_SPLITS) or (at and level not in DIFFICULTIES):
        raise InputError(
            f"there is no data set '{name}'; it is facts:KIND@DIFFICULTY/SPLIT, of which the last two may be left out: "
            f"KIND is {', '.join(FACT_KINDS)}; DIFFICULTY {', '.join(DIFFICULTIES)}; SPLIT {', '.join(_SPLITS)}"
        )
    return kind, split or "train", level or None  # pyright: ignore[reportReturnType] (checked above)


def check_limit(limit: int | None) -> None:
    """Raises an InputError if nothing can be limited to so many."""
    if limit is not None and limit < 1:
        raise InputError(f"the limit is {limit}; it must be at least 1")


def _source_and_file(name: str) -> tuple[str, Path]:
    source, _, rest = name.partition(":")
    if source in SOURCES and rest:
        return source, Path(rest)
    looks_like_a_file = "/" in name or (Path(name).suffix and ":" not in name)
    if not looks_like_a_file and not Path(name).is_file():
        formats = ", ".join(f"{source}:FILE" for source in (*(prefix[:-1] for prefix in _REWRITTEN), *SOURCES))
        raise InputError(
            f"there is no data set '{name}', nor such a file; generated ones are {', '.join(_ZOO)} and facts:KIND, and "
            f"files may have their format in front ({formats})"
        )
    return "", Path(name)


def setting_sources(setting: Setting, multimodal: bool, files: Mapping[Part, Path]) -> list[str]:
    """The names of a setting's data sets, as `load_examples` knows them: of the zoo's if no file is given at all."""
    if setting not in get_args(Setting):
        raise InputError(f"there is no setting '{setting}'; the settings are {', '.join(get_args(Setting))}")
    parts = _PARTS[setting][multimodal]
    if not files:
        return [_STAND_INS[part] for part in parts]
    sources: list[str] = []
    for part in parts:
        file = files.get(part) or (files.get("phd") if part == "phd_text" else None)
        if file is None:
            kind = "multimodal" if multimodal else "text"
            data = " and ".join(_TITLES[each] for each in parts)
            raise InputError(
                f"setting {setting} probes {kind} models on {data}, and the file of {_TITLES[part]} is missing: give "
                f"{_FLAGS[part]}, or no files at all for the zoo's data"
            )
        sources.append(f"{part.replace('_', '-')}:{file}")
    return sources


@stage("data")
def setting_examples(
    setting: Setting,
    multimodal: bool,
    files: Mapping[Part, Path],
    *,
    images: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> list[Example]:
    """The examples that a text or a multimodal model is probed on. Repeated answers, and answers that have both labels
    inside one data set or in two, are warned of (`DataWarning`).

    Args:
        files: where the data sets are; none for the zoo's.
        images: the folder of the image files.
        limit: only the first so many examples of each data set.
        seed: of generated data.
    """
    sources = setting_sources(setting, multimodal, files)
    sets = {name: load_examples(name, limit=limit, seed=seed, images=images) for name in sources}
    for sentence in label_warnings(sets):
        notice(sentence)
    examples = [example for part in sets.values() for example in part]
    if twice := repeats(examples)[0]:
        notice(f"{twice} of the {len(examples)} rows of {' and '.join(sets)} repeat other rows, which so count twice")
    return [replace(example, image=BLACK) for example in examples] if setting == "B" and multimodal else examples


def describe(examples: Sequence[Example]) -> str:
    """One line for the terminal: rows, groups, share of supported answers."""
    groups, supported = {example.group for example in examples}, sum(example.label for example in examples)
    return f"{len(examples)} examples in {len(groups)} groups, {supported / len(examples):.0%} supported"
