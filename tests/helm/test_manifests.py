"""k8s/, the plain manifests made from the chart."""

import subprocess
from pathlib import Path

import pytest
import yaml

from helm.manifests import OUTPUT, PROFILES, drift
from tests.helm.chart import CASE, ROOT, Object, fingerprint, is_hook, rendered


def test_they_are_what_the_chart_gives_now() -> None:
    assert drift(OUTPUT) == [], "Run `make manifests`."


@pytest.mark.parametrize("profile", PROFILES)
def test_an_overlay_is_the_release_without_what_is_helms(profile: str) -> None:
    kubectl = ROOT / ".helm" / "kubectl"
    command: list[str | Path] = [kubectl, "kustomize", OUTPUT / "overlays" / profile]
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    objects = [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]
    release = [_without_helm(each) for each in rendered(CASE[profile]) if not is_hook(each)]
    assert sorted(map(fingerprint, objects)) == sorted(map(fingerprint, release))


def _without_helm(each: Object) -> Object:
    labels = each["metadata"]["labels"]
    kept = {key: value for key, value in labels.items() if key not in ("app.kubernetes.io/managed-by", "helm.sh/chart")}
    return {**each, "metadata": {**each["metadata"], "labels": kept}}
