"""contents_hash: names the contents of an adapter, the same on every machine that has the same files."""

import hashlib
from pathlib import Path


def contents_hash(path: Path) -> str:
    """Returns the SHA-256 of the names and contents of all files at a path, in hexadecimal digits.

    Args:
      path: a file, or a directory with files.

    Raises:
      OSError: one cannot be read; there is nothing at the path.
    """
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    if not files:
        raise FileNotFoundError(f"{path} has no files")
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            of_file = hashlib.file_digest(opened, "sha256").digest()
        digest.update(b"%s\0%s" % (bytes(file.relative_to(path)), of_file))
    return digest.hexdigest()
