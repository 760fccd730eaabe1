"""scripts/container-engine.sh: which of docker, podman and buildah works, on a PATH that the test makes."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("there", "asked", "found"),
    [
        ({"docker": "works", "podman": "works", "buildah": "works"}, "", "docker"),
        ({"docker": "without daemon", "podman": "works", "buildah": "works"}, "", "podman"),
        ({"docker": "without daemon", "buildah": "works"}, "", "buildah"),
        ({"docker": "works", "buildah": "works"}, "buildah", "buildah"),
        (
            {"docker": "without daemon"},
            "",
            "No container engine works here, of docker, podman and buildah: install one",
        ),
        (
            {"docker": "without daemon", "buildah": "works"},
            "docker",
            "No container engine works here, of docker: install one",
        ),
        ({"buildah": "works"}, "kaniko", "ENGINE=kaniko is not known: use docker, podman or buildah."),
    ],
)
def test_the_first_engine_that_works_builds(tmp_path: Path, there: dict[str, str], asked: str, found: str) -> None:
    (tmp_path / "sh").symlink_to(shutil.which("sh") or "")
    for name, state in there.items():
        program = tmp_path / name
        program.write_text(f"#!{shutil.which('sh')}\nexit {0 if state == 'works' else 1}\n")
        program.chmod(0o755)
    result = subprocess.run(
        ["sh", ROOT / "scripts" / "container-engine.sh"],
        env={"PATH": str(tmp_path)} | ({"ENGINE": asked} if asked else {}),
        capture_output=True,
        text=True,
    )
    if result.returncode:
        assert found in result.stderr and result.stdout == ""
    else:
        assert result.stdout == f"{found}\n"
