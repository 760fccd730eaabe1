"""Fields: an object of Kubernetes, as JSON, whose fields are errors with a name where they are missing."""

import re
from collections.abc import Mapping
from typing import Any

from serving.cluster.errors import ClusterError

_PLACE = re.compile(r"\[\d+\]")


class MissingFieldError(ClusterError):
    """An object lacks a field that is needed.

    Attributes:
      subject: the object.
      text: which field it lacks.
      remedy: what to do.
    """

    def __init__(self, kind: str, name: str, field: str) -> None:
        self.subject = f"{kind} {name}"
        self.text = f"has no {field}"
        self.remedy = f"Add it; `kubectl explain {kind.lower()}.{_PLACE.sub('', field)}` says what it is."
        super().__init__(f"{self.subject} {self.text}. {self.remedy}")


class Fields(dict[str, Any]):
    """A mapping of an object. To Kubernetes null is the same as nothing, and so it is to `[]` and `get`.

    Raises:
      MissingFieldError: a field is looked up by `[]`, and is not there.
    """

    def __init__(self, content: Mapping[str, Any], kind: str, name: str, path: str) -> None:
        super().__init__(content)
        self._whose = kind, name, path

    def __getitem__(self, field: str) -> Any:
        value = self.get(field)
        if value is None:
            kind, name, path = self._whose
            raise MissingFieldError(kind, name, f"{path}{field}")
        return value

    def get(self, field: str, default: Any = None) -> Any:
        """The value of a field, or the default where there is none."""
        value = super().get(field)
        return default if value is None else value


def with_fields(one: Mapping[str, Any], kind: str = "object") -> dict[str, Any]:
    """An object all of whose mappings are `Fields`.

    Args:
      one: the object.
      kind: what it is, if it does not say so itself.
    """
    metadata = one.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    fields: dict[str, Any] = _part(one, str(one.get("kind") or kind), str(name or "without a name"), "")
    return fields


def _part(value: Any, kind: str, name: str, path: str) -> Any:
    if isinstance(value, Mapping):
        prefix = f"{path}." if path else ""
        content = {key: _part(each, kind, name, f"{prefix}{key}") for key, each in value.items()}
        return Fields(content, kind, name, prefix)
    if isinstance(value, list):
        return [_part(each, kind, name, f"{path}[{index}]") for index, each in enumerate(value)]
    return value
