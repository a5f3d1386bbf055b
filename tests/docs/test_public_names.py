"""What is public: the names in three stubs. All that users read needs no others, and each shows how it is called."""

from __future__ import annotations

import ast
import doctest
import inspect
import pickle
import pydoc
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PLACES = ("lens_truth", "lens_truth.plots", "lens_truth.data")
READ = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "notebooks").glob("[0-9]_*.py"))]
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)```$", re.M | re.S)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
INNER = {"in_record", "of_record", "save_arrays"}
"""Methods of results that commands and the page call."""


@cache
def stub(place: str) -> dict[str, str]:
    """The names that a stub lists, each with its module."""
    tree = ast.parse((ROOT / Path(*place.split(".")) / "__init__.pyi").read_text())
    lines = [line for line in tree.body if isinstance(line, ast.ImportFrom)]
    return {name.name: f"{place}.{line.module}" if line.module else place for line in lines for name in line.names}


PUBLIC = [(place, name) for place in PLACES for name in stub(place)]


CALLED = [(place, name) for place, name in PUBLIC if f"{place}.{name}" not in PLACES and not name.isupper()]
"""Functions and classes: neither modules nor constants."""


# What users read


def sources(path: Path) -> Iterator[tuple[str, str]]:
    """Every piece of Python that a page or a notebook shows, with its place; of prose the full names."""
    text = path.read_text()
    if path.suffix == ".py":
        yield path.name, text
        text = re.sub(r"^# ?", "", "\n".join(re.findall(r"^#.*", text, re.M)), flags=re.M)
    for block in FENCE.finditer(text):
        place = f"{path.name}:{text[: block.start()].count(chr(10)) + 1}"
        if block["language"] == "python":
            yield place, inspect.cleandoc("\n" + block["code"])
        for quoted in re.findall(r"python[\d.]* -c (?:\"([^\"]*)\"|'([^']*)')", block["code"]):
            yield place, "".join(quoted)
    prose = FENCE.sub("", text)
    for quoted in re.findall(r"python[\d.]* -c (?:\"([^\"]*)\"|'([^']*)')", prose):
        yield path.name, "".join(quoted)
    for quoted in INLINE.findall(prose):
        for dotted in re.findall(r"(?<![\w./-])(?<!python -m )lens_truth(?:\.\w+)+", quoted):
            yield path.name, dotted


def deeper(code: str) -> list[str]:
    """Imports and dotted names that lead deeper into the package than the three stubs."""
    wrong: list[str] = []
    called = {"lens_truth": "lens_truth"}  # what stands for which place
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in (name for name in node.names if name.name.partition(".")[0] == "lens_truth"):
                wrong += [] if name.name in PLACES else [name.name]
                called |= {name.asname: name.name} if name.asname else {}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "lens_truth":
            for name in node.names:
                place = node.module or ""
                wrong += [] if name.name in (stub(place) if place in PLACES else ()) else [f"{place}.{name.name}"]
                if f"{place}.{name.name}" in PLACES:
                    called[name.asname or name.name] = f"{place}.{name.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            place = called.get(ast.unparse(node.value), ast.unparse(node.value))
            if place.partition(".")[0] in called:
                place = ".".join([called[place.partition(".")[0]], *place.split(".")[1:]])
            if place in PLACES and not node.attr.startswith("__") and node.attr not in stub(place):
                wrong.append(f"{place}.{node.attr}")
    return wrong


@pytest.mark.parametrize("path", READ, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_users_read_needs_public_names_only(path: Path) -> None:
    wrong = [f"{place}: {name}" for place, code in sources(path) for name in deeper(code)]
    assert not wrong


def test_what_leads_deeper_is_found(tmp_path: Path) -> None:
    assert deeper("import lens_truth\nlens_truth.load('zoo:llama-base').cfg.n_heads\nlens_truth.__file__") == []
    assert (
        deeper("from lens_truth import plots as p\np.heatmaps({}, '')\nimport lens_truth.data\nlens_truth.data") == []
    )
    assert deeper("from lens_truth.scoring.scores import HeadScores") == ["lens_truth.scoring.scores.HeadScores"]
    assert deeper("import lens_truth.io.files") == ["lens_truth.io.files"]
    assert deeper("import lens_truth as lt\nlt.probe") == ["lens_truth.probe"]
    assert deeper("from lens_truth import probe") == ["lens_truth.probe"]
    assert deeper("lens_truth.models.prompts.encode") == ["lens_truth.models"]
    assert deeper("from lens_truth import plots\nplots.style.save") == ["lens_truth.plots.style"]

    page = tmp_path / "page.md"
    page.write_text(
        "`python -m lens_truth.probe`, `lens_truth/io/files.py`, `lens_truth.gates`\n\n"
        "- ```python\n  import lens_truth.io\n  ```\n```sh\npython -c 'import lens_truth.cli'\n```\n"
    )
    assert [name for _, code in sources(page) for name in deeper(code)] == ["lens_truth.cli", "lens_truth.gates"]
    page = tmp_path / "page.py"
    page.write_text("# %% [markdown]\n# `lens_truth.gates`\n\n# %%\nimport lens_truth.io\n")
    assert [name for _, code in sources(page) for name in deeper(code)] == ["lens_truth.io", "lens_truth.gates"]


# What the names are


@pytest.fixture
def item(place: str, name: str) -> Any:
    return getattr(import_module(place), name)


@pytest.mark.parametrize(("place", "name"), PUBLIC)
def test_every_name_is_there(place: str, name: str, item: Any) -> None:
    assert item is getattr(import_module(place), name) and name in dir(import_module(place))
    assert isinstance(item, ModuleType) == (f"{place}.{name}" in PLACES)


def test_no_function_is_called_as_a_module_is() -> None:
    modules = {path.stem for path in (ROOT / "lens_truth").rglob("*.py")}
    modules |= {path.parent.name for path in (ROOT / "lens_truth").rglob("__init__.py")}
    assert not {name for place, name in PUBLIC if f"{place}.{name}" not in PLACES} & modules


@pytest.mark.parametrize(("place", "name"), CALLED)
class TestPublic:
    def test_is_pickled_by_name(self, item: Any) -> None:
        assert pickle.loads(pickle.dumps(item)) is item

    def test_shows_its_parameters(self, item: Any) -> None:
        """As its definition has them; exceptions and enumerations take what their kind takes."""
        if inspect.isclass(item):
            if not issubclass(item, BaseException | int):
                assert not {"args", "kwargs"} & set(inspect.signature(item).parameters)
            return
        tree = ast.parse(Path(inspect.getfile(inspect.unwrap(item))).read_text())
        (own,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == item.__name__)
        given = own.args
        starred, named = ([it] if it else [] for it in (given.vararg, given.kwarg))
        written = [argument.arg for argument in (*given.args, *starred, *given.kwonlyargs, *named)]
        assert list(inspect.signature(item).parameters) == written

    def test_help_is_its_docstring(self, item: Any) -> None:
        helped = pydoc.render_doc(item, renderer=pydoc.plaintext)
        flat = re.sub(r"[\s|]+", " ", helped)
        assert re.sub(r"[\s|]+", " ", inspect.getdoc(item) or "missing").strip() in flat

    def test_shows_a_call(self, item: Any) -> None:
        assert item.__name__ in shown(item), f"{item.__name__}: its docstring shows no call of it"
        bases = {
            name
            for base in getattr(item, "__mro__", ())
            if base.__module__[:10] == "lens_truth"
            for name in shown(base)
        }
        for name, method in methods(item):  # what a class only does in its own way is shown where it is first told
            own = shown(method) | shown(item) | bases
            assert name in own or name in INNER, f"{item.__name__}.{name}: no docstring shows a call of it"

    def test_what_it_shows_is_public(self, item: Any) -> None:
        assert not [
            name for of in (item, *dict(methods(item)).values()) for code in examples(of) for name in deeper(code)
        ]


def methods(item: Any) -> Iterator[tuple[str, Any]]:
    """Public methods of a class, also inherited from other classes of the package."""
    for kind in inspect.getmro(item) if inspect.isclass(item) else ():
        if kind.__module__.partition(".")[0] == "lens_truth":
            for name, its in vars(kind).items():
                its = its.__func__ if isinstance(its, classmethod | staticmethod) else its
                if inspect.isfunction(its) and not name.startswith("_"):
                    yield name, its


def examples(item: Any) -> list[str]:
    """The Python that a docstring shows: lines after `>>>`, blocks, and calls in a line of text."""
    text = inspect.getdoc(item) or ""
    blocks = [inspect.cleandoc("\n" + block["code"]) for block in FENCE.finditer(text)]
    blocks += [example.source for example in doctest.DocTestParser().get_examples(text)]
    return blocks + [quoted for quoted in INLINE.findall(FENCE.sub("", text)) if is_call(quoted)]


def is_call(text: str) -> bool:
    try:
        return any(isinstance(node, ast.Call) for node in ast.walk(ast.parse(text)))
    except SyntaxError:
        return False


def shown(item: Any) -> set[str]:
    """All names in the Python that a docstring shows."""
    nodes = [node for code in examples(item) for node in ast.walk(ast.parse(code))]
    return {n.attr if isinstance(n, ast.Attribute) else n.id for n in nodes if isinstance(n, ast.Attribute | ast.Name)}


def test_nothing_heavy_is_imported_for_a_name_alone() -> None:
    """`import lens_truth` costs nothing; see `tests/commands` for the help of commands."""
    import subprocess

    code = "import sys, lens_truth; print(sorted({'torch', 'numpy', 'transformers', 'matplotlib'} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert told.stdout.strip() == "[]"
