"""JSON files of a checkpoint: objects, whose content may be anything."""

import json
from pathlib import Path
from typing import Any

from sharding.checkpoint.errors import CheckpointError


def read_json(file: Path) -> dict[str, Any]:
    """The object that a file holds.

    Raises:
      CheckpointError: it is missing, or holds none.
    """
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise CheckpointError(f"{file} is missing.") from error
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} is not valid JSON: {error}.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{file} is not a JSON object.")
    return content
