"""Discovery: which replica groups of a model there are, as Ray Serve tells each process that has a handle."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from serving.errors import Reason, ServingError
from serving.link import GroupAddress

_RETRY_AFTER_S = 10.0

type Groups = Mapping[str, GroupAddress]


@dataclass(frozen=True)
class _Watcher:
    loop: asyncio.AbstractEventLoop
    on_change: Callable[[Groups], None]


# By application and deployment; Ray Serve makes the request routers itself.
_watchers: dict[tuple[str, str], _Watcher] = {}
_latest: dict[tuple[str, str], Groups] = {}


def watch(handle: DeploymentHandle[Any], on_change: Callable[[Groups], None]) -> None:
    """Calls `on_change` in this event loop with all groups of a deployment, now and whenever they change.

    One watcher for each deployment in a process: a later one takes the place of an earlier.
    """
    key = (handle.app_name, handle.deployment_name)
    _watchers[key] = _Watcher(asyncio.get_running_loop(), on_change)
    on_change(_latest.get(key, {}))
    handle.options(method_name="wake")  # has Ray Serve make the handle's router, if there is none yet


async def wake(handle: DeploymentHandle[Any]) -> None:
    """Has Ray Serve start a group if there is none; returns when one runs.

    Raises:
      ServingError: UNAVAILABLE, Ray Serve has given the deployment up.
    """
    try:
        await handle.wake.remote()
    except DeploymentUnavailableError:
        raise ServingError(
            Reason.UNAVAILABLE,
            f"Model {handle.deployment_name!r} could not be started; the log of its deployment says why.",
            retry_after_s=_RETRY_AFTER_S,
        ) from None


def announce(application: str, deployment: str, groups: Groups) -> None:
    """Tells the watcher of a deployment; called in whatever thread."""
    _latest[application, deployment] = groups
    watcher = _watchers.get((application, deployment))
    if watcher is not None and not watcher.loop.is_closed():
        watcher.loop.call_soon_threadsafe(watcher.on_change, groups)
