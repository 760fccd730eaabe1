"""The deployment graph: a Gateway in front of one deployment of replica groups per model."""

from typing import Any

from ray import serve
from ray.serve.config import RequestRouterConfig
from ray.serve.deployment import Application

from serving.balancing import SessionRouter
from serving.config import ModelConfig, ServingConfig
from serving.gateway.gateway import Gateway
from serving.group.leader import ReplicaGroup

_GATEWAY_CONCURRENCY = 1000
"""Open requests of one Gateway; each is a coroutine that mostly waits, the groups' queues are the real limit."""


def build(args: dict[str, object]) -> Application:
    """Ray Serve's application builder: `import_path: serving.app:build` with a `ServingConfig` as `args`.

    Raises:
      pydantic.ValidationError: `args` is not a valid ServingConfig; names each wrong field.
    """
    config = ServingConfig.model_validate(args)
    groups = {model.id: _group(model) for model in config.models}
    gateway = serve.deployment(
        name="Gateway",
        num_replicas=config.gateway.replicas,
        max_ongoing_requests=_GATEWAY_CONCURRENCY,
    )
    return gateway(Gateway).bind(config, groups)


def _group(model: ModelConfig) -> Application:
    router: dict[str, Any] = {
        "request_router_class": SessionRouter,
        "request_router_kwargs": {"rows": model.limits.max_rows},
    }
    deployment = serve.deployment(
        name=model.id,
        num_replicas=model.replicas,
        # Ray Serve never moves work once it is assigned: what a group cannot start waits in front of it instead.
        max_ongoing_requests=model.limits.max_rows,
        max_queued_requests=model.limits.max_queue,
        request_router_config=RequestRouterConfig(**router),
        health_check_period_s=1.0,
        **model.topology.deployment_options(model.ray_actor_options),
    )
    return deployment(ReplicaGroup).bind(model)
