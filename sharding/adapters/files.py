"""Which files and directories are adapters, told by a look: a Gateway looks at all of them every two seconds."""

from pathlib import Path

from sharding.checkpoint.nemo.members import is_tar

CONFIG_FILE, MODEL_FILE = "adapter_config.json", "adapter_model.safetensors"
"""Of PEFT."""
NEMO1_CONFIG, NEMO2_CONFIG = "model_config.yaml", "context/model.yaml"
NEMO_SUFFIX = ".nemo"


def is_peft(path: Path) -> bool:
    """Whether a path is an adapter of PEFT's."""
    return (path / CONFIG_FILE).is_file()


def is_nemo(path: Path) -> bool:
    """Whether a path is an adapter of NeMo's, or a whole model of its: a tar, or a directory with its configuration."""
    return is_tar(path) or any((path / name).is_file() for name in (NEMO1_CONFIG, NEMO2_CONFIG))


def looks_like_adapter(path: Path) -> bool:
    """Whether a path is an adapter of any form, where adapters are expected."""
    return is_peft(path) or is_nemo(path)


def files_of(path: Path) -> list[Path]:
    """A file, or all files below a directory; links in it to other directories are not followed.

    Raises:
      OSError: one cannot be looked at.
    """
    if not path.is_dir():
        return [path] if path.is_file() else []
    files: list[Path] = []
    folders = [path]
    while folders:  # not by calls of itself, of which others might make too many
        for entry in folders.pop().iterdir():
            if entry.is_dir():
                folders += [] if entry.is_symlink() else [entry]
            elif entry.is_file():
                files.append(entry)
    return sorted(files)
