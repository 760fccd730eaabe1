"""AdapterSlots: which adapters the runner has, and which sequences use them."""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple, Protocol

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
        """Reads an adapter, which takes a while; may raise anything."""
        ...


class NoAdapters:
    """The source of a model without any."""

    def stamp(self, name: str) -> str:
        """There is none."""
        return ""

    def read(self, name: str) -> ReadAdapter:
        """Nobody can have found one."""
        raise KeyError(name)


@dataclass(slots=True, eq=False)
class AdapterSlot:
    """A place for an adapter in the runner.

    Attributes:
      number: as `Opening.adapter` has it.
      name, stamp: of the adapter that it has or is about to have; empty for none.
      version: of its contents, once they are there.
      users: sequences that were given it and have not ended.
      last_used: grows with each use.
      loading: reads it.
    """

    number: int
    name: str = ""
    stamp: str = ""
    version: str = ""
    users: int = 0
    last_used: int = 0
    loading: Future[ReadAdapter] | None = None


class AdapterSlots:
    """Loads adapters as sequences ask for them; the least recently used one makes room.

    A sequence keeps what it was given until it ends, also while it has lost its pages, and an adapter that changes is
    another one. Files are read in a thread of their own: nobody but those who asked waits for that. All
    methods are called by the thread that runs the steps.
    """

    def __init__(self, slots: int, source: AdapterSource) -> None:
        self._source = source
        self._slots = [AdapterSlot(number) for number in range(1, slots + 1)]
        self._uses = count(1)
        self._pool = ThreadPoolExecutor(1, "adapters")  # without a thread until something is to be read

    def exists(self, name: str) -> bool:
        """Whether there is an adapter of this name."""
        return bool(self._source.stamp(name))

    def take(self, name: str) -> AdapterSlot | None:
        """Gives a sequence an adapter as it is now; None if it is not loaded."""
        slot = self._find(name)
        if slot is None or not slot.version:
            return None
        slot.users += 1
        slot.last_used = next(self._uses)
        return slot

    def give_back(self, slot: AdapterSlot) -> None:
        """A sequence that was given it has ended."""
        slot.users -= 1

    def request(self, name: str) -> bool:
        """Has an adapter loaded that is not; returns whether it will be: not while all places are in use."""
        if self._find(name) is not None:
            return True
        unused = [slot for slot in self._slots if not slot.users and slot.loading is None]
        if not unused:
            return False
        slot = min(unused, key=lambda slot: slot.last_used)
        slot.name, slot.stamp, slot.version = name, self._source.stamp(name), ""
        slot.last_used = next(self._uses)
        slot.loading = self._pool.submit(self._source.read, name)
        return True

    def land(self) -> set[str]:
        """Has the runner take in what has been read; returns the names of what could not be read."""
        failed = set()
        for slot in self._slots:
            if slot.loading is None or not slot.loading.done():
                continue
            loading, slot.loading = slot.loading, None
            if error := loading.exception():
                _log.error("the adapter %s cannot be loaded: %s", slot.name, error)
                failed.add(slot.name)
                slot.name = slot.stamp = ""
            else:
                adapter = loading.result()
                adapter.load(slot.number)
                slot.version = adapter.version
        return failed

    @property
    def loading(self) -> bool:
        """Whether one is being read."""
        return any(slot.loading is not None for slot in self._slots)

    @property
    def loaded(self) -> int:
        """How many there are."""
        return sum(bool(slot.version) for slot in self._slots)

    def _find(self, name: str) -> AdapterSlot | None:
        """The slot that has an adapter as it is now, or is about to have it."""
        stamp = self._source.stamp(name)
        return next((slot for slot in self._slots if (slot.name, slot.stamp) == (name, stamp)), None)
