"""What one tenant does is nothing to another: no session, no joined request and no cached prompt in common.

That a prompt is found cached as if its domain were alone in a group is in `tests/engine/test_engine_properties.py`.
"""

import asyncio
from pathlib import Path

import httpx
import pytest
from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.prompt_pb2 import FimInput

from serving.engine.request import GenerationRequest
from tests.gateway.scripted_backend import ScriptedBackend
from tests.security.credentials import valid_token
from tests.security.service import BODIES, GENERATING, Service

SESSION = "editor-1"
THEIRS, OTHERS = "acme", "evil"


@pytest.fixture
def service(tmp_path: Path, backend: ScriptedBackend) -> Service:
    return Service(tmp_path, backend)


def credentials(service: Service) -> dict[str, str]:
    """Of three tenants, one of which is named as another's would be written, and of one without a tenant."""
    return {
        THEIRS: service.new_key(THEIRS),
        OTHERS: service.new_key(OTHERS),
        f"tenant:{THEIRS}": service.new_key(f"tenant:{THEIRS}"),
        "none": service.new_key(),
        "a token's": valid_token(team="token's"),
    }


async def asked(service: Service, path: str, credential: str) -> httpx.Response:
    # What a request says of its tenant or session does not make it another's.
    headers = {"authorization": f"Bearer {credential}", "x-session-id": SESSION, "x-tenant-id": THEIRS}
    async with service.http(headers) as client:
        return await client.post(path, json=BODIES[path])


def alike(requests: list[GenerationRequest]) -> bool:
    return len({request.prompt_ids for request in requests}) == 1


def apart(names: list[str]) -> bool:
    return all(names) and len(set(names)) == len(names)


@pytest.mark.parametrize("path", GENERATING)
async def test_the_same_request_of_another_tenant_has_another_session_and_cache(service: Service, path: str) -> None:
    for credential in credentials(service).values():
        assert (await asked(service, path, credential)).status_code == 200
    requests = service.backend.requests
    assert alike(requests)
    assert apart([request.session_id for request in requests])
    assert apart([request.cache_domain for request in requests])


@pytest.mark.parametrize("path", GENERATING)
async def test_the_same_request_of_another_tenant_is_computed_on_its_own(service: Service, path: str) -> None:
    backend, keys = service.backend, credentials(service)
    backend.pause_at = 1
    first = asyncio.create_task(asked(service, path, keys[THEIRS]))
    await backend.paused.wait()
    others = [asyncio.create_task(asked(service, path, key)) for name, key in keys.items() if name != THEIRS]
    async with asyncio.timeout(30):
        while len({request.cache_domain for request in backend.requests}) < len(keys):
            await asyncio.sleep(0.001)
    assert backend.running == len(backend.requests)  # nobody's was ended
    for task in (first, *others):
        task.cancel()
    await asyncio.gather(first, *others, return_exceptions=True)


async def test_over_grpc_the_same_holds(service: Service) -> None:
    message = pb.CompleteRequest(fim=FimInput(prefix="a", suffix="b"), session_id=SESSION)
    async with service.grpc() as channel:
        for credential in credentials(service).values():
            metadata = [("authorization", f"Bearer {credential}"), ("x-tenant-id", THEIRS)]
            await CodeAssistServiceStub(channel).Complete(message, metadata=metadata)
    requests = service.backend.requests
    assert alike(requests)
    assert apart([request.session_id for request in requests])
    assert apart([request.cache_domain for request in requests])
