"""AdapterSlots: which adapters the runner has, and which sequences use them."""

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple, Protocol

from serving.engine.errors import AdapterNotEverywhere, AdapterNotFound, AdapterUnusable

_log = logging.getLogger(__name__)


class ReadAdapter(NamedTuple):
    """An adapter in memory.

    Attributes:
      version: names its contents.
      load: has the runner take it in, with the number by which `Opening.adapter` is to mean it.
    """

    version: str
    load: Callable[[int], None]


class AdapterSource(Protocol):
    """Where the adapters of a model come from."""

    def stamp(self, name: str) -> str:
        """Returns at once what changes when the adapter does; empty if there is none of this name."""
        ...

    def read(self, name: str) -> ReadAdapter:
        """Reads an adapter, which takes a while.

        Raises:
          AdapterUnusable: it cannot be used as it is: it is not read again until its stamp changes.
          AdapterNotEverywhere: as it is on some host; it is read again with the next request for it.
          Exception: anything, for what may be otherwise the next time; clients are not told of it.
        """
        ...


class NoAdapters:
    """The source of a model without any."""

    def stamp(self, name: str) -> str:
        """There is none."""
        return ""

    def read(self, name: str) -> ReadAdapter:
        """Never called: `stamp` finds no adapter."""
        raise KeyError(name)


@dataclass(slots=True, eq=False)
class AdapterSlot:
    """A place for an adapter in the runner.

    Attributes:
      number: as `Opening.adapter` has it.
      name, stamp: of the adapter that it has or is about to have; empty for none.
      version: of its contents, once they are there.
      users: sequences that were given it and have not ended; those that wait until it is loaded are among them.
      last_used: grows with each use.
      loading: reads it; None also while others are read first.
      failure: why it could not be loaded, for its users; empty if it could be, or while that is not known yet.
    """

    number: int
    name: str = ""
    stamp: str = ""
    version: str = ""
    users: int = 0
    last_used: int = 0
    loading: Future[ReadAdapter] | None = None
    failure: str = ""


class AdapterSlots:
    """Loads adapters when sequences need them; the least recently used one makes room.

    A sequence keeps what it was given until it ends, also while it has lost its pages, and an adapter that changes is
    another one. Files are read in a thread of their own: only the requests for it wait. One is read once
    the runner has the one before, as there is memory for one on its way. What is damaged is read once. All but `check`
    and `loaded` are of the thread that runs the steps.

    Attributes:
      loads: adapters that the runner was given, so far.
      failures: adapters that could not be loaded, so far.
    """

    def __init__(self, slots: int, source: AdapterSource) -> None:
        self.loads = 0
        self.failures = 0
        self._source = source
        self._slots = [AdapterSlot(number) for number in range(1, slots + 1)]
        self._to_read: deque[AdapterSlot] = deque()
        self._uses = count(1)
        self._failed: dict[str, tuple[str, str]] = {}  # by name: the stamp that was damaged, and how
        self._pool = ThreadPoolExecutor(1, "adapters")  # without a thread until something is to be read

    def check(self, name: str) -> None:
        """Whether somebody may wait for an adapter; may be called from any thread.

        Raises:
          AdapterNotFound: there is none of this name.
          AdapterUnusable: it could not be loaded, and has not changed since.
        """
        if fault := self.fault(name):
            raise fault

    def fault(self, name: str, slot: AdapterSlot | None = None) -> AdapterNotFound | AdapterUnusable | None:
        """Why waiting for an adapter is useless, as far as known.

        Args:
          name: of the adapter.
          slot: the place that the waiting request was given.
        """
        stamp = self._source.stamp(name)
        if not stamp:
            return AdapterNotFound(f"there is no adapter {name!r} any more")
        failed_stamp, failure = self._failed.get(name, ("", ""))
        if failed_stamp == stamp:
            return AdapterUnusable(failure)
        return AdapterUnusable(slot.failure) if slot is not None and slot.failure else None

    def take(self, name: str) -> AdapterSlot | None:
        """Gives a sequence an adapter as it is now, loaded or about to be; None while all places are in use."""
        slot = self._find(name) or self._place(name)
        if slot is not None:
            slot.users += 1
            slot.last_used = next(self._uses)
            self._read_next()
        return slot

    def give_back(self, slot: AdapterSlot) -> None:
        """A sequence that was given it has ended."""
        slot.users -= 1

    def land(self) -> None:
        """Has the runner take in what has been read."""
        for slot in self._slots:
            if slot.loading is None or not slot.loading.done():
                continue
            loading, slot.loading = slot.loading, None
            if error := loading.exception():
                self._fail(slot, error)
            else:
                adapter = loading.result()
                adapter.load(slot.number)
                slot.version = adapter.version
                self.loads += 1
            self._read_next()

    @property
    def loaded(self) -> list[str]:
        """Names of those that are loaded as they are now; of any thread, and of one moment or another."""
        slots = [(slot.name, slot.stamp) for slot in self._slots if slot.version]
        return sorted(name for name, stamp in slots if name and self._source.stamp(name) == stamp)

    @property
    def loading(self) -> bool:
        """Whether one is being read."""
        return any(slot.loading is not None for slot in self._slots)

    def _place(self, name: str) -> AdapterSlot | None:
        """Gives an adapter the slot of another one, to be read in its turn."""
        unused = [slot for slot in self._slots if not slot.users and slot.loading is None]
        if not unused:
            return None
        slot = min(unused, key=lambda slot: slot.last_used)
        slot.name, slot.stamp, slot.version, slot.failure = name, self._source.stamp(name), "", ""
        if slot not in self._to_read:
            self._to_read.append(slot)
        return slot

    def _read_next(self) -> None:
        while self._to_read and not self.loading:
            slot = self._to_read.popleft()
            if slot.users:
                slot.loading = self._pool.submit(self._source.read, slot.name)
            else:
                self._vacate(slot)

    def _fail(self, slot: AdapterSlot, error: BaseException) -> None:
        self.failures += 1
        _log.error("the adapter %s cannot be loaded: %s", slot.name, error)
        if isinstance(error, AdapterUnusable):
            slot.failure = f"the adapter {slot.name!r} cannot be loaded: {error}"
            if not isinstance(error, AdapterNotEverywhere):
                self._failed[slot.name] = slot.stamp, slot.failure
        else:
            slot.failure = f"the adapter {slot.name!r} cannot be loaded; the log of its replica group says why"
        self._vacate(slot)

    def _vacate(self, slot: AdapterSlot) -> None:
        slot.name = slot.stamp = ""
        slot.last_used = 0  # the next one takes this place and not that of an adapter that is loaded

    def _find(self, name: str) -> AdapterSlot | None:
        """The slot that has an adapter as it is now, or is about to have it."""
        stamp = self._source.stamp(name)
        return next((slot for slot in self._slots if (slot.name, slot.stamp) == (name, stamp)), None)
