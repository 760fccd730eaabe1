"""The image that pods run: a root file system and what its Dockerfile says of the processes."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.pods.node.command import CommandError, MissingError, run

_CONTAINER = "codegemma-pods"
_BUILD = "make image FLAVOR=demo ENGINE=buildah (and BASE=debootstrap where no registry can be reached)"


@dataclass(frozen=True)
class Image:
    """An image, mounted.

    Attributes:
      root: its files.
      environment: of its processes.
      directory: that they start in.
    """

    root: Path
    environment: Mapping[str, str]
    directory: str


@contextmanager
def mounted(name: str) -> Iterator[Image]:
    """Mounts an image of buildah's store, for as long as this lasts.

    Raises:
      MissingError: there is no such image.
    """
    try:
        run("buildah", "inspect", "--type", "image", name)
    except CommandError as error:
        raise MissingError(
            f"buildah has no image {name} ({error}); docker's images are others. Build it: {_BUILD}"
        ) from error
    run("buildah", "from", "--pull=never", "--name", _CONTAINER, name)
    try:
        config = json.loads(run("buildah", "inspect", "--type", "image", name))["OCIv1"]["config"]
        root = Path(run("buildah", "mount", _CONTAINER).strip())
        environment = dict(entry.split("=", 1) for entry in config["Env"])
        yield Image(root, environment, config.get("WorkingDir") or "/")
    finally:
        remove()


def remove() -> None:
    """Unmounts it, also what an earlier run left. The image stays."""
    names = run("buildah", "containers", "--format", "{{.ContainerName}}").split()
    if _CONTAINER in names:
        run("buildah", "rm", _CONTAINER)
