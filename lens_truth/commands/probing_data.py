"""What models are scored on: one data set, or a setting of the paper's, which gives text models and multimodal models
data of their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lens_truth.errors import InputError

if TYPE_CHECKING:
    from lens_truth.data.examples import Example
    from lens_truth.data.paper_settings import Part

_FILES: tuple[Part, ...] = ("halueval", "phd", "phd_text", "rlhfv")


@dataclass(frozen=True)
class SettingFlags:
    """The paper's probing settings, and where their data lies."""

    setting: Literal["A", "B", "C", "D", "E"] | None = None
    """A probing setting of the paper in place of --data; text models are probed on HaluEval (C: PhD as text; E: both),
    multimodal models on A HaluEval, B the same with a black image, C PhD, D RLHF-V, E RLHF-V and PhD. Without files on
    the zoo's data."""
    halueval: Path | None = None
    """HaluEval's csv file, for settings."""
    phd: Path | None = None
    """TruthProbe's PhD rows (.jsonl, .jsonl.gz), for settings."""
    phd_text: Path | None = None
    """PhD rows with a text context for the image, for text models in settings; by default the questions of --phd."""
    rlhfv: Path | None = None
    """TruthProbe's RLHF-V rows (.jsonl, .jsonl.gz), for settings."""
    images: Path | None = None
    """The folder of the image files that data names."""


@dataclass(frozen=True)
class ProbingData:
    """A data set by name, or a setting."""

    data: str = ""
    """As `load_examples` knows it; not looked at where there is a setting."""
    setting: Literal["A", "B", "C", "D", "E"] | None = None
    files: dict[Part, Path] = field(default_factory=dict["Part", Path])
    images: Path | None = None

    def sources(self, multimodal: bool) -> list[str]:
        """The names of the data sets that a text model or a multimodal model is scored on."""
        from lens_truth.data.paper_settings import setting_sources

        return [self.data] if self.setting is None else setting_sources(self.setting, multimodal, self.files)

    def is_generated(self, multimodal: bool) -> bool:
        """Whether all of it is drawn anew from a seed, as the zoo's data is."""
        return all(name.startswith("zoo:") for name in self.sources(multimodal))

    def asks_for_images(self, model: Any) -> bool:
        """Whether a model gets the setting's data for multimodal models."""
        from lens_truth.models.image_input import is_multimodal

        return self.setting is not None and is_multimodal(model)

    def load(self, multimodal: bool, limit: int | None, seed: int) -> list[Example]:
        """The examples; answers with both labels are warned of (`DataWarning`)."""
        from lens_truth.data.audit import label_warnings
        from lens_truth.data.loading import load_examples
        from lens_truth.data.paper_settings import setting_examples
        from lens_truth.errors import notice

        if self.setting is not None:
            return setting_examples(self.setting, multimodal, self.files, images=self.images, limit=limit, seed=seed)
        examples = load_examples(self.data, limit=limit, seed=seed, images=self.images)
        for sentence in label_warnings({self.data: examples}):
            notice(sentence)
        return examples

    def title(self, multimodal: bool) -> str:
        """For people: names without the folders that files lie in."""
        names = " and ".join(short_name(name) for name in self.sources(multimodal))
        return names if self.setting is None else f"{names} (setting {self.setting})"


def chosen_data(data: str | None, flags: SettingFlags, default: ProbingData) -> ProbingData:
    """What the flags ask for.

    Raises:
        InputError: for a data set and a setting at once, a setting's files without a setting, and images without rows.
    """
    files: dict[Part, Path] = {name: path for name in _FILES if (path := getattr(flags, name)) is not None}
    if data is not None and flags.setting is not None:
        raise InputError(f"--data {data} and --setting {flags.setting} were both given; a setting chooses its own data")
    if files and flags.setting is None:
        flag = next(iter(files)).replace("_", "-")
        raise InputError(f"--{flag} belongs to a setting; say which one with --setting A, B, C, D or E")
    if flags.images is not None and data is None and not files:
        raise InputError(f"--images {flags.images} was given, but no file of rows whose images lie there")
    if flags.setting is not None:
        return ProbingData(setting=flags.setting, files=files, images=flags.images)
    return default if data is None else ProbingData(data, images=flags.images)


def short_name(data: str) -> str:
    """A data set's name without the folders that its file lies in."""
    source, colon, rest = data.partition(":")
    if not colon:
        return Path(data).name
    return data if source == "zoo" else f"{source}:{Path(rest).name}"
