"""Files of a checkpoint that are read whole, up to a size that none of their kind has."""

from pathlib import Path
from stat import S_ISREG

from sharding.checkpoint.errors import CheckpointError


def read_small_file(file: Path, at_most: int) -> bytes:
    """What a file holds.

    Raises:
      CheckpointError: it is missing, cannot be read, or has more bytes.
    """
    try:
        found = file.stat()
        if not S_ISREG(found.st_mode):  # opening a pipe waits for its writer
            raise CheckpointError(f"{file} cannot be read: it is no regular file.")
        with file.open("rb") as opened:
            content = opened.read(min(found.st_size, at_most) + 1)  # Python takes so much memory before it reads
    except FileNotFoundError as error:
        raise CheckpointError(f"{file} is missing.") from error
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}.") from error
    if len(content) > at_most:
        raise CheckpointError(f"{file} has more than {at_most} bytes, the most that is read.")
    return content
