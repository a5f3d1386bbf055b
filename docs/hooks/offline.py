"""The site works without a network: a page that loads anything from elsewhere is a warning, as bad as a broken link."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from bs4 import BeautifulSoup
from mkdocs.config.defaults import MkDocsConfig

LOADS = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
}
LINKS_THAT_LOAD = {"stylesheet", "preload", "prefetch", "preconnect", "dns-prefetch", "icon", "modulepreload"}
ELSEWHERE = re.compile(r"^\s*(https?:)?//")
IN_STYLE = re.compile(r"""(?:url\(|@import)\s*["']?\s*((?:https?:)?//[^"')\s]+)""")
log = logging.getLogger("mkdocs.hooks.offline")


def on_post_build(config: MkDocsConfig) -> None:
    """Looks through every page and style sheet that was written."""
    site = Path(config.site_dir)
    for path in sorted(site.rglob("*.html")):
        for address in loaded_from_elsewhere(path.read_text()):
            log.warning(f"{path.relative_to(site)} loads {address}")
    for path in sorted(site.rglob("*.css")):
        for address in IN_STYLE.findall(path.read_text()):
            log.warning(f"{path.relative_to(site)} loads {address}")


def loaded_from_elsewhere(html: str) -> list[str]:
    """Addresses on other hosts that a browser would fetch to show the page; links to follow are none."""
    page = BeautifulSoup(html, "html.parser")
    found = [str(tag.get(attribute, "")) for name, attribute in LOADS.items() for tag in page.find_all(name)]
    found += [str(tag.get("href", "")) for tag in page.find_all("link") if LINKS_THAT_LOAD & set(tag.get("rel") or ())]
    styles = [tag.get_text() for tag in page.find_all("style")] + [str(tag["style"]) for tag in page.select("[style]")]
    return [address for address in found if ELSEWHERE.match(address)] + IN_STYLE.findall("\n".join(styles))
