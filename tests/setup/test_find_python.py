"""scripts/find-python.sh and what scripts/setup.sh says without a Python, on a PATH that the test makes."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
REAL_PYTHON = os.path.realpath(sys.executable)
BROKEN_SHIM = "#!/bin/sh\necho 'pyenv: command not found' >&2\nexit 127\n"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A directory for PATH with what the scripts call, and no Python."""
    directory = tmp_path / "tools"
    directory.mkdir()
    for name in ("sh", "ls", "tr", "cat", "cksum", "dirname"):
        (directory / name).symlink_to(shutil.which(name) or pytest.fail(f"{name} is not on PATH"))
    return directory


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path, tools: Path) -> Run:
    def run(script: Path, *args: str, path: tuple[Path, ...] = (), **env: str) -> subprocess.CompletedProcess[str]:
        search = os.pathsep.join(map(str, (*path, tools)))
        return subprocess.run(
            ["sh", script, *args],
            env={"PATH": search, "HOME": str(tmp_path), **env},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


FIND = ROOT / "scripts" / "find-python.sh"


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)
    return path


def python_in(path: Path) -> Path:
    return executable(path, f'#!/bin/sh\nexec "{REAL_PYTHON}" "$@"\n')


def test_a_shim_that_exists_but_fails_is_skipped_for_a_later_python_on_path(tmp_path: Path, run: Run) -> None:
    executable(tmp_path / "shims" / f"python{VERSION}", BROKEN_SHIM)
    real = python_in(tmp_path / "bin" / f"python{VERSION}")
    found = run(FIND, VERSION, path=(tmp_path / "shims", tmp_path / "bin"))
    assert (found.returncode, found.stdout.strip()) == (0, str(real))


def test_plain_python3_counts_when_its_version_fits(tmp_path: Path, run: Run) -> None:
    real = python_in(tmp_path / "bin" / "python3")
    assert run(FIND, "2.0", VERSION, path=(tmp_path / "bin",)).stdout.strip() == str(real)


def test_pyenv_versions_are_found_behind_broken_shims(tmp_path: Path, run: Run) -> None:
    executable(tmp_path / "shims" / f"python{VERSION}", BROKEN_SHIM)
    real = python_in(tmp_path / "pyenv" / "versions" / f"{VERSION}.9" / "bin" / "python")
    found = run(FIND, VERSION, path=(tmp_path / "shims",), PYENV_ROOT=str(tmp_path / "pyenv"))
    assert found.stdout.strip() == str(real)


def test_pyenv_is_found_in_the_home_directory_without_pyenv_root(tmp_path: Path, run: Run) -> None:
    real = python_in(tmp_path / ".pyenv" / "versions" / f"{VERSION}.9" / "bin" / "python")
    assert run(FIND, VERSION).stdout.strip() == str(real)


def test_uv_is_asked_last(tmp_path: Path, run: Run) -> None:
    real = python_in(tmp_path / "uv-python" / "python")
    executable(tmp_path / "bin" / "uv", f'#!/bin/sh\n[ "$*" = "python find {VERSION}" ] && echo {real}\n')
    assert run(FIND, VERSION, path=(tmp_path / "bin",)).stdout.strip() == str(real)


def test_a_python_of_another_version_does_not_count(tmp_path: Path, run: Run) -> None:
    python_in(tmp_path / "bin" / "python3")
    found = run(FIND, "3.2", path=(tmp_path / "bin",))
    assert (found.returncode, found.stdout, found.stderr) == (1, "", "")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What setup.sh reads of the project, without an environment."""
    copy = tmp_path / "project"
    shutil.copytree(ROOT / "scripts", copy / "scripts")
    for name in ("requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, copy)
    return copy


def test_setup_says_in_one_line_what_to_install_when_no_python_fits(project: Path, run: Run) -> None:
    result = run(project / "scripts" / "setup.sh")
    assert result.returncode == 1
    assert result.stderr.startswith("No Python 3.12 or 3.13 found. Install one")
    assert result.stderr.count("\n") == 1
    assert not (project / ".venv").exists()


def test_setup_refuses_an_unknown_accelerator(project: Path, run: Run) -> None:
    result = run(project / "scripts" / "setup.sh", ACCELERATOR="npu")
    assert (result.returncode, result.stderr) == (1, "ACCELERATOR=npu is not known: use cpu, gpu or tpu.\n")
