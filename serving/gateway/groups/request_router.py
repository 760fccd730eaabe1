"""GroupDiscovery: the end of Ray Serve's announcements of replicas.

A module of its own: Ray Serve sends it around by value, so that what it keeps would be a copy in each place.
"""

from typing import Any

from ray.serve._private.request_router.pow_2_router import PowerOfTwoChoicesRequestRouter

from serving.gateway.groups.discovery import announce
from serving.link import GroupAddress


class GroupDiscovery(PowerOfTwoChoicesRequestRouter):
    """The request router of replica groups: routes the few calls that are made through handles as usual."""

    def update_replicas(self, replicas: list[Any]) -> None:
        """Called by Ray Serve with the running replicas, first and whenever there is a change."""
        super().update_replicas(replicas)
        groups = {replica.replica_id.unique_id: GroupAddress(**replica.replica_metadata) for replica in replicas}
        announce(self._deployment_id.app_name, self._deployment_id.name, groups)
