"""Writes k8s/: the chart as plain manifests, a kustomize base and an overlay for each profile.

What all profiles have alike is in the base. An overlay adds its RayService and what else is its own; a variant of
another profile patches that one's, so that its file shows what differs and no more.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonpatch
import yaml

_ROOT = Path(__file__).parents[1]
_CHART = _ROOT / "helm" / "codegemma-serving"
OUTPUT = _ROOT / "k8s"
_HELM = _ROOT / ".helm" / "helm4"
RELEASE = NAMESPACE = "codegemma"
PROFILES = {
    "demo": ("demo",),
    "gpu": ("gpu",),
    "gpu-ha": ("gpu", "ha"),
    "tpu-v5e": ("tpu-v5e",),
    "tpu-v5e-8t": ("tpu-v5e-8t",),
    "tpu-v5e-two-hosts": ("tpu-v5e-two-hosts",),
    "tpu-v5e-ha": ("tpu-v5e", "ha"),
}
_VARIANT_OF = {"gpu-ha": "gpu", "tpu-v5e-8t": "tpu-v5e", "tpu-v5e-two-hosts": "tpu-v5e", "tpu-v5e-ha": "tpu-v5e"}
_EVERY = "auth.existingSecret=codegemma-keys,image.repository=codegemma-serving"
_CHECKPOINTS = "models.volume.existingClaim=codegemma-models"
_SET = {name: _EVERY if name == "demo" else f"{_EVERY},{_CHECKPOINTS}" for name in PROFILES}
_HELMS_OWN = ("app.kubernetes.io/managed-by", "helm.sh/chart")
_NOTICE = (
    "# Made by `make manifests` from helm/codegemma-serving. Change that, or patch this in an overlay of your own.\n"
)

type Object = dict[str, Any]


def render(profile: str) -> dict[str, Object]:
    """The objects of a profile by file name, without what only Helm uses."""
    files = [f"--values={_CHART / f'values-{each}.yaml'}" for each in PROFILES[profile]]
    command: list[str | Path] = [
        _HELM,
        "template",
        RELEASE,
        _CHART,
        "--namespace",
        NAMESPACE,
        "--no-hooks",
        *files,
        "--set",
        _SET[profile],
    ]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    objects = {}
    for each in yaml.safe_load_all(text):
        if each and "helm.sh/hook" not in each["metadata"].get("annotations", {}):
            for label in _HELMS_OWN:
                each["metadata"]["labels"].pop(label, None)
            objects[f"{each['kind']}-{each['metadata']['name']}.yaml".lower()] = each
    return objects


def build() -> dict[str, str]:
    """The text of every file below k8s/, by path.

    Raises:
      ValueError: a variant lacks an object of the profile that it patches.
    """
    profiles = {name: render(name) for name in PROFILES}
    first, *others = profiles.values()
    base = {name: each for name, each in first.items() if all(other.get(name) == each for other in others)}
    files = _folder("base", base, {}, [])
    for profile, objects in profiles.items():
        parent = _VARIANT_OF.get(profile)
        inherited = base if parent is None else profiles[parent]
        if missing := inherited.keys() - objects.keys():
            raise ValueError(f"{profile} lacks {', '.join(sorted(missing))}: it is no variant of {parent}.")
        own = {name: each for name, each in objects.items() if name not in inherited}
        changed = {name: (inherited[name], each) for name, each in objects.items() if name in inherited}
        files |= _folder(f"overlays/{profile}", own, changed, ["../../base" if parent is None else f"../{parent}"])
    return files


def _folder(
    path: str, objects: dict[str, Object], changed: dict[str, tuple[Object, Object]], bases: list[str]
) -> dict[str, str]:
    """The files of a kustomization: its own objects, and JSON patches (RFC 6902) of its bases' to what they become."""
    files: dict[str, Any] = dict(objects)
    patches = []
    for name, (before, after) in changed.items():
        if before != after:
            files[f"patch-{name}"] = jsonpatch.make_patch(before, after).patch
            target = {"kind": after["kind"], "name": after["metadata"]["name"]}
            patches.append({"path": f"patch-{name}", "target": target})
    files["kustomization.yaml"] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [*bases, *sorted(objects)],
        **({"patches": patches} if patches else {}),
    }
    return {f"{path}/{name}": _NOTICE + _dump(each) for name, each in files.items()}


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, to be read."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _dump(each: Object | list[Object]) -> str:
    return yaml.dump(each, Dumper=_Dumper, sort_keys=False, width=120)


def write(folder: Path) -> None:
    """Writes all files below a folder, and removes what this made before."""
    made = build()
    for old in (*folder.glob("base/*.yaml"), *folder.glob("overlays/*/*.yaml")):
        old.unlink()
    for path, text in made.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def drift(folder: Path) -> list[str]:
    """Paths below the folder that are not what the chart gives now."""
    made = build()
    there = {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*.yaml")}
    return sorted(path for path in made.keys() | there.keys() if made.get(path) != there.get(path))


def main() -> int:
    """Writes k8s/, or says whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether k8s/ is up to date")
    if not parser.parse_args().check:
        write(OUTPUT)
        return 0
    differing = drift(OUTPUT)
    if differing:
        print(f"k8s/ is out of date: {', '.join(differing)}. Run `make manifests`.", file=sys.stderr)
    return bool(differing)


if __name__ == "__main__":
    sys.exit(main())
