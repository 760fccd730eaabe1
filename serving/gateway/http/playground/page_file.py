"""PageFile: a file that a page loads, read once."""

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

_DIRECTORY = Path(__file__).parent / "files"
_MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".woff2": "font/woff2",
}
_PACKED_ALREADY = frozenset({".woff2"})


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file.

    Attributes:
      packed: the content by gzip; None where that makes it no smaller.
      etag: of the content, the same on every Gateway. Weak, as it stands for both forms of the content.
    """

    content: bytes
    packed: bytes | None
    etag: str
    media_type: str


def read_page_files() -> dict[str, PageFile]:
    """All files of the playground, by name; some 20 ms to pack."""
    return {path.name: _read(path) for path in _DIRECTORY.iterdir()}


def _read(path: Path) -> PageFile:
    content = path.read_bytes()
    return PageFile(
        content=content,
        packed=None if path.suffix in _PACKED_ALREADY else gzip.compress(content, mtime=0),
        etag=f'W/"{hashlib.sha256(content).hexdigest()[:32]}"',
        media_type=_MEDIA_TYPES[path.suffix],
    )
