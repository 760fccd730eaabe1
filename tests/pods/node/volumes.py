"""A pod's volumes, as the kubelet prepares them: folders of this machine, of which containers mount some."""

import os
from collections.abc import Mapping
from pathlib import Path

from kubernetes.utils.quantity import parse_quantity

from tests.helm.chart import Object
from tests.pods.node.command import run

type Texts = Mapping[str, Mapping[str, str]]
"""Secrets or config maps: contents by name of the object and name of the entry."""


class Volumes:
    """The volumes of one pod."""

    def __init__(self, folder: Path, pod: Object, *, secrets: Texts, config_maps: Texts, tokens: Texts) -> None:
        """Prepares them.

        Args:
          folder: for them.
          pod: the pod.
          secrets: there are.
          config_maps: there are.
          tokens: of service accounts: contents by name of the account and of the entry, for projected volumes.

        Raises:
          NotImplementedError: a volume is of a kind that the kubelet knows and this does not.
        """
        self._folder = folder
        self._group = pod["spec"].get("securityContext", {}).get("fsGroup", 0)
        for volume in pod["spec"]["volumes"]:
            place = folder / volume["name"]
            place.mkdir(parents=True)
            match volume:
                case {"emptyDir": options}:
                    self._empty(place, options)
                case {"secret": {"secretName": name}}:
                    self._write(place, secrets[name])
                case {"configMap": {"name": name}}:
                    self._write(place, config_maps[name])
                case {"projected": {"sources": [{"serviceAccountToken": _}, *_]}}:
                    self._write(place, tokens[pod["spec"]["serviceAccountName"]])
                case _:
                    raise NotImplementedError(f"Volume {volume} of pod {pod['metadata']['name']}")

    def mounts(self, container: Object) -> list[Object]:
        """What a container mounts, in the words of the OCI runtime specification."""
        mounts = []
        for mount in sorted(container.get("volumeMounts", []), key=lambda mount: len(mount["mountPath"])):
            source = self._folder / mount["name"] / mount.get("subPath", "")
            options = ["rbind", "rprivate", "nosuid", "nodev", "ro" if mount.get("readOnly") else "rw"]
            mounts.append(
                {"destination": mount["mountPath"], "type": "bind", "source": str(source), "options": options}
            )
        return mounts

    def _empty(self, place: Path, options: Object) -> None:
        if options.get("medium") == "Memory":
            size = f"size={int(parse_quantity(options['sizeLimit']))}" if "sizeLimit" in options else "size=50%"
            run("mount", "-t", "tmpfs", "-o", size, "tmpfs", place)
        os.chown(place, 0, self._group)
        place.chmod(0o2777)

    def _write(self, place: Path, texts: Mapping[str, str]) -> None:
        for name, text in texts.items():
            file = place / name
            file.write_text(text)
            os.chown(file, 0, self._group)
            file.chmod(0o644)
        os.chown(place, 0, self._group)
        place.chmod(0o2775)
