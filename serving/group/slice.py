"""Reserving a whole TPU slice of several hosts for one replica group.

Ray knows a slice by a name that only its nodes have, so Ray Serve cannot reserve one before the group starts.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.util.placement_group import PlacementGroup
from ray.util.tpu import slice_placement_group

from serving.models.topology import Topology

RESERVATION_TIMEOUT_S = 60.0
"""A slice that is not free by then is not free: Ray Serve tries again, as it does for every replica."""


@contextmanager
def reserved_slice(topology: Topology) -> Iterator[PlacementGroup]:
    """Reserves a free slice; bundle i of the placement group is host i. Released at the end, or when this process dies.

    Raises:
      TimeoutError: none is free.
    """
    assert topology.slice_shape is not None
    reservation = slice_placement_group(
        topology.slice_shape,
        topology.accelerator.removeprefix("tpu-"),
        chips_per_vm=topology.chips_per_host,
        strategy="STRICT_SPREAD",
        head_reservation_timeout_s=RESERVATION_TIMEOUT_S,
    )
    try:
        group = reservation.placement_group
        ray.get(group.ready(), timeout=RESERVATION_TIMEOUT_S)
        reservation.release_head_pgs()  # the bundles hold the chips now
        yield group
    finally:
        reservation.shutdown()
