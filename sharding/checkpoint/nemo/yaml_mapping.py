"""Untrusted YAML: plain mappings, bounded in what they expand to."""

from typing import Any

import yaml

from sharding.checkpoint.errors import CheckpointError

_MAX_EXPANDED = 2**20
"""Nodes and characters that aliases may expand to."""


class _Loader(yaml.SafeLoader):
    """Plain YAML: a tag of Python's makes nothing, and merges, which can grow without end, are not done.

    Aliases of aliases, of which a few bytes stand for any amount, are bounded by what they all expand to.
    """

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self._expanded = 0
        self._sizes: dict[yaml.Node, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """See `yaml.SafeLoader`. Counts nodes and characters, those of an alias as often as it stands there."""
        before, is_alias = self._expanded, self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        if node is None:
            return None
        if is_alias and node not in self._sizes:
            raise yaml.YAMLError("an alias of what it is in")
        if is_alias:
            self._expanded += self._sizes[node]
        else:
            self._expanded += 1 + (len(node.value) if isinstance(node, yaml.ScalarNode) else 0)
            self._sizes[node] = self._expanded - before
        if self._expanded > _MAX_EXPANDED:
            raise yaml.YAMLError("aliases that expand without end")
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """See `yaml.SafeLoader`."""


_Loader.add_multi_constructor("", lambda loader, suffix, node: None)


def read_mapping(text: bytes) -> dict[str, Any]:
    """The mapping that a text is.

    Raises:
      CheckpointError: it is no YAML, or no mapping.
    """
    try:
        return as_mapping(yaml.load(text, _Loader), "it")  # safe: see `_Loader`
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError) as error:
        raise CheckpointError(f"it is not valid YAML: {type(error).__name__}.") from error


def as_mapping(value: object, name: str) -> dict[str, Any]:
    """A value that has to be a mapping.

    Raises:
      CheckpointError: it is none.
    """
    if not isinstance(value, dict):
        raise CheckpointError(f"{name} is no mapping.")
    return value
