"""HostAdapters: what one host of several has read of adapters, until its leader gives it a place in the runner."""

from serving.engine.adapters import ReadAdapter
from serving.engine.errors import AdapterUnusable
from serving.group.adapters import GroupAdapters, unusable
from serving.group.messages import LoadAdapter
from sharding.adapters.adapter import AdapterError
from sharding.adapters.forms import adapter_version


class HostAdapters:
    """Reads adapters from this host's own directory, and keeps them for `load`.

    One thread reads and forgets; another one, that of the steps, loads.
    """

    def __init__(self, adapters: GroupAdapters) -> None:
        self._adapters = adapters
        self._read: dict[int, tuple[str, str, ReadAdapter]] = {}

    def read(self, read: int, name: str, version: str) -> str:
        """Reads an adapter.

        Args:
          read: the number of this reading, by which `load` and `forget` mean it.
          name: of the adapter.
          version: the `adapter_version` that it has where the leader is.

        Returns:
          Why it cannot be loaded; empty if it can.
        """
        path = self._adapters.path(name)
        try:
            if adapter_version(path) != version:
                return "its files are others than the leader's"
            self._read[read] = name, version, self._adapters.read_at(path)
        except AdapterUnusable as error:
            return str(error)
        except AdapterError as error:
            return str(unusable(path, error))
        return ""

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
