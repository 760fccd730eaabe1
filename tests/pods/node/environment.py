"""The environment of a container's processes, as the kubelet makes it."""

import re
from collections.abc import Mapping

from tests.helm.chart import Object
from tests.pods.node.volumes import Texts

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
_LABEL = re.compile(r"metadata\.labels\['(.*)'\]")


def environment_of(
    container: Object, pod: Object, *, image: Mapping[str, str], cluster: Mapping[str, str], secrets: Texts, ip: str
) -> dict[str, str]:
    """The variables of a container.

    Args:
      container: of the pod.
      pod: with its metadata.
      image: what the image sets.
      cluster: what the kubelet sets in every container.
      secrets: that `valueFrom` may name.
      ip: the pod's.

    Raises:
      NotImplementedError: a variable comes from where this does not look.
    """
    if "envFrom" in container:
        raise NotImplementedError(f"envFrom of container {container['name']}")
    variables = {**image, **cluster, "HOSTNAME": pod["metadata"]["name"]}
    for entry in container.get("env", []):
        match entry:
            case {"valueFrom": {"fieldRef": {"fieldPath": path}}}:
                variables[entry["name"]] = _field(pod, path, ip)
            case {"valueFrom": {"secretKeyRef": {"name": name, "key": key}}}:
                variables[entry["name"]] = secrets[name][key]
            case {"valueFrom": other}:
                raise NotImplementedError(f"Variable {entry['name']} of container {container['name']} from {other}")
            case _:
                variables[entry["name"]] = expanded(entry.get("value", ""), variables)
    return variables


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """A text with `$(NAME)` replaced by the variable, if there is one, and `$$` by `$`."""

    def value(match: re.Match[str]) -> str:
        return "$" if match[1] is None else variables.get(match[1], match[0])

    return _REFERENCE.sub(value, text)


def _field(pod: Object, path: str, ip: str) -> str:
    metadata: Object = pod["metadata"]
    if label := _LABEL.fullmatch(path):
        return str(metadata["labels"][label[1]])
    return str(
        {"metadata.name": metadata["name"], "metadata.namespace": metadata["namespace"], "status.podIP": ip}[path]
    )
