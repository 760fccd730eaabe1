"""Ray's token, which lets its holder run code in Ray's processes. Ray itself writes it to a world-readable file."""

from contextlib import suppress
from pathlib import Path


def close_ray_token() -> None:
    """Makes the directory of the token this user's alone, before or after Ray has made it."""
    directory = Path.home() / ".ray"
    with suppress(OSError):  # a home that cannot be written: nor can Ray, which says so
        directory.mkdir(0o700, exist_ok=True)
        directory.chmod(0o700)
