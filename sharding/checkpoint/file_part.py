"""FilePart: bytes in the middle of a file, for libraries that read files."""

import errno
import io
from typing import BinaryIO


class FilePart:
    """A part of an open file, as a file; bounds what readers of archives take into memory at once.

    Attributes:
      start: the byte of the file where it begins.
    """

    def __init__(self, opened: BinaryIO, start: int, end: int, most: int) -> None:
        self._opened = opened
        self.start = start
        self._size = end - start
        self._position = 0
        self._most = most
        if start < 0 or end < start or end > opened.seek(0, io.SEEK_END):
            raise ValueError(f"it is said to be bytes {start} to {end}, where the file has none")

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if not 0 <= position <= self._size:  # an OSError, as of files: zipfile expects it
            raise OSError(errno.EINVAL, f"it points to byte {position} of {self._size}")
        self._position = position
        return position

    def read(self, count: int = -1) -> bytes:
        left = self._size - self._position
        count = left if count < 0 else min(count, left)
        if count > self._most:
            raise ValueError(f"{count} bytes describe its members; {self._most} are the most that is read")
        self._opened.seek(self.start + self._position)
        data = self._opened.read(count)
        self._position += len(data)
        return data
