"""GroupAdapters: the adapters in a directory, for the runner of this process."""

from collections.abc import Callable

from serving.adapter_directory import AdapterDirectory
from serving.engine.adapters import ReadAdapter
from sharding.adapters import Adapter
from sharding.adapters.peft import read_peft
from sharding.config import GemmaConfig


class GroupAdapters:
    """An engine's `AdapterSource`."""

    def __init__(
        self, directory: AdapterDirectory, config: GemmaConfig, max_rank: int, load: Callable[[int, Adapter], None]
    ) -> None:
        """For a model of this shape; `load` is `ModelRunner.load_adapter`."""
        self._directory = directory
        self._config = config
        self._max_rank = max_rank
        self._load = load

    def stamp(self, name: str) -> str:
        """As `AdapterDirectory.stamp`."""
        return self._directory.stamp(name)

    def read(self, name: str) -> ReadAdapter:
        """Reads an adapter.

        Raises:
          AdapterError: it cannot be used with this model; names file and tensor.
        """
        adapter = read_peft(self._directory.path(name), self._config, self._max_rank)
        return ReadAdapter(adapter.version, lambda number: self._load(number, adapter))
