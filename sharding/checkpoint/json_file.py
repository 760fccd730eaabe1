"""JSON files of a checkpoint: objects, whose content may be anything."""

import json
from pathlib import Path
from typing import Any

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.small_file import read_small_file

_MAX_BYTES = 2**24
"""The index of a large model has some hundred kilobytes."""


def read_json(file: Path) -> dict[str, Any]:
    """The object that a file holds.

    Raises:
      CheckpointError: it is missing, is far larger than such files are, or holds none.
    """
    try:
        content = json.loads(read_small_file(file, _MAX_BYTES))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} is not valid JSON: {error}.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{file} is not a JSON object.")
    return content
