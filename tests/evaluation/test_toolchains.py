"""Which languages this machine can run is found out, never assumed."""

import os
import shutil
from pathlib import Path

import pytest

from serving.evaluation.sandbox import Sandbox
from serving.evaluation.toolchains import END_MARK, LANGUAGES, MissingToolchainError, find_toolchain


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "python"])
def test_a_missing_toolchain_says_what_to_install(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingToolchainError, match="apt install"):
        find_toolchain(language)


def test_python_is_always_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_toolchain("python").compile == ""


@pytest.mark.parametrize("place", ["bin/node", "node", "node/bin/node"])
async def test_of_a_node_outside_usr_no_folder_is_seen_inside(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox
) -> None:
    if not (node := shutil.which("node")):
        pytest.skip("needs nodejs")
    home = tmp_path / "home"
    own = home / place
    own.parent.mkdir(parents=True)
    shutil.copy(os.path.realpath(node), own)
    secret = home / "secret"
    secret.write_text("1")
    monkeypatch.setenv("PATH", str(own.parent), prepend=":")
    toolchain = find_toolchain("javascript")
    assert toolchain.run.startswith(str(own))
    program = f"if (require('fs').existsSync({str(secret)!r})) throw 1; console.log('{END_MARK}')"
    assert (await sandbox.run(program, toolchain)).how == "passed"


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_that_is_seen_inside_holds_a_home(language: str) -> None:
    try:
        reads = find_toolchain(language).reads
    except MissingToolchainError as error:
        pytest.skip(str(error))
    home = Path.home()
    assert not [path for path in reads if home.is_relative_to(path)]
    assert not [path for path in reads if Path(path) in (home / "bin", home / "lib")]


def test_a_toolchain_says_its_version() -> None:
    assert find_toolchain("python").version().startswith("Python 3.")
