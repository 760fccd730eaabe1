"""Manifests: the objects of YAML files, in the order in which a cluster wants them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from serving.cluster.connection import Object
from serving.cluster.errors import ClusterError
from serving.cluster.field_types import check_types
from serving.cluster.fields import with_fields

_FIRST = (
    "Namespace",
    "CustomResourceDefinition",
    "PriorityClass",
    "NetworkPolicy",
    "ResourceQuota",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Service",
)
"""What others refer to is there before them; a RayService and all other kinds come last."""
_HOOK = "helm.sh/hook"
_GIVE = "Give a file or directory of YAML, or - for stdin."
_NO_MANIFESTS = ("kustomization.yaml", "kustomization.yml")


class _Loader(yaml.SafeLoader):
    """Leaves times as the texts they are, as Kubernetes does."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read_manifests(source: str, *, hooks: bool = False) -> list[Object]:
    """The objects of a file, of the YAML files in a directory, or of standard input for `-`, in order of application.

    Hooks of Helm, which are no part of what is installed, are left out unless they are wanted.

    Raises:
      ClusterError: nothing is there, it is not YAML, or something in it is no Kubernetes object.
    """
    objects = [one for name, text in _texts(source) for one in _objects(name, text) if hooks or not is_hook(one)]
    if not objects:
        raise ClusterError(f"{'stdin' if source == '-' else source}: there are no manifests. {_GIVE}")
    return sorted(objects, key=lambda one: _FIRST.index(one["kind"]) if one["kind"] in _FIRST else len(_FIRST))


def is_hook(one: Object) -> bool:
    """Whether Helm makes an object for a while, before or after it installs the others, or for a test."""
    return _HOOK in (one["metadata"].get("annotations") or {})


def name_of(one: Object) -> str:
    """`RayService/codegemma`."""
    return f"{one['kind']}/{one['metadata']['name']}"


def _texts(source: str) -> Iterator[tuple[str, str]]:
    if source == "-":
        yield "stdin", sys.stdin.read()
        return
    path = Path(source)
    files = sorted(path.glob("*.y*ml")) if path.is_dir() else [path]
    for file in files:
        if file.name in _NO_MANIFESTS:
            continue
        try:
            yield str(file), file.read_text()
        except OSError as error:
            raise ClusterError(f"{file}: {error.strerror}. {_GIVE}") from None
        except UnicodeDecodeError:
            raise ClusterError(f"{file} is no text. {_GIVE}") from None


def _objects(file: str, text: str) -> Iterator[Object]:
    try:
        documents = [one for one in yaml.load_all(text, _Loader) if one is not None]
    except yaml.YAMLError as error:
        raise ClusterError(f"{file} is not valid YAML: {error}") from None
    for document in documents:
        is_list = isinstance(document, dict) and str(document.get("kind", "")).endswith("List")
        for one in document.get("items") or [] if is_list else [document]:
            yield _checked(file, one)


def _checked(file: str, one: object) -> Object:
    if not isinstance(one, dict):
        raise ClusterError(
            f"{file}: a document is {type(one).__name__}, not a Kubernetes object. Render a kustomization first: "
            "kubectl kustomize DIRECTORY, and give that on stdin."
        )
    metadata = one.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    called = f"{one.get('kind') or 'an object'} {name or 'without a name'}"
    for field, value in (("apiVersion", one.get("apiVersion")), ("kind", one.get("kind")), ("metadata.name", name)):
        if not (isinstance(value, str) and value):
            raise ClusterError(
                f"{file}: {called} has {field}={value!r}; it must be a text. Give rendered manifests (helm template), "
                "not a chart."
            )
    check_types(file, one)
    return with_fields(one)
