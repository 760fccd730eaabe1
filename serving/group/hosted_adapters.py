"""HostedAdapters: the adapters of a group of several hosts, as its leader sees them."""

from collections.abc import Callable, Sequence
from itertools import count
from typing import Protocol

from serving.engine.adapters import ReadAdapter
from serving.engine.errors import AdapterNotEverywhere, AdapterUnusable
from serving.group.channel_messages import LoadAdapter
from serving.group.reading import Reading, unusable
from serving.models.adapter_directory import AdapterDirectory
from sharding.adapters.adapter import AdapterError
from sharding.adapters.forms import adapter_version

_TRIES = 2
"""An adapter may be replaced while the hosts read it, one before and one after that."""


class HostReaders(Protocol):
    """The `HostAdapters` of all hosts."""

    def read(self, read: int, name: str, version: str) -> Sequence[Reading]:
        """As `HostAdapters.read`, of each host in order of its rank; raises if one does not answer."""
        ...

    def forget(self, read: int) -> None:
        """As `HostAdapters.forget`, behind what was asked for before; does not wait for the hosts."""
        ...


class HostedAdapters:
    """An engine's `AdapterSource`: each host reads an adapter from its own directory, before any of them loads it.

    The leader's directory says which adapters there are, and which contents they are to have on every host. So no host
    computes with another adapter than the others, however late the machines see what is changed on a disk of theirs;
    and as nothing is loaded before all hosts have it, one that has it not is no reason to end their steps.
    """

    def __init__(self, directory: AdapterDirectory, hosts: HostReaders, load: Callable[[LoadAdapter], None]) -> None:
        """For a group.

        Args:
          directory: the leader's.
          hosts: read.
          load: has all hosts load what they have read; called by the thread that launches the steps.
        """
        self._directory = directory
        self._hosts = hosts
        self._load = load
        self._reads = count(1)

    def stamp(self, name: str) -> str:
        """As `AdapterDirectory.stamp`."""
        return self._directory.stamp(name)

    @property
    def age_s(self) -> float:
        """As `AdapterDirectory.age_s`."""
        return self._directory.age_s

    async def look(self, name: str) -> str:
        """As `AdapterDirectory.look`."""
        return await self._directory.look(name)

    def read(self, name: str) -> ReadAdapter:
        """Has every host read an adapter and bring it to its devices: steps go on meanwhile.

        Raises:
          AdapterUnusable: it cannot be used with this model, as all hosts say of the leader's contents.
          AdapterNotEverywhere: a host does not have it, or other contents, or cannot read them; names the host.
        """
        readings: Sequence[Reading] = ()
        for _ in range(_TRIES):
            read, version = next(self._reads), self._version(name)
            readings = self._read_on_hosts(read, name, version)
            if not any(reading.fault for reading in readings):
                return self._loaded_by_hosts(read, name, version)
        if len(set(readings)) == 1 and readings[0].is_same:
            raise AdapterUnusable(readings[0].fault)
        faults = [f"host {rank}: {each.fault.removesuffix('.')}" for rank, each in enumerate(readings) if each.fault]
        remedy = "The directory of adapters must have the same contents on every machine of the group."
        raise AdapterNotEverywhere(f"{'; '.join(faults)}. {remedy}")

    def _version(self, name: str) -> str:
        path = self._directory.path(name)
        try:
            return adapter_version(path)
        except AdapterError as error:
            raise AdapterNotEverywhere(str(unusable(path, error))) from None

    def _read_on_hosts(self, read: int, name: str, version: str) -> Sequence[Reading]:
        readings: Sequence[Reading] | None = None
        try:
            readings = self._hosts.read(read, name, version)
        finally:
            if readings is None or any(reading.fault for reading in readings):
                self._hosts.forget(read)
        return readings

    def _loaded_by_hosts(self, read: int, name: str, version: str) -> ReadAdapter:
        return ReadAdapter(version, lambda number: self._load(LoadAdapter(number, name, version, read)))
