"""The documentation held to the letter: its code compiles and runs, its commands exist, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import tyro

from lens_truth.cli import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN = [path for path in PAGES if path.parent.name in ("concepts", "howto") or path.name == "quickstart.md"]
NOT_RUN = "<!-- not run"
"""Begins the line above a block of Python that takes what a test has not got; why stands behind it."""

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<code>.*?)^(?P=indent)```$", re.M | re.S)
LINK = re.compile(r'\]\((?P<target>[^)\s]+)(?:\s+"[^"]*")?\)')
PLACEHOLDER = re.compile(r"[A-Z][A-Z_]*")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path, language: str) -> Iterator[tuple[str, str]]:
    """What stands above each block of code in a language, and the code."""
    text = path.read_text()
    for block in FENCE.finditer(text):
        if block["language"] == language:
            yield text[: block.start()].rstrip().rpartition("\n")[2], block["code"]


def prose(path: Path) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", path.read_text())


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_python_compiles(path: Path) -> None:
    for _, code in blocks(path, "python"):
        compile(code, name(path), "exec")


@pytest.mark.zoo
@pytest.mark.parametrize("path", RUN, ids=name)
def test_python_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first block of a page to the last, each with what those before it have made."""
    monkeypatch.chdir(tmp_path)
    known: dict[str, object] = {}
    for above, code in blocks(path, "python"):
        if not above.startswith(NOT_RUN):
            exec(compile(code, name(path), "exec"), known)


def command_lines(path: Path) -> Iterator[list[str]]:
    """The words of every command in blocks for a shell, and of those in the text that are this package's."""
    for language, prompt in (("sh", ""), ("console", "$ ")):
        for _, code in blocks(path, language):
            for line in code.replace("\\\n", " ").splitlines():
                if line.startswith(prompt):
                    yield from split(line.removeprefix(prompt))
    for quoted in re.findall(r"`((?:python -m lens_truth|lens-truth) ?[^`]*)`", prose(path)):
        yield from split(quoted)


def split(line: str) -> Iterator[list[str]]:
    """The commands of a line, without settings of the environment in front of them."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("&|;"):
            if words:
                yield words
            words = []
        elif words or not re.fullmatch(r"\w+=.*|export", word):
            words.append(word)


def own(words: list[str]) -> list[str] | None:
    """The words after `lens-truth`, however it is called; None for another command."""
    program, *rest = words
    if Path(program).name == "lens-truth":
        return rest
    if Path(program).name.startswith("python") and rest[:1] == ["-m"] and rest[1].partition(".")[0] == "lens_truth":
        submodule = rest[1].partition(".")[2]
        if submodule == "lm_eval":  # lm-eval's own command line, whose flags are its own
            return None
        return [*([submodule] if submodule else []), *rest[2:]]
    return None


@cache
def refusal(arguments: tuple[str, ...]) -> str:
    """What the command's own parser says against its arguments; empty if nothing."""
    command, *flags = arguments or ("--help",)
    if command == "--help" or PLACEHOLDER.fullmatch(command):
        return ""
    if command not in COMMANDS:
        return f"there is no command {command}"
    module = import_module(f"lens_truth.commands.{command}")
    flags = [flag for flag in flags if flag != "..."]
    for filled in (flags, ["1" if PLACEHOLDER.fullmatch(flag) else flag for flag in flags]):
        try:
            default = getattr(module, "DEFAULT_ARGUMENTS", ())
            alone = not filled or filled[0].startswith("--")  # flags alone are those of the default subcommand
            tyro.cli(module.Config, args=[*(default if alone else ()), *filled], console_outputs=False)
        except SystemExit as end:
            if end.code in (0, None):  # --help
                return ""
            continue
        return ""
    return f"it does not take {shlex.join(flags)}"


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_commands_exist_and_take_their_flags(path: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    wrong = []
    for words in command_lines(path):
        arguments = own(words)
        if arguments is not None:
            wrong += [f"{shlex.join(words)}: {said}" for said in [refusal(tuple(arguments))] if said]
        elif words[0] == "make":
            wrong += [f"make {target}" for target in words[1:] if target not in targets]
        elif words[0] == "python" and words[1].endswith(".py") and not (ROOT / words[1]).is_file():
            wrong.append(shlex.join(words))
    assert not wrong


def anchors(path: Path) -> set[str]:
    """The headings of a page as links name them, where GitHub and the site agree how."""
    found = set()
    for heading in re.findall(r"^#+ +(.+)$", prose(path), re.M):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", heading)
        text = re.sub(r"[^\w\s-]", "", unicodedata.normalize("NFKD", text)).strip().lower()
        of_github, of_site = re.sub(r"\s", "-", text), re.sub(r"[\s-]+", "-", text)
        found |= {of_github} & {of_site}
    return found


def broken_links(path: Path, root: Path = ROOT) -> list[str]:
    """Links and images of a page whose file or heading is not in the repository."""
    broken = []
    for link in LINK.finditer(re.sub(r"`[^`\n]*`", "", prose(path))):
        target, _, anchor = link["target"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        place = (path.parent / target).resolve() if target else path
        found = place.exists() and place.is_relative_to(root)
        if not found or (anchor and anchor not in anchors(place)):
            broken.append(link["target"])
    return broken


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    assert broken_links(path) == []


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    good = "[a](page.md) [b](#what-is-verified-and-by-what) ![c `d`](page.md#z) [e](https://example.org/x)"
    text = f"# What is verified, and by what\n\n## `z`\n\n## a - b\n\n{good} `[f](no.md)`\n"
    text += "```sh\n[g](no.md)\n# h\n```\n"
    page.write_text(text)
    assert broken_links(page, tmp_path) == []
    outside = f"../{tmp_path.name}/../../.."
    page.write_text(f"{text}\n[a](no.md) [b](#h) ![[c](no.png)](page.md) [d](#a-b) [e]({outside})\n")
    assert broken_links(page, tmp_path) == ["no.md", "#h", "no.png", "#a-b", outside]

    page.write_text("`lens-truth zoo`\n```console\n$ A=1 lens-truth probe \\\n  --folds 3 && make x\nout\n```\n")
    assert list(command_lines(page)) == [["lens-truth", "probe", "--folds", "3"], ["make", "x"], ["lens-truth", "zoo"]]
    assert refusal(("probe", "--model", "zoo:llama-base")) == refusal(("zoo", "train", "NAME", "--seed", "S")) == ""
    assert refusal(("probing",)) and refusal(("probe", "--modell", "x")) and refusal(("gate", "--site", "blocks"))
    assert refusal(("probe", "--folds", "five")) and refusal(("evaluate", "popes"))
