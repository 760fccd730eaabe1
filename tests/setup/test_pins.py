"""The lock files against pyproject.toml, and what the built package holds."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = {"requirements.lock": (), "requirements-gpu.lock": ("gpu",), "requirements-tpu.lock": ("tpu",)}


def pins(lock: str) -> dict[str, str]:
    """Package -> version. One package may be pinned more than once, for different platforms."""
    text = (ROOT / lock).read_text()
    return {name: version for name, version in re.findall(r"^([a-z0-9-]+)==(\S+)", text, flags=re.MULTILINE)}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_with_hashes_and_no_address_is_named(lock: str) -> None:
    text = (ROOT / lock).read_text()
    requirements = re.split(r"\n(?=\S)", text.strip())
    assert len(requirements) > 100
    assert [r for r in requirements if not re.match(r"[a-z0-9-]+==\S+ .*\\\n    --hash=sha256:[0-9a-f]{64}", r)] == []
    assert "://" not in text


@pytest.mark.parametrize(("lock", "extras"), LOCKS.items())
def test_the_pins_satisfy_what_the_project_asks_for(lock: str, extras: tuple[str, ...]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"]]
    for extra in ("demo", "dev", *extras):
        asked += project["optional-dependencies"][extra]
    pinned = pins(lock)
    for requirement in map(Requirement, asked):
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


@pytest.mark.parametrize("lock", ["requirements-gpu.lock", "requirements-tpu.lock"])
def test_accelerators_run_the_versions_that_are_tested_on_the_cpu(lock: str) -> None:
    assert pins(lock).items() >= pins("requirements.lock").items()


def test_the_wheel_carries_the_code_the_grpc_stubs_and_the_configuration(tmp_path: Path) -> None:
    build: list[str | Path] = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert names >= {
        "serving/cli/main.py",
        "serving/config/demo.yaml",
        "sharding/config.py",
        "codegemma/v1/code_assist_service_pb2_grpc.py",
    }
    assert not [name for name in names if name.startswith(("tests/", "bench/", "protos/"))]
