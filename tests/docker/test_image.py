"""`make image`, `make push` and `make push-chart`: the scripts, with a Dockerfile of a few bytes in the place of ours.

The real one takes minutes: `make image` itself.
"""

import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from tests.docker.container_registry import needs_registry, running_registry
from tests.helm.chart import CHART, run

ROOT = Path(__file__).parents[2]
_SMALL = """\
ARG PYTHON_IMAGE=scratch
ARG FLAVOR=cpu
FROM scratch AS sbom
COPY docker/requirements-demo.lock /sbom.cdx.json
FROM ${PYTHON_IMAGE} AS runtime-gpu
COPY docker/requirements-gpu.lock /flavor
FROM ${PYTHON_IMAGE} AS runtime-cpu
COPY docker/requirements-cpu.lock /flavor
FROM runtime-${FLAVOR} AS runtime
"""
needs_buildah = pytest.mark.skipif(
    shutil.which("buildah") is None or os.getuid() != 0, reason="needs buildah, as root: apt install buildah"
)

Make = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of a project with our scripts, version and chart."""
    project = tmp_path_factory.mktemp("project")
    for name in ("scripts", "docker", "helm"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", project)
    (project / "Dockerfile").write_text(_SMALL)
    (project / ".gitignore").write_text("dist/\n.helm\n")
    (project / ".helm").symlink_to(ROOT / ".helm")
    author = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    origin = "https://user:secret@example.com/team/project"
    for arguments in (
        ["init", "--quiet"],
        ["remote", "add", "origin", origin],
        ["add", "."],
        [*author, "commit", "--quiet", "--message", "first"],
    ):
        subprocess.run(["git", *arguments], cwd=project, check=True)
    return project


@pytest.fixture(scope="module")
def make(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """Runs one of the scripts, with images of its own instead of this machine's."""
    storage = tmp_path_factory.mktemp("storage")
    file = storage / "storage.conf"
    file.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{storage}/graph"\nrunroot = "{storage}/run"\n')
    environment = {"PATH": os.environ["PATH"], "HOME": str(storage), "CONTAINERS_STORAGE_CONF": str(file)}

    def make(script: str, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command or ["sh", project / "scripts" / f"{script}.sh"],
            env=environment | {"ENGINE": "buildah"} | variables,
            capture_output=True,
            text=True,
            timeout=120,
        )

    yield make


@pytest.fixture(scope="module")
def built(make: Make) -> subprocess.CompletedProcess[str]:
    result = make("image", FLAVOR="cpu,gpu")
    assert result.returncode == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.mark.parametrize(
    ("script", "variables", "said"),
    [
        ("image", {"FLAVOR": "npu"}, "FLAVOR=npu is not known: use cpu, gpu, tpu or demo"),
        ("image", {"BASE": "alpine", "ENGINE": "buildah"}, "BASE=alpine is not known"),
        ("push", {"FLAVOR": "cpu"}, "REGISTRY is not set: name the registry"),
        ("push-chart", {}, "REGISTRY is not set: name the registry"),
    ],
)
@needs_buildah
def test_what_cannot_be_meant_is_refused_with_the_remedy(
    make: Make, script: str, variables: dict[str, str], said: str
) -> None:
    result = make(script, **variables)
    assert result.returncode == 1 and said in result.stderr


@needs_buildah
def test_an_image_that_was_not_built_is_named(make: Make) -> None:
    result = make("push", FLAVOR="tpu", REGISTRY="127.0.0.1:1")
    assert result.returncode == 1 and "0.1.0-tpu here: make image FLAVOR=tpu" in result.stderr


@needs_buildah
def test_an_image_says_where_it_comes_from(make: Make, built: object, project: Path) -> None:
    inspected = make("", "buildah", "inspect", "--type", "image", "codegemma-serving:0.1.0-cpu").stdout
    labels = json.loads(inspected)["OCIv1"]["config"]["Labels"]
    commit = subprocess.run(
        ["git", "log", "-1", "--format=%H %ct"], cwd=project, capture_output=True, text=True, check=True
    ).stdout.split()
    assert labels["org.opencontainers.image.revision"] == commit[0]
    assert labels["org.opencontainers.image.version"] == "0.1.0"
    assert labels["org.opencontainers.image.source"] == "https://example.com/team/project"
    assert labels["org.opencontainers.image.base.name"] == "scratch"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", labels["org.opencontainers.image.created"])


@needs_buildah
def test_what_is_in_an_image_is_written_beside_it(built: object, project: Path) -> None:
    for flavor in ("cpu", "gpu"):
        assert (project / "dist" / "image" / flavor / "sbom.cdx.json").exists()


@needs_buildah
def test_equal_sources_give_the_same_image(make: Make, built: object) -> None:
    def identity() -> str:
        return make("", "buildah", "images", "--no-trunc", "--quiet", "codegemma-serving:0.1.0-cpu").stdout

    first = identity()
    assert first.startswith("sha256:")
    make("", "buildah", "rmi", "--all", "--force")
    assert make("image", FLAVOR="cpu,gpu").returncode == 0
    assert identity() == first


@needs_buildah
@needs_registry
def test_pushed_images_are_named_by_digest_in_values_for_the_chart(
    make: Make, built: object, project: Path, registry: str
) -> None:
    pushed = make("push", FLAVOR="cpu,gpu", REGISTRY=f"{registry}/team")
    assert pushed.returncode == 0, pushed.stderr
    file = project / "dist" / "image" / "values.yaml"
    values = yaml.safe_load(file.read_text())["image"]
    assert values["repository"] == f"{registry}/team/codegemma-serving"
    for flavor, digest in values["digests"].items():
        assert f"Pushed {registry}/team/codegemma-serving:0.1.0-{flavor}@{digest}" in pushed.stdout
        manifest = httpx.head(
            f"http://{registry}/v2/team/codegemma-serving/manifests/{digest}",
            headers={"accept": "application/vnd.oci.image.manifest.v1+json"},
        )
        assert manifest.status_code == 200
    text = run("helm4", "template", "codegemma", CHART, "-f", CHART / "ci" / "gpu-values.yaml", "-f", file).stdout
    images = set(re.findall(rf"image: ({re.escape(registry)}\S+)", text))
    assert images == {
        f"{registry}/team/codegemma-serving:0.1.0-{flavor}@{digest}" for flavor, digest in values["digests"].items()
    }


@needs_registry
def test_the_chart_comes_back_from_the_registry_as_it_was(make: Make, registry: str, tmp_path: Path) -> None:
    pushed = make("push-chart", REGISTRY=f"{registry}/team")
    assert pushed.returncode == 0, pushed.stderr
    assert f"{registry}/team/charts/codegemma-serving:0.1.0" in pushed.stdout + pushed.stderr
    run("helm4", "pull", f"oci://{registry}/team/charts/codegemma-serving", "--plain-http", "-d", tmp_path)
    with tarfile.open(tmp_path / "codegemma-serving-0.1.0.tgz") as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {"Chart.yaml", "README.md", "VALUES.md", "values-demo.yaml", "templates/rayservice.yaml"} <= names
    manifest = httpx.get(
        f"http://{registry}/v2/team/charts/codegemma-serving/manifests/0.1.0",
        headers={"accept": "application/vnd.oci.image.manifest.v1+json"},
    ).json()
    assert manifest["annotations"]["org.opencontainers.image.version"] == "0.1.0"
    assert manifest["annotations"]["artifacthub.io/license"] == "Apache-2.0"
