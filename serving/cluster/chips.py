"""Chips: what accelerators can do, in which machines they come, and what they cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from serving.models.chip_memory import V5E_BYTES

PRICES_OF = "2025"
"""Date of the prices, which are assumptions, not quotes."""
_GPU_POOL = 0.75
"""The part of a GPU's memory that JAX allocates for programs (docs.jax.dev, GPU memory allocation)."""


@dataclass(frozen=True, kw_only=True)
class Chip:
    """One accelerator, by its data sheet.

    Attributes:
      platform: as `serving.models.topology` calls it.
      memory: bytes that programs can have.
      bandwidth: of the memory, bytes a second.
      flops: dense bfloat16 operations a second.
      price: US dollars an hour, on demand, with its part of the machine, of Google Cloud's published prices: an
        assumption, see PRICES_OF.
      machines: machine types by their number of chips.
      label: of nodes that have it, as GKE's `cloud.google.com/gke-accelerator` or `gke-tpu-accelerator`.
    """

    name: str
    platform: Literal["cpu", "gpu", "tpu"]
    memory: int
    bandwidth: float
    flops: float
    price: float
    machines: Mapping[int, str]
    label: str

    def machine(self, chips: int) -> tuple[str, int]:
        """The smallest machine type with so many chips, and how many it has.

        Raises:
          ValueError: none has.
        """
        for count, name in sorted(self.machines.items()):
            if count >= chips:
                return name, count
        raise ValueError(f"no machine has {chips} {self.name}; the largest has {max(self.machines)}.")


def _gpu(gigabytes: int) -> int:
    return int(gigabytes * 10**9 * _GPU_POOL)


_ALL = (
    Chip(
        name="v5e",
        platform="tpu",
        memory=V5E_BYTES,
        bandwidth=819e9,
        flops=197e12,
        price=1.20,
        machines={1: "ct5lp-hightpu-1t", 4: "ct5lp-hightpu-4t", 8: "ct5lp-hightpu-8t"},
        label="tpu-v5-lite-podslice",
    ),
    Chip(
        name="l4",
        platform="gpu",
        memory=_gpu(24),
        bandwidth=300e9,
        flops=121e12,
        price=1.00,
        machines={1: "g2-standard-12", 2: "g2-standard-24", 4: "g2-standard-48", 8: "g2-standard-96"},
        label="nvidia-l4",
    ),
    Chip(
        name="a100-40",
        platform="gpu",
        memory=_gpu(40),
        bandwidth=1555e9,
        flops=312e12,
        price=3.67,
        machines={n: f"a2-highgpu-{n}g" for n in (1, 2, 4, 8)},
        label="nvidia-tesla-a100",
    ),
    Chip(
        name="a100-80",
        platform="gpu",
        memory=_gpu(80),
        bandwidth=2039e9,
        flops=312e12,
        price=5.07,
        machines={n: f"a2-ultragpu-{n}g" for n in (1, 2, 4, 8)},
        label="nvidia-a100-80gb",
    ),
    Chip(
        name="h100",
        platform="gpu",
        memory=_gpu(80),
        bandwidth=3350e9,
        flops=989e12,
        price=11.06,
        machines={n: f"a3-highgpu-{n}g" for n in (1, 2, 4, 8)},
        label="nvidia-h100-80gb",
    ),
    # No data sheet: two cores of an AMD EPYC, so that half of this is what bench/README.md measured with int8-weights.
    Chip(
        name="2-cores",
        platform="cpu",
        memory=8 << 30,
        bandwidth=36e9,
        flops=1.07e12,
        price=0.10,
        machines={1: "machine with 2 cores"},
        label="",
    ),
)
CHIPS = {chip.name: chip for chip in _ALL}
