"""The Dockerfile, as far as it goes without a container engine: linted, and its commands run on this machine."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ACCELERATORS = ("cpu", "gpu", "tpu")


@pytest.fixture(scope="module")
def instructions() -> list[dict[str, str]]:
    with (ROOT / "Dockerfile").open("rb") as file:
        structure: list[dict[str, str]] = DockerfileParser(fileobj=file).structure
        return structure


def values(instructions: list[dict[str, str]], name: str) -> list[str]:
    return [each["value"] for each in instructions if each["instruction"] == name]


def command(instructions: list[dict[str, str]], beginning: str) -> str:
    """The one command of a RUN that begins so, without its line breaks."""
    commands = [part.strip() for value in values(instructions, "RUN") for part in value.split("&&")]
    [found] = [each for each in commands if each.startswith(beginning)]
    return found


@pytest.fixture(scope="module")
def context(instructions: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the build stage has after its COPYs, for the CPU."""
    context = tmp_path_factory.mktemp("context")
    for value in values(instructions, "COPY"):
        if value.startswith("--from"):
            continue
        *sources, target = value.replace("${ACCELERATOR}", "cpu").split()
        for source in sources:
            to = context / (source if target == "./" else target)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, to, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, to)
    return context


def test_hadolint_finds_nothing() -> None:
    result = subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "")


def test_what_is_copied_is_in_the_context_and_nothing_else_is(instructions: list[dict[str, str]]) -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source.partition("/")[0]
        for value in values(instructions, "COPY")
        if not value.startswith("--from")
        for source in value.split()[:-1]
    }
    assert copied == allowed


def test_the_last_stage_runs_as_nobody_in_particular(instructions: list[dict[str, str]]) -> None:
    assert values(instructions, "USER") == ["1000:1000"]
    after = [each["instruction"] for each in instructions]
    assert "RUN" not in after[after.index("USER") :]
    assert values(instructions, "ADD") == []


def test_every_stage_has_a_base_that_can_be_pinned(instructions: list[dict[str, str]]) -> None:
    stages = [value.split() for value in values(instructions, "FROM")]
    names = {stage[-1] for stage in stages}
    assert {stage[0] for stage in stages} <= {"${PYTHON_IMAGE}", "scratch", *names}
    assert names == {"build", "inventory", "sbom", "runtime"}


@pytest.mark.parametrize("accelerator", ACCELERATORS)
def test_a_lock_has_what_runs_and_builds_and_nothing_that_tests(accelerator: str) -> None:
    text = (ROOT / "docker" / f"requirements-{accelerator}.lock").read_text()
    packages = dict(re.findall(r"^([a-z0-9-]+)(?:\[.*\])?==(\S+)", text, re.M))
    assert {"jax", "flax", "ray", "sentencepiece", "grpcio", "protobuf", "hatchling"} <= packages.keys()
    assert packages.keys().isdisjoint({"pytest", "mypy", "ruff", "torch", "kmock", "hypothesis"})
    assert ("libtpu" in packages, any("cuda" in name for name in packages)) == (
        accelerator == "tpu",
        accelerator == "gpu",
    )
    tested = dict(re.findall(r"^([a-z0-9-]+)(?:\[.*\])?==(\S+)", (ROOT / "requirements.lock").read_text(), re.M))
    differing = {name for name in packages.keys() & tested.keys() if packages[name] != tested[name]}
    assert differing == set(), "the image has the versions that are tested"


def test_the_packages_install_from_the_lock(instructions: list[dict[str, str]], context: Path) -> None:
    arguments = command(instructions, "python -m pip install --no-compile --require-hashes").split()[1:]
    subprocess.run([sys.executable, *arguments, "--dry-run", "--no-deps", "--quiet"], cwd=context, check=True)


def test_the_project_builds_from_what_is_copied_and_runs(
    instructions: list[dict[str, str]], context: Path, tmp_path: Path
) -> None:
    arguments = command(instructions, "python -m pip install --no-compile --no-deps").split()[1:]
    subprocess.run([sys.executable, *arguments, "--quiet", "--target", tmp_path], cwd=context, check=True)
    compiling = command(instructions, "python -m compileall").replace("/opt/codegemma/lib", str(tmp_path))
    subprocess.run([sys.executable, *compiling.split()[1:]], check=True)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    version = subprocess.run(
        [sys.executable, "-P", tmp_path / "bin" / "codegemma", "--version"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", version.stdout)
    [module] = [
        subprocess.run(
            [sys.executable, "-P", "-c", "import serving; print(serving.__file__)"],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    ]
    assert module.startswith(str(tmp_path))


def test_the_inventory_lists_what_is_installed(instructions: list[dict[str, str]], tmp_path: Path) -> None:
    # In an environment of its own, here too: what cyclonedx-bom brings makes `import ray` take twice as long.
    [script] = [value for value in values(instructions, "RUN") if "/opt/inventory" in value]
    for there, here in {
        "python -m venv": f"{sys.executable} -m venv",
        "/opt/inventory": tmp_path,
        "/sbom.json": tmp_path / "sbom.json",
        "/opt/codegemma/bin/python": sys.executable,
    }.items():
        assert there in script
        script = script.replace(there, str(here))
    subprocess.run(["sh", "-c", script], check=True, capture_output=True)
    inventory = json.loads((tmp_path / "sbom.json").read_text())
    assert inventory["bomFormat"] == "CycloneDX"
    assert {"ray", "jax", "flax", "codegemma-serving"} <= {each["name"] for each in inventory["components"]}
