"""The client's own package: what a program installs that asks the service and does not run it."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def test_the_wheel_has_the_client_its_stubs_and_types_and_needs_grpc_alone(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT / "protos", check=True, capture_output=True, timeout=120)
    [wheel] = tmp_path.glob("codegemma_client-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert names >= {
        "codegemma/py.typed",
        "codegemma/client/__init__.py",
        "codegemma/v1/code_assist_service.proto",
        "codegemma/v1/code_assist_service_pb2_grpc.py",
    }
    program = "import codegemma.client, sys; print(codegemma.client.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(wheel)}, capture_output=True, text=True, check=True
    )
    assert str(wheel) in done.stdout


def test_it_asks_for_what_the_service_asks_for_and_for_the_same_version() -> None:
    client = tomllib.loads((ROOT / "protos" / "pyproject.toml").read_text())["project"]
    service = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {Requirement(one).name for one in client["dependencies"]} == {
        "googleapis-common-protos",
        "grpcio",
        "protobuf",
    }
    assert set(client["dependencies"]) <= set(service["dependencies"])
    assert (client["version"], client["requires-python"]) == (service["version"], service["requires-python"])
