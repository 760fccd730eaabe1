"""Chips: whether those that Ray hands a process are a slice."""

from collections.abc import Mapping

from serving.models.topology import Topology

_VISIBLE, _BOUNDS = "TPU_VISIBLE_CHIPS", "TPU_CHIPS_PER_PROCESS_BOUNDS"
_BOUNDED_BY_RAY = 2
"""Ray says how one and two chips of a host lie: `TPU_CHIPS_PER_HOST_BOUNDS` in its `_private/accelerators/tpu.py`."""


def check_chips(topology: Topology, environment: Mapping[str, str]) -> None:
    """Whether the TPU's library can make a slice of the chips that this process may see.

    Ray hides no chips where a group has all of its host, and else shows those that were free, in whatever shape.

    Args:
      topology: of the group.
      environment: of this process.

    Raises:
      ValueError: they are some of a larger host, and nothing says how they lie.
    """
    visible = environment.get(_VISIBLE)
    if topology.platform != "tpu" or visible is None or _BOUNDS in environment:
        return
    if topology.chips_per_host > _BOUNDED_BY_RAY:
        raise ValueError(
            f"chips_per_host={topology.chips_per_host}: Ray gave this group the chips {visible} of a larger host, "
            "which need not be a slice. Run it on hosts of as many chips as it takes: of ct5lp-hightpu-"
            f"{topology.chips_per_host}t machines."
        )
