"""The files of an adapter, as PEFT calls them."""

from pathlib import Path

CONFIG_FILE, MODEL_FILE = "adapter_config.json", "adapter_model.safetensors"


def is_peft(directory: Path) -> bool:
    """Whether a directory is an adapter of PEFT's."""
    return (directory / CONFIG_FILE).is_file()
