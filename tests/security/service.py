"""A service that asks for keys and tokens, and all the ways to it: the routes of the HTTP app and the gRPC methods.

Both are read from the app and the .proto files, so that a new route or method is tried too.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import httpx
from google.protobuf import descriptor_pool
from starlette.routing import Route

from serving.access.config import QuotasConfig
from serving.access.keys import KeyFile
from serving.config import GatewayConfig, Role
from serving.gateway.access import access_for
from serving.gateway.audit import Audit, NoAudit
from serving.gateway.http.app import build_http_app
from serving.gateway.quotas import Quotas, quotas_for
from serving.gateway.records import RequestRecords
from serving.gateway.service import CodeService
from serving.gateway.single_flight import SingleFlight
from serving.servers.grpc_services import GRPC_SERVICES
from serving.telemetry.recorder import NoRecorder
from tests.gateway.access.issuer import FakeIssuer, issuer_config
from tests.gateway.grpc_server import grpc_server
from tests.gateway.scripted_backend import ScriptedBackend, served_model

type Headers = dict[str, str]

MODEL = "model-of-ours"
_MESSAGES = [{"role": "user", "content": "Hi"}]
_PLACE = {"prompt": "a", "suffix": "b"}
BODIES: dict[str, Any] = {
    "/v1/completions": _PLACE,
    "/beta/completions": _PLACE,
    "/v1/beta/completions": _PLACE,
    "/v1/chat/completions": {"messages": _MESSAGES},
    "/v1/responses": {"input": "Hi"},
    "/infill": {"input_prefix": "a", "input_suffix": "b"},
    "/completion": {"prompt": "a"},
    "/tokenize": {"content": "a"},
    "/detokenize": {"tokens": [5, 6]},
    "/apply-template": {"messages": _MESSAGES},
    "/v1/events": {"type": "view", "completion_id": "cmpl-1", "choice_index": 0},
    "/api/show": {"model": MODEL},
    "/api/generate": {"model": MODEL, **_PLACE},
    "/api/chat": {"model": MODEL, "messages": _MESSAGES},
    "/v1/fim/completions": {"model": MODEL, **_PLACE},
    "/v1/messages": {"model": MODEL, "max_tokens": 8, "messages": _MESSAGES},
    "/v1/messages/count_tokens": {"model": MODEL, "messages": _MESSAGES},
}
"""What is sent to each path that takes a body, and answered if the key is right."""
GENERATING = [
    path
    for path in BODIES
    if path
    not in ("/tokenize", "/detokenize", "/apply-template", "/v1/events", "/api/show", "/v1/messages/count_tokens")
]
"""The paths of `BODIES` whose answer comes from a model."""


class Way(NamedTuple):
    """A method and a path of the HTTP app."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def http_ways() -> list[Way]:
    """All of them, a name in a path replaced by one."""
    app = build_http_app(lambda: None, GatewayConfig())  # type: ignore[arg-type,return-value] # nothing is asked
    routes = [route for route in app.routes if isinstance(route, Route)]
    return [Way(method, _named(route.path)) for route in routes for method in sorted(route.methods or ())]


def grpc_methods() -> list[str]:
    """The paths of all methods of our own services."""
    pool = descriptor_pool.Default()
    return [
        f"/{name}/{method.name}"
        for name in GRPC_SERVICES
        if name.startswith("codegemma.")
        for method in pool.FindServiceByName(name).methods
    ]


def _named(path: str) -> str:
    return (
        path.replace("/playground/{name}", "/playground/style.css")
        .replace("{name:path}", MODEL)
        .replace("{digest}", "sha256:0")
    )


class Service:
    """A service with keys of a file, tokens of an issuer, and requests for the same computed once.

    Attributes:
      code: the service.
      backend: what its one model generates from.
      issuers: the configuration of the issuer.
    """

    def __init__(
        self,
        directory: Path,
        backend: ScriptedBackend,
        *,
        quotas: dict[str, Any] | None = None,
        audit: Audit | None = None,
        max_body_bytes: int = 64 * 1024,
    ) -> None:
        self._keys = directory / "keys.yaml"
        KeyFile().write(self._keys)
        (directory / "jwks.json").write_text(json.dumps({"keys": FakeIssuer().keys}))
        self.backend = backend
        self.gateway = GatewayConfig(
            keys_file=self._keys,
            issuers=(issuer_config(jwks_file=directory / "jwks.json", tenant_claim="team"),),
            quotas=QuotasConfig.model_validate(quotas) if quotas else None,
            max_body_bytes=max_body_bytes,
        )
        self.access: Any = access_for(self.gateway, "0.0.0.0")
        model = served_model(backend, MODEL, Role.FIM, Role.CHAT)
        model = type(model)(
            config=model.config,
            tokenizer=model.tokenizer,
            backend=SingleFlight(backend),
            max_context=model.max_context,
        )
        self.quotas: Quotas = quotas_for(self.gateway)
        self.code = CodeService(
            [model],
            self.gateway,
            access=self.access,
            records=RequestRecords(NoRecorder(), audit=audit or NoAudit()),
            quotas=self.quotas,
        )
        self.app = build_http_app(lambda: self.code, self.gateway)

    def new_key(self, tenant: str = "") -> str:
        """A key of this tenant, valid from now on."""
        known = KeyFile.read(self._keys)
        file, key = known.with_new(f"key {len(known.keys)}", tenant, tuple(Role))
        self._replace(file)
        return key

    def revoke_all(self) -> None:
        """From now on no key is valid."""
        self._replace(KeyFile())

    def _replace(self, file: KeyFile) -> None:
        file.write(self._keys)
        self.access.keys.refresh()

    @asynccontextmanager
    async def http(self, headers: Headers | None = None) -> AsyncIterator[httpx.AsyncClient]:
        """A client of the app, without a server."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
            yield client

    @asynccontextmanager
    async def grpc(self) -> AsyncIterator[grpc.aio.Channel]:
        """A channel to a real server."""
        async with grpc_server(self.code) as address, grpc.aio.insecure_channel(address) as channel:
            yield channel


def sent(client: httpx.AsyncClient, way: Way, **more: Any) -> httpx.Request:
    """The request of a way, with the body that it takes."""
    body = BODIES.get(way.path) if way.method == "POST" else None
    return client.build_request(way.method, way.path, json=body, **more)


def called(channel: grpc.aio.Channel, method: str, headers: Headers) -> grpc.aio.UnaryStreamCall[bytes, bytes]:
    """A call with an empty message and these headers as metadata, whatever the method answers with."""
    ask: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(method)
    return ask(b"", metadata=tuple(headers.items()), timeout=20)
