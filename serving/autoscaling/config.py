"""AutoscalingConfig: what an operator sets for a model whose replica groups come and go with the work."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator


class AutoscalingConfig(BaseModel):
    """Bounds, one target, and how fast to follow it. `docs/autoscaling.md` shows how to choose them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_replicas: Annotated[int, Field(ge=0)] = 1
    """0 lets an idle model go; the next request then waits until a group has started."""
    max_replicas: Annotated[int, Field(ge=1)]
    target_queued_per_replica: Annotated[float, Field(gt=0)] = 4.0
    """Requests that may wait for each group before another is started. Lower for completion than for chat."""
    upscale_delay_s: Annotated[float, Field(ge=0)] = 5.0
    """More must have been wanted for this long before groups are started."""
    downscale_delay_s: Annotated[float, Field(ge=0)] = 300.0
    """Fewer must have been wanted for this long before groups are stopped; several times the start of a group."""
    metrics_interval_s: Annotated[float, Field(gt=0)] = 2.0
    """Time between two reports of a group. A report older than three of them no longer counts."""

    @model_validator(mode="after")
    def _consistent(self) -> "AutoscalingConfig":
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas={self.min_replicas} is more than max_replicas={self.max_replicas}. "
                "Raise max_replicas or lower min_replicas."
            )
        return self

    @property
    def stale_after_s(self) -> float:
        """Age from which a report says nothing about now: two were missed."""
        return 3 * self.metrics_interval_s
