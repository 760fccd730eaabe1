"""The progress of a starting replica group, for those who watch the cluster."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from json import dumps, loads

from ray.experimental import internal_kv

OnProgress = Callable[[str, int, int], None]
"""Told the phase, and how much of it is done of how much."""

_NAMESPACE = b"codegemma-start-up"


@dataclass(frozen=True, slots=True)
class Progress:
    """One long phase of a model's start-up: `done` of `total` steps, in whatever unit the phase counts."""

    model: str
    phase: str
    done: int
    total: int


def report(progress: Progress) -> None:
    """Replace what is known of this phase. Kept in the cluster's own key-value store."""
    key = f"{progress.model}: {progress.phase}"
    internal_kv._internal_kv_put(key, dumps(asdict(progress)), overwrite=True, namespace=_NAMESPACE)


def read() -> list[Progress]:
    """The latest report of each phase of the models that are starting or have started."""
    names = internal_kv._internal_kv_list(b"", namespace=_NAMESPACE)
    values = [internal_kv._internal_kv_get(name, namespace=_NAMESPACE) for name in names]
    return [Progress(**loads(value)) for value in values if value]
