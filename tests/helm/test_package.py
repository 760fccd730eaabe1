"""The chart as a package: what is in it, what it says of itself, and that its links lead somewhere."""

import base64
import re
import tarfile
from pathlib import Path

import pytest
import yaml

from helm.manifests import PROFILES
from tests.helm.chart import CASE, CHART, HELMS, NAMESPACE, RELEASE, ROOT, Object, fingerprint, rendered, run

_LINK = re.compile(r"\[[^\]]*\]\(([^)#]+)[^)]*\)")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart, packaged and taken out again."""
    folder = tmp_path_factory.mktemp("package")
    run("helm4", "package", CHART, "-d", folder)
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / "codegemma-serving"


def test_links_survive_packaging(package: Path) -> None:
    pages = list(package.glob("*.md"))
    assert {page.name for page in pages} == {"README.md", "VALUES.md"}
    for page in pages:
        for link in _LINK.findall(page.read_text()):
            assert link.startswith("https://") or (package / link).exists(), f"{page.name}: {link}"


def test_profiles_are_in_the_package_and_what_only_ci_needs_is_not(package: Path) -> None:
    assert {f"values-{each}.yaml" for parts in PROFILES.values() for each in parts} <= {
        file.name for file in package.iterdir()
    }
    assert not (package / "ci").exists()


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("profile", PROFILES)
def test_values_for_chart_testing_are_whole_profiles(helm: str, profile: str) -> None:
    file = CHART / "ci" / f"{profile}-values.yaml"
    run(helm, "lint", "--strict", CHART, "-n", NAMESPACE, "-f", file)
    text = run(helm, "template", RELEASE, CHART, "-n", NAMESPACE, "-f", file).stdout
    objects: list[Object] = [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]
    expected = rendered(CASE[profile], helm, "1.33.0")
    assert sorted(map(fingerprint, objects)) == sorted(map(fingerprint, expected))


def test_the_chart_says_what_it_is() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert {"description", "kubeVersion", "keywords", "maintainers", "icon", "annotations"} <= chart.keys()
    icon = chart["icon"].removeprefix("data:image/svg+xml;base64,")
    assert base64.b64decode(icon) == (ROOT / "playground" / "src" / "icon.svg").read_bytes()


def test_annotations_for_artifact_hub_are_true() -> None:
    annotations = yaml.safe_load((CHART / "Chart.yaml").read_text())["annotations"]
    own = {key.removeprefix("artifacthub.io/"): yaml.safe_load(value) for key, value in annotations.items()}
    assert own["license"] == annotations["licenses"] == "Apache-2.0"
    assert own["category"] == "ai-machine-learning"
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    images = {values["edge"]["envoy"]["image"], values["models"]["rcloneImage"]}
    assert {each["image"] for each in own["images"]} == images
    assert all(each["url"].startswith("https://") for each in own["links"] + own["recommendations"])
