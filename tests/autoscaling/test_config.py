"""The settings: mistakes are refused with the remedy, and Ray Serve accepts what is made of them."""

import pytest
from pydantic import ValidationError
from ray.serve.config import AutoscalingConfig as RayAutoscalingConfig

from serving.autoscaling.config import AutoscalingConfig
from serving.autoscaling.serve_policy import ServeQueueDepthPolicy, serve_autoscaling_options
from serving.config import ModelConfig

_MODEL = {"id": "m", "checkpoint": "/m", "roles": ["fim"]}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "max_replicas\n  Field required"),
        ({"min_replicas": 3, "max_replicas": 2}, "min_replicas=3 is more than max_replicas=2. Raise max_replicas or"),
        ({"max_replicas": 2, "target_queued_per_replica": 0}, "target_queued_per_replica"),
        ({"max_replicas": 2, "target_ongoing_requests": 2}, "target_ongoing_requests"),
    ],
)
def test_a_mistake_is_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AutoscalingConfig.model_validate(settings)


def test_a_number_of_replicas_excludes_autoscaling() -> None:
    with pytest.raises(ValidationError, match=r"replicas=2 is set and so is autoscaling.*Remove replicas"):
        ModelConfig.model_validate(_MODEL | {"replicas": 2, "autoscaling": {"max_replicas": 4}})


def test_a_target_beyond_the_queue_is_refused() -> None:
    settings = {"limits": {"max_queue": 4}, "autoscaling": {"max_replicas": 4, "target_queued_per_replica": 4}}
    with pytest.raises(ValidationError, match=r"target_queued_per_replica=4 is not below limits\.max_queue=4"):
        ModelConfig.model_validate(_MODEL | settings)


def test_a_model_may_scale_to_zero() -> None:
    model = ModelConfig.model_validate(_MODEL | {"autoscaling": {"min_replicas": 0, "max_replicas": 4}})
    assert model.autoscaling is not None
    assert model.autoscaling.min_replicas == 0


@pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning")
def test_ray_serve_builds_the_policy_from_the_options() -> None:
    config = AutoscalingConfig(
        min_replicas=0, max_replicas=7, upscale_delay_s=1, downscale_delay_s=3, metrics_interval_s=0.5
    )
    ray = RayAutoscalingConfig.model_validate(serve_autoscaling_options(config))
    assert (ray.min_replicas, ray.max_replicas, ray.initial_replicas) == (0, 7, None)
    assert (ray.upscale_delay_s, ray.downscale_delay_s) == (1, 3)
    assert (ray.metrics_interval_s, ray.look_back_period_s) == (0.5, 1.5)
    policy_class = ray.policy.get_policy()  # out of the pickle that the controller gets
    assert policy_class.__name__ == ServeQueueDepthPolicy.__name__
    assert callable(policy_class(**ray.policy.policy_kwargs))
