"""Writes .nemo files: tars, as they are or in gzip."""

import io
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from tests.sharding.checkpoint.files import Tensors
from tests.sharding.checkpoint.nemo_files import NEMO_LAYOUTS


def archived(directory: Path, file: Path, mode: Literal["w:", "w:gz"] = "w:") -> Path:
    """The .nemo of a directory, which goes."""
    with tarfile.open(file, mode) as archive:
        archive.add(directory, ".")
    shutil.rmtree(directory)
    return file


def in_archive(name: str, mode: Literal["w:", "w:gz"] = "w:") -> Callable[..., Path]:
    """Writes a layout into a .nemo beside the directory."""

    def write(directory: Path, config: Mapping[str, Any], tensors: Tensors) -> Path:
        return archived(NEMO_LAYOUTS[name](directory, config, tensors), directory.with_name("model.nemo"), mode)

    return write


def tar_with(file: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    """A tar of what one likes."""
    with tarfile.open(file, "w:") as archive:
        for info, data in members:
            info.size = len(data) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(data))
    return file
