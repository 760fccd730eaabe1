"""HostAdapters: what one host of several has read of adapters, until its leader gives it a place in the runner."""

from serving.engine.adapters import ReadAdapter
from serving.engine.errors import AdapterUnusable
from serving.group.adapters import GroupAdapters
from serving.group.channel_messages import LoadAdapter
from serving.group.reading import Reading, unusable
from sharding.adapters.adapter import AdapterError
from sharding.adapters.forms import adapter_version

_OTHERS = Reading("its files are others than the leader's", is_same=False)


class HostAdapters:
    """Reads adapters from this host's own directory, and keeps them for `load`.

    One thread reads and forgets; another one, that of the steps, loads.
    """

    def __init__(self, adapters: GroupAdapters) -> None:
        self._adapters = adapters
        self._read: dict[int, tuple[str, str, ReadAdapter]] = {}

    def read(self, read: int, name: str, version: str) -> Reading:
        """Reads an adapter.

        Args:
          read: the number of this reading, by which `load` and `forget` mean it.
          name: of the adapter.
          version: the `adapter_version` that it has where the leader is.
        """
        path = self._adapters.path(name)
        try:
            if adapter_version(path) != version:
                return _OTHERS
            adapter = self._adapters.read_at(path)
        except AdapterUnusable as error:
            return Reading(str(error))
        except AdapterError as error:
            return Reading(str(unusable(path, error)), is_same=False)
        if adapter.version != version:  # it has been written over meanwhile
            return _OTHERS
        self._read[read] = name, version, adapter
        return Reading()

    def forget(self, read: int) -> None:
        """Gives up what was read: another host could not."""
        self._read.pop(read, None)

    def load(self, adapter: LoadAdapter) -> None:
        """Has the runner take in what was read, behind the steps launched before.

        Raises:
          KeyError: it was not read here.
        """
        name, version, read = self._read.pop(adapter.read)
        assert (name, version) == (adapter.name, adapter.version), "a reading is of one adapter"
        read.load(adapter.number)
