"""Pages and pictures that live outside docs/: figures, notebooks, the changelog, how to contribute.

The sources link to them by their place in the repository (`../figures/x.png`), so that links work there too; here
they are led to their place on the site.
"""

from __future__ import annotations

import re
from os.path import normpath, relpath
from pathlib import PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter
from package import ROOT

PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s:]+)(?P<anchor>#[^)\s]*)?\)")
PICTURE = re.compile(r"!\[(?P<text>[^\]]*)\]\((?P<target>[^)\s:]+)(?P<anchor>)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds changelog.md, contributing.md, figures/*.png and tutorials/*."""
    for name, place in PAGES.items():
        files.append(File.generated(config, place, content=(ROOT / name).read_text()))
    for figure in sorted((ROOT / "figures").glob("*.png")):
        files.append(File.generated(config, f"figures/{figure.name}", abs_src_path=str(figure)))
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        body, resources = MarkdownExporter().from_filename(
            str(notebook), {"output_files_dir": f"{notebook.stem}_files", "unique_key": notebook.stem}
        )
        title, _, rest = body.strip().partition("\n")
        body = f"{title}\n\nThis page is a notebook: [{notebook.name}]({notebook.name}).\n{rest}\n"
        files.append(File.generated(config, f"tutorials/{notebook.stem}.md", content=body))
        files.append(File.generated(config, f"tutorials/{notebook.name}", abs_src_path=str(notebook)))
        for name, data in resources["outputs"].items():
            files.append(File.generated(config, f"tutorials/{name}", content=data))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leads each link to where the site has what it means; what only the repository has keeps its text."""
    source = page.file.src_uri
    written = {place: name for name, place in PAGES.items()}.get(source, f"docs/{source}")
    written = re.sub(r"^docs/tutorials/", "notebooks/", written)

    def lead(link: re.Match[str]) -> str:
        meant = normpath(PurePosixPath(written).parent / link["target"])
        place = place_of(meant)
        if files.get_file_from_path(place):
            target = relpath(place, PurePosixPath(source).parent)
            return link[0].replace(f"]({link['target']}", f"]({target}")
        return link["text"] if (ROOT / meant).exists() else link[0]

    return PICTURE.sub(lead, LINK.sub(lead, markdown))


def place_of(path: str) -> str:
    """Where the site has a file of the repository, if it has it."""
    if path == "README.md":
        return "index.md"
    path = re.sub(r"^notebooks/(\w+)\.(ipynb|py)$", r"tutorials/\1.md", path)
    return PAGES.get(path, path.removeprefix("docs/"))
