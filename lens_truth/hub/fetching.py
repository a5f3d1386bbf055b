"""`from_hub`: a thing from a repository of the Hugging Face Hub, and which commit it was read from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from lens_truth.errors import InputError
from lens_truth.hub.addresses import PREFIX
from lens_truth.hub.said import one_sentence
from lens_truth.hub.things import FOLDER, SUFFIX, file_called, read_thing
from lens_truth.io.stages import stage

if TYPE_CHECKING:
    from lens_truth.hub.things import Thing


def from_hub(repo: str, name: str | None = None, *, revision: str | None = None) -> Thing:
    """Scores, a gate, a shift, a gate of neurons, probes or a set of neurons that `push_to_hub` shared. `hub` in its
    provenance tells the commit: `org/name@COMMIT/lens_truth/gate.safetensors`.

    Only that file is fetched, into huggingface_hub's cache; its settings (`HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN`) count,
    and with `HF_HUB_OFFLINE=1` what lies in the cache is read.

    >>> gate = lens_truth.from_hub("org/name", "gate", revision="0123abc")
    >>> gate.provenance["hub"]

    Args:
        repo: a repository of a model on the hub.
        name: of the thing: `truth-scores`, `gate`, `shift`, `neuron-gate`, `probes`, `neurons`, or as it was called;
            or the path of a file there, also of one that lens_truth did not push (`scores/llama.npy`). By default the
            only thing that there is.
        revision: a branch, a tag or a commit; by default `main`.

    Raises:
        InputError: if it cannot be had, or is not readable; or there are several and none was named.
    """
    found = fetched(repo, name, revision)
    try:
        thing = read_thing(found.path)
    except InputError as error:
        raise InputError(str(error).replace(str(found.path), found.address)) from error
    return replace(thing, provenance={**thing.provenance, "hub": found.address})


@dataclass(frozen=True)
class Fetched:
    """A file of a repository, in the cache."""

    path: Path
    address: str
    """`ORG/NAME@COMMIT/FILE`."""


@stage("load")
def fetched(repo: str, name: str | None = None, revision: str | None = None) -> Fetched:
    """The file of a thing, which is fetched if it is not in the cache."""
    import huggingface_hub

    file = file_called(name) if name is not None else _only_one(repo, revision)
    at = "" if revision is None else f"@{revision}"
    with one_sentence(f"{PREFIX}{repo}{at}/{file} cannot be read"):
        path = Path(huggingface_hub.hf_hub_download(repo, file, revision=revision))
    commit = path.parents[len(PurePosixPath(file).parts) - 1].name
    return Fetched(path, f"{repo}@{commit}/{file}")


def names_in(repo: str, revision: str | None = None) -> list[str]:
    """The files of the things in a repository; where the hub is out of reach, of those in the cache."""
    import huggingface_hub
    from huggingface_hub.errors import OfflineModeIsEnabled

    at = "" if revision is None else f"@{revision}"
    with one_sentence(f"{PREFIX}{repo}{at} cannot be read"):
        try:
            there = huggingface_hub.HfApi().model_info(repo, revision=revision).siblings or []
            files = [its.rfilename for its in there]
        except OfflineModeIsEnabled:
            kept = partial(huggingface_hub.snapshot_download, allow_patterns=[f"{FOLDER}/*"], local_files_only=True)
            folder = Path(kept(repo, revision=revision))
            files = [path.relative_to(folder).as_posix() for path in folder.glob(f"{FOLDER}/*")]
    return sorted(file for file in files if str(PurePosixPath(file).parent) == FOLDER and file.endswith(SUFFIX))


def _only_one(repo: str, revision: str | None) -> str:
    files = names_in(repo, revision)
    if len(files) == 1:
        return files[0]
    names = ", ".join(PurePosixPath(file).name.removesuffix(SUFFIX) for file in files)
    if not files:
        raise InputError(f"{PREFIX}{repo}: holds nothing of lens_truth's in its folder {FOLDER}/")
    raise InputError(f"{PREFIX}{repo}: holds {names}; say which one, as {PREFIX}{repo}/{names.partition(',')[0]}")
