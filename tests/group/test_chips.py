"""Chips of a TPU host: Ray says how one or two lie, and nothing of more."""

import pytest

from serving.group.chips import check_chips
from serving.models.topology import Topology


def _tpu(chips: int) -> Topology:
    return Topology(accelerator="tpu-v5litepod", chips_per_host=chips)


def test_four_chips_of_a_host_of_eight_are_refused() -> None:
    with pytest.raises(ValueError, match=r"chips_per_host=4: .* the chips 1,2,3,4 .* ct5lp-hightpu-4t"):
        check_chips(_tpu(4), {"TPU_VISIBLE_CHIPS": "1,2,3,4"})


@pytest.mark.parametrize(
    ("topology", "environment"),
    [
        (_tpu(4), {}),
        (_tpu(8), {}),
        (_tpu(1), {"TPU_VISIBLE_CHIPS": "5", "TPU_CHIPS_PER_HOST_BOUNDS": "1,1,1"}),
        (_tpu(4), {"TPU_VISIBLE_CHIPS": "0,1,2,3", "TPU_CHIPS_PER_PROCESS_BOUNDS": "2,2,1"}),
        (Topology(accelerator="gpu", chips_per_host=4), {"TPU_VISIBLE_CHIPS": "1,2,3,4"}),
    ],
    ids=["whole-host-of-four", "whole-host-of-eight", "one-chip", "bounds-that-somebody-set", "gpus"],
)
def test_chips_that_are_a_slice_are_taken(topology: Topology, environment: dict[str, str]) -> None:
    check_chips(topology, environment)


def test_ray_says_how_one_chip_lies_and_not_how_four_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private.accelerators.tpu import TPUAcceleratorManager

    monkeypatch.setattr(TPUAcceleratorManager, "get_current_node_num_accelerators", lambda: 8)
    for chips in (1, 4):
        environment: dict[str, str] = {}
        monkeypatch.setattr("os.environ", environment)
        TPUAcceleratorManager.set_current_process_visible_accelerator_ids([str(1 + chip) for chip in range(chips)])
        assert ("TPU_CHIPS_PER_HOST_BOUNDS" in environment) == (chips == 1)
        if chips == 4:
            with pytest.raises(ValueError, match="1,2,3,4"):
                check_chips(_tpu(chips), environment)
