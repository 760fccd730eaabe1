"""The documentation's links, and the paths of this repository that it names, lead somewhere."""

import re
from functools import cache
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
FOLDERS = [
    "bench",
    "compiled",
    "config",
    "docker",
    "docs",
    "examples",
    "helm",
    "k8s",
    "playground",
    "protos",
    "scripts",
    "serving",
    "sharding",
    "tests",
]
FILES = [path for folder in FOLDERS for path in (CHECKOUT / folder).rglob("*") if "node_modules" not in path.parts]
PAGES = [*CHECKOUT.glob("*.md"), *(path for path in FILES if path.suffix == ".md")]
MODULES = [f"/{path.relative_to(CHECKOUT)}" for path in FILES if path.suffix == ".py"]
NAMES_OTHER_FILES = ("CHANGELOG.md", "comparison.md")
"""Pages that name files of earlier versions and of other projects."""

_BLOCK = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_PATH = re.compile(rf"(?:{'|'.join(FOLDERS)})/[\w./-]*")
_MODULE = re.compile(r"[\w/]+\.py")


@cache
def _text(page: Path) -> str:
    """A page without its blocks of code."""
    return _BLOCK.sub("", page.read_text())


@cache
def _anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    titles = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in _HEADING.findall(_text(page)))
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def _leads_somewhere(page: Path, link: str) -> bool:
    if re.match(r"https?:|mailto:", link):
        return True
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not anchor or target.suffix != ".md" or anchor in _anchors(target))


def _exists(code: str) -> bool:
    """Whether code that looks like a path or a module of this repository is one; a module may leave out its folders."""
    if _PATH.fullmatch(code):
        return (CHECKOUT / code).exists()
    return not _MODULE.fullmatch(code) or any(module.endswith(f"/{code}") for module in MODULES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    links = [link or source for link, source in _LINK.findall(_text(page))]
    assert [link for link in links if not _leads_somewhere(page, link)] == []
    if page.name not in NAMES_OTHER_FILES:
        assert [code for code in _CODE.findall(_text(page)) if not _exists(code)] == []
