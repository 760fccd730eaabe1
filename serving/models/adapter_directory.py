"""AdapterDirectory: the adapters of a model, each a directory or a file of its own in one directory."""

import logging
import threading
import time
from pathlib import Path

from serving.config import ModelConfig
from serving.models.adapted_id import ADAPTER_NAME
from serving.models.disk_thread import DiskThread
from sharding.adapters.files import NEMO_SUFFIX, files_of, looks_like_adapter

_log = logging.getLogger("ray.serve.adapters")  # below Ray Serve's logger, whose handlers write the log

SCAN_S = 2.0
"""How often a directory is read anew."""
LOOK_S = 1.0
"""How long a request waits for a disk that is asked for one adapter."""


class AdapterDirectory:
    """Knows at any time which adapters there are, without waiting for a disk.

    A directory or file, or a link to one, is an adapter by its content (`looks_like_adapter`) and has its name, without
    `.nemo`; others are ignored, and so is one that cannot be read, which the log has once. Gateways and replica groups
    each have one of these, over a directory that they share.

    Once it is made, disks are read in threads: one that hangs keeps nobody waiting but those who ask for an adapter
    that is not known, and these for `LOOK_S`.
    """

    def __init__(self, path: Path) -> None:
        """Reads it once.

        Raises:
          OSError: it cannot be read.
        """
        self._path = path
        self._stamps: dict[str, str] = {}
        self._ignored: set[str] = set()
        self._changing = threading.Lock()  # never held while a disk is read
        self._disk = DiskThread("adapter-look", LOOK_S)
        self._silent = False  # and the log has it
        self._read_at = 0.0
        self.scan()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the adapters, sorted."""
        return tuple(self._stamps)

    def stamp(self, name: str) -> str:
        """What changes when the files of an adapter do; empty if there is none of this name."""
        return self._stamps.get(name, "")

    @property
    def age_s(self) -> float:
        """Seconds since the directory was last read; more than a few where its disk does not answer."""
        return time.monotonic() - self._read_at

    async def look(self, name: str) -> str:
        """As `stamp`; for a name that is not known, asks the disk whether it has come since the directory was read.

        Raises:
          TimeoutError: the disk does not answer.
        """
        is_name = ADAPTER_NAME.fullmatch(name) is not None and not name.endswith(NEMO_SUFFIX)
        if is_name and name not in self._stamps:
            try:
                await self._disk.run(name, lambda: self._take_in(name))
            except TimeoutError:
                self._tell_silence()
                raise
        return self.stamp(name)

    def _take_in(self, name: str) -> None:
        if stamp := self._read_named(name):
            with self._changing:
                self._stamps = dict(sorted({**self._stamps, name: stamp}.items()))

    def path(self, name: str) -> Path:
        """Where an adapter is now: where a link is changed later, the files here stay those of one."""
        return self._entry(name).resolve()

    def scan(self) -> None:
        """Reads the directory anew.

        Raises:
          OSError: it cannot be read; what was known stays known.
        """
        before = self._stamps
        stamps = {_name(path): stamp for path in self._path.iterdir() if (stamp := self._read(path))}
        with self._changing:
            found = {name: stamp for name, stamp in self._stamps.items() if name not in before}  # meanwhile, by `look`
            self._stamps = dict(sorted((found | stamps).items()))  # replaced, never changed: other threads read it
        self._read_at = time.monotonic()
        if self._silent:
            self._silent = False
            _log.warning("the adapters in %s are read again", self._path)

    def _entry(self, name: str) -> Path:
        """What has a name: a directory before a file."""
        path, file = self._path / name, self._path / f"{name}{NEMO_SUFFIX}"
        return file if file.exists() and not path.exists() else path

    def _read_named(self, name: str) -> str:
        try:
            return self._read(self._entry(name))
        except OSError as error:
            self._ignore(self._path / name, error.strerror or str(error))
            return ""

    def _read(self, path: Path) -> str:
        """The stamp of what is at a path; empty if that is no adapter."""
        try:
            if not looks_like_adapter(path):
                return ""
            if ADAPTER_NAME.fullmatch(_name(path)) is None:
                self._ignore(path, "the name of an adapter is up to 64 letters, digits, '.', '_' and '-'")
                return ""
            if (entry := self._entry(_name(path))) != path:
                self._ignore(path, f"{entry.name} has its name")
                return ""
            stats = [file.stat() for file in files_of(path)]
        except FileNotFoundError:  # it goes while it is looked at
            return ""
        except OSError as error:
            self._ignore(path, error.strerror or str(error))
            return ""
        self._ignored.discard(path.name)
        return ",".join(f"{stat.st_ino}-{stat.st_size}-{stat.st_mtime_ns}" for stat in stats)

    def watch(self) -> None:
        """Reads it anew every `SCAN_S`, in a thread, for as long as the process lives."""
        threading.Thread(target=self._watch, name="adapter-directory", daemon=True).start()

    def _watch(self) -> None:
        pause = threading.Event()
        while not pause.wait(SCAN_S):
            try:
                self.scan()
            except OSError as error:  # a disk that goes
                _log.warning("the adapters in %s are not read anew: %s", self._path, error)

    def _tell_silence(self) -> None:
        if not self._silent:
            self._silent = True
            _log.warning(
                "the disk of the adapters in %s does not answer within %g s: those that are known are served, requests "
                "for others are refused until it does",
                self._path,
                LOOK_S,
            )

    def _ignore(self, path: Path, why: str) -> None:
        if path.name not in self._ignored:
            self._ignored.add(path.name)
            _log.warning("%s is ignored: %s", path, why)


def _name(path: Path) -> str:
    return path.name.removesuffix(NEMO_SUFFIX)


def adapter_directory(model: ModelConfig) -> AdapterDirectory | None:
    """Returns the adapters of a model, watched; None if it is served without.

    Raises:
      ValueError: their directory cannot be read.
    """
    if model.adapters is None:
        return None
    try:
        directory = AdapterDirectory(model.adapters.directory)
    except OSError as error:
        raise ValueError(
            f"models.{model.id}.adapters.directory={str(model.adapters.directory)!r}: {error.strerror}. Make it on the "
            "machines of Gateways and groups; it may be empty."
        ) from None
    directory.watch()
    return directory
