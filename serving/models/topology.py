"""Topology: the accelerators of one replica group, and the resources that Ray reserves for them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

_SLICES = {1: "1x1", 4: "2x2", 8: "2x4", 16: "4x4", 32: "4x8", 64: "8x8", 128: "8x16", 256: "16x16"}
"""v5e slices by their chips: cloud.google.com/tpu/docs/v5e."""
_CHIPS_PER_HOST = (1, 4, 8)
_CHIPS_PER_HOST_OF_SEVERAL = 4

type Accelerator = Literal["cpu", "gpu", "tpu-v5litepod"]


class Topology(BaseModel):
    """The accelerators of one replica group: one mesh over all of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    accelerator: Accelerator = "cpu"
    chips_per_host: Annotated[int, Field(ge=1, le=256)] = 1
    """GPUs, TPU chips, or CPU devices: as so many a CPU appears."""
    hosts: Annotated[int, Field(ge=1, le=64)] = 1
    """With more than one, each has a process of its own, and the leader none of the chips."""
    tensor_parallel: int = Field(ge=1, default_factory=lambda data: data["hosts"] * data["chips_per_host"])
    """Chips that the model is split over: all of them."""

    @model_validator(mode="after")
    def _consistent(self) -> "Topology":
        chips = self.hosts * self.chips_per_host
        if self.tensor_parallel != chips:
            problem = "would be idle" if self.tensor_parallel < chips else "are missing"
            raise ValueError(
                f"tensor_parallel={self.tensor_parallel}, but hosts={self.hosts} x chips_per_host={self.chips_per_host}"
                f" are {chips} chips: {abs(chips - self.tensor_parallel)} {problem}. Make them equal, or leave "
                "tensor_parallel out."
            )
        if self.accelerator == "tpu-v5litepod":
            self._check_slice(chips)
        return self

    def _check_slice(self, chips: int) -> None:
        if self.chips_per_host not in _CHIPS_PER_HOST:
            raise ValueError(f"chips_per_host={self.chips_per_host}: a v5e host has 1, 4 or 8 chips.")
        if self.hosts > 1 and self.chips_per_host != _CHIPS_PER_HOST_OF_SEVERAL:
            raise ValueError(
                f"chips_per_host={self.chips_per_host} with hosts={self.hosts}: hosts of a v5e slice of several have "
                f"{_CHIPS_PER_HOST_OF_SEVERAL} chips each."
            )
        if chips not in _SLICES:
            slices = ", ".join(
                f"{name} ({size // _CHIPS_PER_HOST_OF_SEVERAL} hosts)"
                for size, name in _SLICES.items()
                if size > _CHIPS_PER_HOST_OF_SEVERAL
            )
            raise ValueError(
                f"hosts={self.hosts} x chips_per_host={self.chips_per_host} are {chips} chips: there is no such v5e "
                f"slice. Those of several hosts are {slices}."
            )

    @property
    def platform(self) -> str:
        """What JAX calls the accelerator: `cpu`, `gpu` or `tpu`."""
        return self.accelerator.partition("-")[0]

    @property
    def slice_shape(self) -> str | None:
        """The shape of the TPU slice, such as `2x4`; None without one."""
        return _SLICES[self.tensor_parallel] if self.platform == "tpu" else None

    @property
    def reserves_slice(self) -> bool:
        """Whether the group must reserve a slice itself: Ray Serve cannot, for slices are known by names only."""
        return self.platform == "tpu" and self.hosts > 1

    @property
    def host_resources(self) -> dict[str, float]:
        """What Ray must reserve on each host for its chips."""
        return {} if self.platform == "cpu" else {self.platform.upper(): float(self.chips_per_host)}

    def deployment_options(self, ray_actor_options: Mapping[str, Any]) -> dict[str, Any]:
        """What Ray Serve must reserve for a group: options of `serve.deployment`.

        With several hosts the leader has bundle 0 of a placement group, and host i bundle i + 1.

        Args:
          ray_actor_options: further ones for the leader, from the configuration.
        """
        options = dict(ray_actor_options)
        if self.hosts == 1 and self.platform == "gpu":
            options["num_gpus"] = self.chips_per_host
        if self.hosts == 1 and self.platform == "tpu":
            options["resources"] = {**options.get("resources", {}), **self.host_resources}
        if self.hosts == 1 or self.reserves_slice:
            return {"ray_actor_options": options}
        leader = {"CPU": ray_actor_options.get("num_cpus", 1), **ray_actor_options.get("resources", {})}
        host = {"CPU": 1, **self.host_resources}
        return {
            "ray_actor_options": options,
            "placement_group_bundles": [leader, *[host] * self.hosts],
            "placement_group_strategy": "PACK",
        }

    def __str__(self) -> str:
        """`2x2`, `2 GPUs`, `2 hosts x 4 CPU devices`: as logs name it."""
        if self.slice_shape is not None:
            return self.slice_shape
        chips = f"{self.chips_per_host} {'GPU' if self.platform == 'gpu' else 'CPU device'}"
        chips += "s" if self.chips_per_host > 1 else ""
        return chips if self.hosts == 1 else f"{self.hosts} hosts x {chips}"
