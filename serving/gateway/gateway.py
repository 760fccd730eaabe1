"""The Gateway: the one ingress deployment, for HTTP and gRPC."""

import gc
from functools import partial
from typing import Any

from ray import serve
from ray._private.worker import global_worker
from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]  # compiled, without types
from ray.serve.context import _get_global_client as get_global_client
from ray.serve.handle import DeploymentHandle
from starlette.applications import Starlette

from serving.config import ServingConfig
from serving.gateway.access import access_for
from serving.gateway.audit import audit_for
from serving.gateway.feedback.completion_id import CompletionIds
from serving.gateway.groups.discovery import wake, watch
from serving.gateway.groups.placement import Placement, choose
from serving.gateway.groups.pool import GroupPool
from serving.gateway.grpc.service import GrpcService
from serving.gateway.http.app import build_http_app
from serving.gateway.quotas import quotas_for
from serving.gateway.records import RequestRecords
from serving.gateway.self_check import Ports, SelfCheck
from serving.gateway.served_model import ServedModel
from serving.gateway.service import CodeService
from serving.gateway.single_flight import SingleFlight
from serving.gateway.text.tokenizers import load_tokenizer
from serving.models.adapter_directory import adapter_directory
from serving.models.checkpoint_path import checkpoint_path
from serving.servers.grpc_server import harden
from serving.telemetry.loop_watch import LoopWatch
from serving.telemetry.recorder import RayRecorder
from serving.telemetry.tracing import flush_tracing, start_tracing

_GARBAGE = 20_000
"""Objects until garbage is looked for. Open requests have thousands, and Python's 700 would be reached with each."""

harden()  # here, as Ray Serve makes a replica's first gRPC server once it has read the replica's class


@serve.ingress()
class Gateway(GrpcService):
    """Turns both wires into `CodeRequest`s and answers them from the models' groups.

    HTTP comes through the Starlette app; a gRPC call arrives at the method of its name in `GrpcService`.
    """

    def __init__(
        self, config: ServingConfig, groups: dict[str, DeploymentHandle[Any]], placement: Placement = choose
    ) -> None:
        """Raises ValueError for what the configuration or the environment says wrongly."""
        start_tracing()
        directories = {model.id: adapter_directory(model) for model in config.models}
        pools = {model.id: GroupPool(model, partial(wake, groups[model.id]), placement) for model in config.models}
        for model_id, pool in pools.items():
            watch(groups[model_id], pool.update)
        models = [
            ServedModel(
                config=model,
                tokenizer=load_tokenizer(checkpoint_path(model.checkpoint), model.tokenizer),
                backend=SingleFlight(pools[model.id], directories[model.id]),
                max_context=model.limits.max_context,
                adapters=directories[model.id],
            )
            for model in config.models
        ]
        self._config = config.gateway
        self._pools = pools
        self._directories = {model: directory for model, directory in directories.items() if directory is not None}
        self._self_check = SelfCheck()
        recorder = RayRecorder()
        access = access_for(config.gateway, _http_host(), recorder)
        audit = audit_for(config.gateway.audit_log)
        self._records = RequestRecords(recorder, config.models, audit, CompletionIds(_cluster_secret()))
        self._service = CodeService(
            models,
            config.gateway,
            config.routing,
            access=access,
            records=self._records,
            quotas=quotas_for(config.gateway, recorder),
        )
        GrpcService.__init__(self, self._service, config.gateway)
        LoopWatch(recorder).start()
        gc.freeze()  # all this is permanent; a full garbage collection that scans it holds the loop for 0.1 s
        gc.set_threshold(_GARBAGE)

    async def check_health(self) -> None:
        """Called by Ray Serve every second; also reports the state of the Gateway to the metrics.

        Raises:
          RuntimeError: one of its ports does not answer. Ray Serve replaces a Gateway of which it hears that often.
        """
        self._records.report(self._pools, self._directories)
        await self._self_check.check(_ports())

    async def __del__(self) -> None:
        """Called by Ray Serve when the last request has ended: the process is killed next."""
        await self._service.close()
        flush_tracing()

    def __serve_build_asgi_app__(self) -> Starlette:
        return build_http_app(lambda: self._service, self._config)


def _cluster_secret() -> bytes:
    """Ray's token, which every process of the cluster has and no client; empty without one."""
    tokens = AuthenticationTokenLoader.instance()
    return str(tokens.get_raw_token()).encode() if tokens.has_token() else b""


def _http_host() -> str:
    """The address on which Ray Serve's proxies listen for both protocols."""
    client = get_global_client()
    assert client is not None  # or it would have raised
    return str(client.http_config.host)


def _ports() -> Ports:
    """Where this replica listens. Ray Serve keeps that to itself: these are attributes of its own."""
    replica = global_worker.actors[global_worker.actor_id]._replica_impl
    host = _http_host()
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return Ports(
        http=f"{f'[{host}]' if ':' in host else host}:{replica._http_port}" if replica._http_port else None,
        grpc=f"127.0.0.1:{replica._grpc_port}" if replica._grpc_port else None,
    )
