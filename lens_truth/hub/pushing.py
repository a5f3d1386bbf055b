"""`push_to_hub`: a thing to a repository of the Hugging Face Hub, with a card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lens_truth.errors import InputError
from lens_truth.hub.card import card_part, with_part
from lens_truth.hub.said import one_sentence
from lens_truth.hub.things import bytes_of, file_of
from lens_truth.io.runs import version_of
from lens_truth.io.stages import stage

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from lens_truth.hub.things import Thing

CARD = "README.md"
_ANY = "surrogateescape"
"""A card that is not UTF-8 keeps its bytes."""


@dataclass(frozen=True)
class Pushed:
    """What `push_to_hub` has done; as a text its address.

    >>> done: lens_truth.Pushed = lens_truth.push_to_hub(gate, "org/name")
    >>> print(done, done.commit)
    """

    repo: str
    commit: str
    """In full: what `from_hub` takes for its revision."""
    url: str
    """Of the commit."""
    files: tuple[str, ...]
    """What was written; files that were there already, as they are, are passed over by the hub."""

    def __str__(self) -> str:
        return self.url


@stage("push")
def push_to_hub(
    thing: Thing,
    repo: str,
    *,
    name: str | None = None,
    private: bool | None = None,
    revision: str | None = None,
    message: str | None = None,
    add_card: bool = False,
) -> Pushed:
    """Writes scores, a gate, a shift, a gate of neurons, probes or a set of neurons into a repository, which is made if
    there is none, as `lens_truth/NAME.safetensors`, so that a repository can hold several, and beside a model too.

    `README.md` gets a part that tells of it, made from its provenance, in place of an earlier one of that file; nothing
    else in a card that is there is changed. Absolute paths in the provenance are cut to their last part. Token,
    endpoint and cache are huggingface_hub's (`hf auth login`, `HF_TOKEN`, `HF_ENDPOINT`).

    >>> lens_truth.push_to_hub(scores, "org/name", private=True).commit
    >>> lens_truth.push_to_hub(gate, "org/name", name="gate-strong")

    Args:
        repo: `ORG/NAME`, a repository of a model.
        name: what it is called there; by default `truth-scores` (by their kind), `gate`, `shift`, `neuron-gate`,
            `probes` or `neurons`. What is called so there is replaced, and stays in the repository's history.
        private: of a new repository; by default as the hub has it. Where True and the repository is there and public,
            nothing is pushed.
        revision: the branch, which is made if there is none; by default `main`.
        message: of the commit.
        add_card: put the part at the end of a `README.md` of somebody else's, which is otherwise left as it is.

    Raises:
        InputError: in one sentence what the hub says against it.
    """
    file = file_of(thing, name)
    with one_sentence(f"{repo} cannot be pushed to"):
        api = _api()
        api.create_repo(repo, private=private, exist_ok=True)
        if private and not api.model_info(repo).private:
            raise InputError(f"{repo}: is there already, and is public; nothing was pushed, since it was to be private")
        if revision is not None and not revision.startswith("refs/"):
            api.create_branch(repo, branch=revision, exist_ok=True)
        readme, commit = _there(api, repo, revision)
    files = files_of(thing, repo, file, readme, add_card=add_card)
    with one_sentence(f"{repo} cannot be pushed to"):
        from huggingface_hub import CommitOperationAdd

        added = [CommitOperationAdd(path_in_repo=path, path_or_fileobj=content) for path, content in files.items()]
        message = message or f"{file}, by lens_truth {version_of('lens-truth')}"
        done = api.create_commit(repo, added, commit_message=message, revision=revision, parent_commit=commit)
    return Pushed(repo, done.oid, done.commit_url, tuple(files))


def files_of(thing: Thing, repo: str, file: str, readme: str | None, *, add_card: bool = False) -> dict[str, bytes]:
    """What is written into a repository that has such a README.md (None: none), by paths there."""
    card = with_part(readme, card_part(thing, repo, file), thing, repo, file, add=add_card)
    changed = {} if card is None or card == readme else {CARD: card.encode(errors=_ANY)}
    return {file: bytes_of(thing), **changed}


def readme_of(repo: str, revision: str | None = None) -> str | None:
    """The README.md of a repository now; None if it has none, or if there is no such repository or branch (yet)."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    with one_sentence(f"{repo} cannot be pushed to"):
        try:
            return _there(_api(), repo, revision)[0]
        except (RepositoryNotFoundError, RevisionNotFoundError):
            return None


def _there(api: HfApi, repo: str, revision: str | None) -> tuple[str | None, str | None]:
    """README.md, and the commit: what is pushed goes on top of it or not at all, so that nobody's words are lost."""
    info = api.model_info(repo, revision=revision)
    if CARD not in [file.rfilename for file in info.siblings or []]:
        return None, info.sha
    with TemporaryDirectory() as folder:
        path = Path(api.hf_hub_download(repo, CARD, revision=info.sha, local_dir=folder))
        return path.read_bytes().decode(errors=_ANY), info.sha


def _api() -> HfApi:
    from huggingface_hub import HfApi

    return HfApi(library_name="lens-truth", library_version=version_of("lens-truth"))
