"""What ends a strict build of the documentation: a broken link, a missing docstring, what is loaded from elsewhere."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mkdocs", reason="the documentation's packages are not installed (make docs installs them)")
pytest.importorskip("griffe", reason="the documentation's packages are not installed (make docs installs them)")

import griffe
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort
from mkdocs.structure.files import get_files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "hooks"))  # as mkdocs does for hooks

import api  # noqa: E402
import commands  # noqa: E402
import offline  # noqa: E402
import outside  # noqa: E402

from lens_truth.cli import COMMANDS  # noqa: E402


def site(folder: Path, page: str) -> Any:
    """A site of one page under the project's own rules, without its generated pages."""
    (folder / "docs").mkdir()
    (folder / "docs" / "index.md").write_text(page)
    places = {"docs_dir": str(folder / "docs"), "site_dir": str(folder / "site")}
    alone: dict[str, Any] = {"nav": ["index.md"], "hooks": [], "plugins": [], "extra_css": [], "extra": {}}
    return load_config(str(ROOT / "mkdocs.yml"), strict=True, **alone, **places)


def test_a_page_that_is_in_order_is_built(tmp_path: Path) -> None:
    build(site(tmp_path, "# A page\n\n[Itself](index.md#a-page).\n"))
    assert "Itself" in (tmp_path / "site" / "index.html").read_text()


@pytest.mark.parametrize("target", ["gone.md", "index.md#gone", "gone.png", "/gone"])
def test_a_broken_link_ends_the_build(tmp_path: Path, target: str) -> None:
    with pytest.raises(Abort, match="1 warnings in strict mode"):
        build(site(tmp_path, f"# A page\n\n[Nowhere]({target}).\n"))


PACKAGE = '''"""A package."""
from elsewhere import thing

limit = 3

class Documented:
    """Yes."""

    def told(self):
        """Yes."""

    @property
    def untold(self): ...

    def _hidden(self): ...

def bare(): ...
'''


def test_public_names_without_docstrings_are_found(tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "__init__.py").write_text(PACKAGE)
    (tmp_path / "some" / "launcher.py").write_text("from lens_truth.cli import launch\n\nlaunch(__name__, 'some')\n")
    (tmp_path / "some" / "silent.py").write_text("def spoken():\n    '''Yes.'''\n")
    package = griffe.load("some", search_paths=[str(tmp_path)])
    found = {item.path for item in api.undocumented(package)}
    assert found == {"some.Documented.untold", "some.bare", "some.silent"}


def test_api_pages_are_those_of_the_stations() -> None:
    """In the order of the data, without launchers; what is public leads to where it is defined."""
    package = api.lens_truth()
    stations = api.stations(package)
    assert stations[0] == "errors" and stations[-1] == "commands" and len(stations) == 26
    nav = (ROOT / "mkdocs.yml").read_text()
    assert [f"{name}.md" for name in stations] == re.findall(r"api/(\w+\.md)", nav)[1:]
    assert "[`capture`](scoring.md#lens_truth.scoring.capturing.capture)" in api.index(package)
    assert "[`open_image`](data.md#lens_truth.data.images.open_image)" in api.index(package)


@pytest.mark.parametrize(
    ("html", "loaded"),
    [
        ('<script src="https://cdn.example/x.js"></script>', ["https://cdn.example/x.js"]),
        ('<script src="//cdn.example/x.js"></script>', ["//cdn.example/x.js"]),
        ('<link rel="stylesheet" href="http://cdn.example/x.css">', ["http://cdn.example/x.css"]),
        ('<link rel="preconnect" href="https://fonts.example">', ["https://fonts.example"]),
        ('<style>@import "https://fonts.example/f.css";</style>', ["https://fonts.example/f.css"]),
        ('<p style="background: url(https://img.example/x.png)"></p>', ["https://img.example/x.png"]),
        ('<img src="https://img.example/x.png">', ["https://img.example/x.png"]),
        ('<a href="https://example.org">a link to follow</a><link rel="canonical" href="https://example.org">', []),
        ('<script src="../assets/x.js"></script><img src="data:image/png;base64,xx">', []),
    ],
)
def test_what_a_page_loads_from_elsewhere_is_found(html: str, loaded: list[str]) -> None:
    assert offline.loaded_from_elsewhere(html) == loaded


def test_every_command_has_a_page_with_its_flags() -> None:
    for name in COMMANDS:
        assert commands.command_page(name).startswith(f"# lens-truth {name}\n")
    page = commands.command_page("probe")
    assert "| `--model` | text | `zoo:llama-base` |" in page
    assert "| `--estimator` | `ridge`, `logistic`, `adamw`, `mass-mean`, `centroid` | `ridge` |" in page
    assert "| `--trust-remote-code` `--no-trust-remote-code` |" in page
    assert "## lens-truth evaluate pope" in commands.command_page("evaluate")
    assert "lens-truth report [RUNS ...] [flags]" in commands.command_page("report")


def test_links_of_the_repository_lead_to_the_site(tmp_path: Path) -> None:
    """Also where the text of a link is what it links to; what the site does not have keeps its text."""
    config = site(tmp_path, "# A page\n")
    for place in ("changelog.md", "benchmarks.md", "howto/own.md", "figures/x.png"):
        (tmp_path / "docs" / place).parent.mkdir(exist_ok=True)
        (tmp_path / "docs" / place).touch()
    files = get_files(config)
    page = Page("x", files.get_file_from_path("changelog.md"), config)
    text = "[docs/benchmarks.md](docs/benchmarks.md#a), ![x](figures/x.png), [LICENSE](LICENSE), [gone](gone.md)"
    led = outside.on_page_markdown(text, page, config, files)
    assert led == "[docs/benchmarks.md](benchmarks.md#a), ![x](figures/x.png), LICENSE, [gone](gone.md)"
    page = Page("x", files.get_file_from_path("howto/own.md"), config)
    text = "[x](../../CHANGELOG.md) ![x](../../figures/x.png)"
    assert outside.on_page_markdown(text, page, config, files) == "[x](../changelog.md) ![x](../figures/x.png)"


def test_places_of_the_repository_on_the_site() -> None:
    for notebook in ("notebooks/1_probe.ipynb", "notebooks/1_probe.py"):
        assert outside.place_of(notebook) == "tutorials/1_probe.md"
    assert outside.place_of("docs/howto/own-data.md") == "howto/own-data.md"
    assert outside.place_of("CHANGELOG.md") == "changelog.md"
    assert outside.place_of("README.md") == "index.md"
    assert outside.place_of("figures/x.png") == "figures/x.png"
