"""Plain Ray Serve doing the least that a service of ours has to: an ingress that streams what a child yields.

What it costs is the share of Ray Serve, HAProxy and this machine in the costs of the service.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, cast

from fastapi import FastAPI, Request
from ray import serve
from ray.serve import Deployment
from ray.serve.handle import DeploymentHandle
from starlette.responses import StreamingResponse

_CONCURRENCY = 1000
_app = FastAPI()


@serve.deployment(max_ongoing_requests=_CONCURRENCY)
class _Child:
    def __init__(self, step_s: float) -> None:
        self._step_s = step_s

    async def generate(self, tokens: int) -> AsyncGenerator[str, None]:
        for _ in range(tokens):
            await asyncio.sleep(self._step_s)
            yield "word"


@serve.deployment(max_ongoing_requests=_CONCURRENCY)
@serve.ingress(_app)
class _Ingress:
    def __init__(self, child: DeploymentHandle[Any]) -> None:
        self._child = child.options(stream=True)

    @_app.post("/v1/completions")
    async def completions(self, request: Request) -> StreamingResponse:
        body = await request.json()
        return StreamingResponse(self._events(body["max_tokens"]), media_type="text/event-stream")

    async def _events(self, tokens: int) -> AsyncGenerator[str, None]:
        words: Any = self._child.generate.remote(tokens)
        async for word in words:
            yield f"data: {word}\n\n"


def deploy_plain_ray(step_s: float) -> None:
    """Puts it in the place of the service that is deployed."""
    ingress, child = cast(Deployment, _Ingress), cast(Deployment, _Child)  # what the decorators make of them
    serve.run(ingress.bind(child.bind(step_s)), name="simulated")
