"""scripts/push.sh with docker's answers, by a program in its place; test_image.py pushes by a real buildah."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
_DIGESTS = [f"sha256:{digit * 64}" for digit in "12"]


def _pushed(folder: Path, registry: str, digests: list[str]) -> subprocess.CompletedProcess[str]:
    """Pushes from a copy of the project to `registry`, whose digests of the image docker knows."""
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    shutil.copy(ROOT / "pyproject.toml", folder)
    programs = folder / "programs"
    programs.mkdir()
    for name in ("sh", "sed", "tr", "dirname", "mktemp", "rm", "mkdir", "cat"):
        (programs / name).symlink_to(shutil.which(name) or "")
    docker = programs / "docker"
    lines = "".join(f"echo {digest}\n" for digest in digests)
    docker.write_text(f'#!/bin/sh\ncase "$*" in\n*RepoDigests*)\n{lines};;\nesac\n')
    docker.chmod(0o755)
    environment = {"PATH": str(programs), "REGISTRY": registry}
    return subprocess.run(["sh", folder / "scripts" / "push.sh"], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("registry", "known_as"),
    [("registry.example.com/team", "registry.example.com/team"), ("docker.io/team", "team")],
    ids=["a registry of yours", "Docker Hub"],
)
def test_values_have_the_digest_that_the_registry_has_the_image_by(
    tmp_path: Path, registry: str, known_as: str
) -> None:
    others = f"elsewhere/codegemma-serving@{_DIGESTS[1]}"
    result = _pushed(tmp_path, registry, [others, f"{known_as}/codegemma-serving@{_DIGESTS[0]}"])
    assert result.returncode == 0, result.stderr
    image = yaml.safe_load((tmp_path / "dist" / "image" / "values.yaml").read_text())["image"]
    assert image["repository"] == f"{registry}/codegemma-serving" and image["digests"] == {"cpu": _DIGESTS[0]}


@pytest.mark.parametrize("count", [0, 2])
def test_no_values_are_written_where_the_digest_is_not_known(tmp_path: Path, count: int) -> None:
    known = [f"r.example.com/codegemma-serving@{each}" for each in _DIGESTS[:count]]
    result = _pushed(tmp_path, "r.example.com", known)
    assert result.returncode == 1 and "knows no digest of r.example.com/codegemma-serving" in result.stderr
    assert not (tmp_path / "dist").exists()
