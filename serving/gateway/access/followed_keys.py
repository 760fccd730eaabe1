"""FollowedKeys: the API keys of a file that may change at any time."""

import logging
import os
import threading
import time
import weakref
from pathlib import Path

from serving.access.keys import ApiKey, KeyFile, KeyFileError, UnreadKeyFileError

_log = logging.getLogger("ray.serve.access")  # below Ray Serve's logger, whose handlers write the log
_LOOK_S = 0.1


class FollowedKeys:
    """The keys of a file, which a thread looks at ten times a second and reads when it is another.

    So no request waits for a disk, which may be on a network, or for a parser, which takes a second for 10,000 keys.
    Until a changed file is read, the keys of the one before are valid.
    """

    def __init__(self, path: Path) -> None:
        """Reads the file, and follows it for as long as this object exists.

        Raises:
          KeyFileError: it cannot be read.
        """
        self._path = path
        self._version = _version(path)
        self._keys = KeyFile.read(path)
        self._fault = ""
        self._reading = threading.Lock()
        threading.Thread(target=_follow, args=[weakref.ref(self)], name="keys", daemon=True).start()

    def find(self, key: str) -> ApiKey | None:
        """The entry of a key that a client sent; None if it is none of these."""
        return self._keys.find(key)

    def refresh(self) -> None:
        """Reads the file if it is another; one that cannot be read changes nothing, and is tried again."""
        with self._reading:
            version = _version(self._path)
            if version == self._version:
                return
            try:
                self._keys = KeyFile.read(self._path)
            except UnreadKeyFileError as error:
                self._report(str(error))
                return
            except KeyFileError as error:
                self._report(str(error))  # what it holds is wrong, and stays wrong until it changes
            except Exception as error:  # MemoryError, say: a thread that ended would leave revoked keys valid
                self._report(repr(error))
                return
            else:
                self._fault = ""
                _log.info("read %d API keys from %s", len(self._keys.keys), self._path)
            self._version = version

    def _report(self, fault: str) -> None:
        """Logs what is wrong once, not at every look."""
        if fault != self._fault:
            self._fault = fault
            _log.error("the API keys stay as they were: %s", fault)


def _follow(followed: "weakref.ref[FollowedKeys]") -> None:
    while (keys := followed()) is not None:
        keys.refresh()
        del keys
        time.sleep(_LOOK_S)


def _version(path: Path) -> tuple[int, int, int, int] | None:
    """Another one whenever the file is; None without a file. With ctime, as tools set mtime back and cannot set it."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
