"""GroupAdapters: the adapters in a directory, for the runner of this process."""

from pathlib import Path

from serving.engine.adapters import ReadAdapter
from serving.group.reading import unusable
from serving.models.adapter_directory import AdapterDirectory
from sharding.adapters.adapter import AdapterError
from sharding.adapters.reader import read_adapter
from sharding.config import GemmaConfig
from sharding.runner import ModelRunner


class GroupAdapters:
    """An engine's `AdapterSource`."""

    def __init__(self, directory: AdapterDirectory, config: GemmaConfig, runner: ModelRunner) -> None:
        """For a model of this shape."""
        self._directory = directory
        self._config = config
        self._runner = runner

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
        """As `read_at`, of the adapter that has the name now."""
        return self.read_at(self.path(name))

    def path(self, name: str) -> Path:
        """As `AdapterDirectory.path`."""
        return self._directory.path(name)

    def read_at(self, path: Path) -> ReadAdapter:
        """Reads an adapter and brings it to the devices, which is most of the work: steps go on meanwhile.

        Raises:
          AdapterUnusable: it cannot be used with this model; names file and tensor, and no directory of this machine.
        """
        runner = self._runner
        try:
            adapter = read_adapter(path, self._config, runner.limits.adapter_rank)
        except AdapterError as error:
            raise unusable(path, error) from None
        placed = runner.place_adapter(adapter)
        return ReadAdapter(adapter.version, lambda number: runner.load_adapter(number, placed))
