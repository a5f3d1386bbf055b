"""Scores, gates, shifts, probes and sets of neurons on the Hugging Face Hub: push puts one into a repository, with a
card, after asking; pull fetches what is there. Token, endpoint and cache are huggingface_hub's."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from lens_truth.errors import InputError


@dataclass(frozen=True)
class Push:
    """Puts a file of scores, probes, a gate, a shift or neurons into a repository, which is made if there is none."""

    file: Annotated[Path, tyro.conf.Positional]
    """What is pushed; scores of any format go as .safetensors."""
    repo: Annotated[str, tyro.conf.Positional]
    """ORG/NAME, a repository of a model on the hub."""
    name: str | None = None
    """What it is called there, by default by what it is: truth-scores, gate, shift, neuron-gate, probes, neurons."""
    private: bool = False
    """Make a new repository private; nothing is pushed to one that is public."""
    branch: str | None = None
    """The branch, which is made if there is none; by default main."""
    message: str | None = None
    """Of the commit."""
    add_card: bool = False
    """Add what is told of it to a README.md that lens_truth did not write, which is otherwise left as it is."""
    yes: bool = False
    """Do not ask."""
    dry_run: Path | None = None
    """Write what would be pushed to a new repository into this folder, and push nothing."""

    def do(self) -> None:
        """Shows what would be pushed, asks, and pushes."""
        from lens_truth.hub.pushing import CARD, files_of, push_to_hub, readme_of
        from lens_truth.hub.things import file_of, read_thing

        thing = read_thing(self.file)
        path = file_of(thing, self.name)
        if self.dry_run is not None:
            return _write(self.dry_run, files_of(thing, self.repo, path, None))
        if not self.yes and not sys.stdin.isatty():
            raise InputError(
                f"nobody can be asked whether to push {self.file} to {self.repo}: say --yes, or see what it would be "
                "with --dry-run FOLDER"
            )
        files = files_of(thing, self.repo, path, readme_of(self.repo, self.branch), add_card=self.add_card)
        print(f"to {self.repo}{f', branch {self.branch}' if self.branch else ''}:")
        for name, content in files.items():
            print(f"  {name}  {len(content):,} bytes")
        left = "README.md has no part of lens_truth's, or needs none, and is left as it is (--add-card adds one)"
        print(f"\n{files[CARD].decode(errors='replace') if CARD in files else left}")
        if not self.yes and input("push this? [y/N] ").strip().lower() not in ("y", "yes"):
            return print("nothing was pushed")
        how = {"name": self.name, "revision": self.branch, "message": self.message}
        done = push_to_hub(thing, self.repo, private=self.private or None, add_card=self.add_card, **how)
        return print(f"pushed: {done}")


@dataclass(frozen=True)
class Pull:
    """Fetches a thing, or all that lens_truth put into a repository, into a folder."""

    repo: Annotated[str, tyro.conf.Positional]
    """ORG/NAME, ORG/NAME@REVISION or ORG/NAME@REVISION/FILE: a branch, a tag or a commit, and one thing of several."""
    out: Path = Path("runs/hub")
    """Folder for the files."""

    def do(self) -> None:
        """Fetches, checks that it can be read, and writes."""
        from lens_truth.hub.addresses import PREFIX, parts_of
        from lens_truth.hub.fetching import fetched, names_in
        from lens_truth.hub.things import read_thing

        repo, name, revision = parts_of(self.repo)
        names = [name] if name is not None else names_in(repo, revision)
        if not names:
            raise InputError(f"{PREFIX}{repo}: holds nothing of lens_truth's in its folder lens_truth/")
        found = [fetched(repo, name, revision) for name in names]
        for its in found:
            read_thing(its.path)
            print(f"read {its.address}")
        _write(self.out, {its.path.name: its.path.read_bytes() for its in found})


Config = Annotated[Push, tyro.conf.subcommand("push")] | Annotated[Pull, tyro.conf.subcommand("pull")]

DEFAULT_ARGUMENTS = ("--help",)


def run(config: Push | Pull) -> None:
    """Runs one subcommand."""
    config.do()


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Files by their paths inside a folder, each whole or not at all."""
    from lens_truth.io.files import check_out, write_bytes

    check_out(folder)
    for name, content in files.items():
        write_bytes(folder / name, content)
    print(f"written to {folder}/: {', '.join(files)}")
