"""Chips: what accelerators can do, and what they cost."""

from dataclasses import dataclass
from typing import Literal

from serving.models.chip_memory import V5E_BYTES

PRICES_OF = "2025"
"""When the prices were about right; they are assumptions, not quotes."""


@dataclass(frozen=True, kw_only=True)
class Chip:
    """One accelerator, by its data sheet.

    Attributes:
      platform: as `serving.models.topology` calls it.
      memory: bytes.
      bandwidth: of the memory, bytes a second.
      flops: dense bfloat16 operations a second.
      price: US dollars an hour, on demand, of Google Cloud's published prices: an assumption, see PRICES_OF.
    """

    name: str
    platform: Literal["gpu", "tpu"]
    memory: int
    bandwidth: float
    flops: float
    price: float


_ALL = (
    Chip(name="v5e", platform="tpu", memory=V5E_BYTES, bandwidth=819e9, flops=197e12, price=1.20),
    Chip(name="l4", platform="gpu", memory=24 * 10**9, bandwidth=300e9, flops=121e12, price=0.71),
    Chip(name="a100-40", platform="gpu", memory=40 * 10**9, bandwidth=1555e9, flops=312e12, price=3.67),
    Chip(name="a100-80", platform="gpu", memory=80 * 10**9, bandwidth=2039e9, flops=312e12, price=5.07),
    Chip(name="h100", platform="gpu", memory=80 * 10**9, bandwidth=3350e9, flops=989e12, price=11.06),
)
CHIPS = {chip.name: chip for chip in _ALL}
