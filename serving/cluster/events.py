"""Events: failures that Kubernetes and KubeRay report, by time."""

from collections.abc import Iterable
from datetime import UTC, datetime

from serving.cluster.connection import Cluster, Object
from serving.cluster.errors import ForbiddenError
from serving.cluster.kinds import EVENTS

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def read_warnings(cluster: Cluster, **about: str) -> list[Object]:
    """The namespace's events that say what failed; none if the user may not read them: they only explain.

    Args:
      cluster: where.
      about: fields of the object that they are about, such as `kind` and `name`.
    """
    fields = ["type=Warning", *(f"involvedObject.{field}={value}" for field, value in about.items())]
    try:
        return cluster.items(EVENTS.path(cluster.namespace), fieldSelector=",".join(fields))
    except ForbiddenError:
        return []


def newest_about(events: Iterable[Object], kind: str, name: str) -> Object | None:
    """The newest event about an object; a list of the API is in no order of time."""
    about = [event for event in events if _is_about(event, kind, name)]
    return max(about, key=time_of, default=None)


def _is_about(event: Object, kind: str, name: str) -> bool:
    one = event.get("involvedObject") or {}
    return (one.get("kind"), one.get("name")) == (kind, name)


def time_of(event: Object) -> datetime:
    """When it happened last. The field depends on the API that wrote the event."""
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    said = next((one for one in (*times, event["metadata"].get("creationTimestamp")) if one), None)
    return datetime.fromisoformat(said) if said else _LONG_AGO


def words_of(event: Object) -> str:
    """What it says."""
    return str(event.get("message") or event.get("reason") or "no reason given")
