"""The deployment graph: a Gateway in front of one deployment of replica groups per model."""

from typing import Any

from ray import serve
from ray.serve.config import RequestRouterConfig
from ray.serve.deployment import Application

from serving.autoscaling.serve_policy import serve_autoscaling_options
from serving.config import ModelConfig, ServingConfig
from serving.gateway.gateway import Gateway
from serving.gateway.groups.placement import Placement, choose
from serving.gateway.groups.request_router import GroupDiscovery
from serving.group.leader import ReplicaGroup
from serving.models.checkpoint_path import checkpoint_path
from serving.models.chip_memory import check_model
from serving.servers.ray_environment import check_version, gateway_environment
from sharding.checkpoint import open_checkpoint

_GATEWAY_CONCURRENCY = 1000
"""Open requests of one Gateway; each is a coroutine that mostly waits, the groups' queues are the real limit."""
_HEALTH_CHECK_S = 1.0
"""How long the loss of a process may stay unnoticed; Ray Serve takes 10."""
_DEREGISTER_S = 0.5
"""For the Gateways to learn that a group is to go, before it refuses what still comes."""
_STOP_S = 15.0
"""Beyond its drain_timeout_s, for a group to end its last step and its hosts."""


def build(args: dict[str, object]) -> Application:
    """Ray Serve's application builder: `import_path: serving.app:build` with a `ServingConfig` as `args`.

    Raises:
      pydantic.ValidationError: `args` is not a valid ServingConfig; names each wrong field.
      ValueError: a model does not fit its topology; says why in numbers. Or the environment is of another version.
      CheckpointError: a checkpoint that is here cannot be read.
    """
    check_version()
    config = ServingConfig.model_validate(args)
    for model in config.models:
        _check_fits(model)
    return application(config)


def _check_fits(model: ModelConfig) -> None:
    try:
        path = checkpoint_path(model.checkpoint)
    except FileNotFoundError:
        return  # it may be on the groups' machines only; they check as well
    check_model(model, open_checkpoint(path).config)


def application(
    config: ServingConfig, group: type[ReplicaGroup] = ReplicaGroup, placement: Placement = choose
) -> Application:
    """The service of a configuration; benchmarks give groups without a model, or another placement to compare with."""
    groups = {model.id: _group(model, group) for model in config.models}
    gateway = serve.deployment(
        name="Gateway",
        num_replicas=config.gateway.replicas,
        max_ongoing_requests=_GATEWAY_CONCURRENCY,
        max_surge_percent=100,  # the only Gateway must not go before another is there
        health_check_period_s=_HEALTH_CHECK_S,
        ray_actor_options={"runtime_env": {"env_vars": gateway_environment(config.gateway)}},
        graceful_shutdown_timeout_s=max(model.drain_timeout_s for model in config.models),
    )
    return gateway(Gateway).bind(config, groups, placement)


def _group(model: ModelConfig, group: type[ReplicaGroup]) -> Application:
    routing: dict[str, Any] = {"request_router_class": GroupDiscovery}
    deployment = serve.deployment(
        name=model.id,
        **_scaling(model),
        request_router_config=RequestRouterConfig(**routing),
        max_surge_percent=model.max_surge_percent,
        health_check_period_s=_HEALTH_CHECK_S,
        graceful_shutdown_timeout_s=model.drain_timeout_s + _STOP_S,
        graceful_shutdown_wait_loop_s=_DEREGISTER_S,
        **model.topology.deployment_options(model.ray_actor_options),
    )
    return deployment(group).bind(model)


def _scaling(model: ModelConfig) -> dict[str, Any]:
    if model.autoscaling is None:
        return {"num_replicas": model.replicas}
    return {"autoscaling_config": serve_autoscaling_options(model.autoscaling)}
