"""The deployment graph: a Gateway in front of one deployment of replica groups per model."""

from typing import Any

from ray import serve
from ray.serve.config import RequestRouterConfig
from ray.serve.deployment import Application
from ray.serve.request_router import RequestRouter

from serving.autoscaling.serve_policy import serve_autoscaling_options
from serving.balancing import SessionRouter
from serving.checkpoint_path import checkpoint_path
from serving.config import ModelConfig, ServingConfig
from serving.gateway.gateway import Gateway
from serving.group.leader import ReplicaGroup
from serving.sizing import check_model
from sharding.checkpoint import open_checkpoint

_GATEWAY_CONCURRENCY = 1000
"""Open requests of one Gateway; each is a coroutine that mostly waits, the groups' queues are the real limit."""
_URGENT_ROOM = 2
"""Requests at least that a group takes beyond its rows; `serving.balancing` keeps this room for urgent ones."""


def build(args: dict[str, object]) -> Application:
    """Ray Serve's application builder: `import_path: serving.app:build` with a `ServingConfig` as `args`.

    Raises:
      pydantic.ValidationError: `args` is not a valid ServingConfig; names each wrong field.
      ValueError: a model does not fit its topology; says why in numbers.
      CheckpointError: a checkpoint that is here cannot be read.
    """
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
    config: ServingConfig, group: type[ReplicaGroup] = ReplicaGroup, router: type[RequestRouter] = SessionRouter
) -> Application:
    """The service of a configuration; benchmarks give groups without a model, or another router to compare with."""
    groups = {model.id: _group(model, group, router) for model in config.models}
    gateway = serve.deployment(
        name="Gateway",
        num_replicas=config.gateway.replicas,
        max_ongoing_requests=_GATEWAY_CONCURRENCY,
        graceful_shutdown_timeout_s=max(model.drain_timeout_s for model in config.models),
    )
    return gateway(Gateway).bind(config, groups)


def _group(model: ModelConfig, group: type[ReplicaGroup], router: type[RequestRouter]) -> Application:
    rows = model.limits.max_rows
    routing: dict[str, Any] = {
        "request_router_class": router,
        "request_router_kwargs": {"rows": rows},
        "max_backoff_s": 0.1,
    }
    deployment = serve.deployment(
        name=model.id,
        **_scaling(model),
        # Ray Serve never moves work once it is assigned: what a group cannot start waits in front of it instead.
        max_ongoing_requests=rows + max(_URGENT_ROOM, rows // 2),
        max_queued_requests=model.limits.max_queue,
        request_router_config=RequestRouterConfig(**routing),
        health_check_period_s=1.0,
        graceful_shutdown_timeout_s=model.drain_timeout_s,
        graceful_shutdown_wait_loop_s=0.5,
        **model.topology.deployment_options(model.ray_actor_options),
    )
    return deployment(group).bind(model)


def _scaling(model: ModelConfig) -> dict[str, Any]:
    if model.autoscaling is None:
        return {"num_replicas": model.replicas}
    return {"autoscaling_config": serve_autoscaling_options(model.autoscaling)}
