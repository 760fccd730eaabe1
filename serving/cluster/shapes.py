"""The shape of a model to size, whether or not its checkpoint is on this machine."""

from pathlib import Path

from serving.config import ModelConfig
from sharding.config import CODEGEMMA_2B, CODEGEMMA_7B, GemmaConfig

_SHAPES = {"codegemma-2b": CODEGEMMA_2B, "codegemma-7b": CODEGEMMA_7B}


def shape_of(model: ModelConfig, model_config: Path | None = None) -> GemmaConfig:
    """The shape of a model: from its checkpoint if that is here, from its name, or from a `config.json`.

    Raises:
      ValueError: it cannot be known.
    """
    is_package = model.checkpoint.startswith("package:")
    if is_package or Path(model.checkpoint).expanduser().exists():
        return _shape_of_checkpoint(model)
    names = (model.id, model.checkpoint.rstrip("/").rpartition("/")[2])
    for known, shape in _SHAPES.items():
        if any(name.startswith(known) for name in names):
            return shape
    if model_config is None:
        raise ValueError(
            f"models.{model.id}: its checkpoint {model.checkpoint!r} is not on this machine, and its name does not "
            f"tell its shape (those of {', '.join(_SHAPES)} do). Give its Hugging Face config.json with --model-config."
        )
    return _read_shape(model_config)


def _shape_of_checkpoint(model: ModelConfig) -> GemmaConfig:
    from serving.models.checkpoint_path import checkpoint_path
    from sharding.checkpoint import CheckpointError, open_checkpoint  # reads headers with numpy

    try:
        return open_checkpoint(checkpoint_path(model.checkpoint)).config
    except (CheckpointError, OSError) as error:
        raise ValueError(f"models.{model.id}: its checkpoint cannot be read: {error}") from None


def _read_shape(file: Path) -> GemmaConfig:
    from sharding.checkpoint.errors import CheckpointError
    from sharding.checkpoint.huggingface import read_config_file

    try:
        return read_config_file(file)
    except CheckpointError as error:
        raise ValueError(f"--model-config {error}") from None
