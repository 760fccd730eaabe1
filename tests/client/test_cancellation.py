"""A stream that is closed, dropped or left ends the server's work; and who cancelled is told apart."""

import asyncio
import gc
import threading
from collections.abc import AsyncGenerator
from typing import Any

import grpc
import pytest
from codegemma.client import AsyncClient, CancelledError, Client, FimInput

from tests.client.conftest import Server, Service

type Context = grpc.aio.ServicerContext[bytes, bytes]
FIM = FimInput(prefix="def f(x): ", suffix="\n")


@pytest.fixture
def unfinished(service: Service) -> Service:
    """Answers one token, and then nothing, for ever."""
    service.backend.pause_at = 1
    return service


def test_closing_a_stream_ends_the_work_and_the_stream(server: Server, unfinished: Service) -> None:
    with Client(server.target) as client:
        stream = client.stream_complete(FIM)
        assert next(stream).choice.text == "return"
        stream.close()
        server.wait_for(unfinished.backend.idle)
        assert list(stream) == []


def test_another_thread_may_close_a_stream_that_is_waited_for(server: Server, unfinished: Service) -> None:
    with Client(server.target) as client, client.stream_complete(FIM) as stream:
        next(stream)
        closing = threading.Thread(target=stream.close)
        closing.start()
        assert list(stream) == []
        closing.join()
    server.wait_for(unfinished.backend.idle)


def test_leaving_or_dropping_a_stream_ends_the_work(server: Server, unfinished: Service) -> None:
    with Client(server.target) as client:
        with client.stream_complete(FIM) as stream:
            next(stream)
        server.wait_for(unfinished.backend.idle)
        stream = client.stream_complete(FIM)
        next(stream)
        del stream
        gc.collect()
        server.wait_for(unfinished.backend.idle)


def test_a_client_that_is_closed_says_that_its_streams_were_cut_off(server: Server, unfinished: Service) -> None:
    client = Client(server.target)
    stream = client.stream_complete(FIM)
    next(stream)
    client.close()
    with pytest.raises(CancelledError):
        next(stream)


async def test_closing_an_async_stream_ends_the_work_and_the_stream(server: Server, unfinished: Service) -> None:
    async with AsyncClient(server.target) as client:
        stream = client.stream_complete(FIM)
        assert (await anext(stream)).choice.text == "return"
        await stream.aclose()
        await asyncio.to_thread(server.wait_for, unfinished.backend.idle)
        assert [part async for part in stream] == []


@pytest.mark.parametrize("streamed", [False, True])
async def test_cancelling_the_task_ends_the_work(server: Server, unfinished: Service, streamed: bool) -> None:
    async def ask(client: AsyncClient) -> None:
        if streamed:
            async for _ in client.stream_complete(FIM):
                pass
        else:
            await client.complete(FIM)

    async with AsyncClient(server.target) as client:
        asking = asyncio.create_task(ask(client))
        await asyncio.to_thread(server.wait_for, unfinished.backend.paused)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await asyncio.to_thread(server.wait_for, unfinished.backend.idle)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_call_that_was_cancelled_elsewhere_is_no_cancelled_task(streamed: bool) -> None:
    """As a proxy does that has lost its server: it resets the stream with CANCEL."""

    async def whole(request: bytes, context: Context) -> bytes:
        await context.abort(grpc.StatusCode.CANCELLED)

    async def parts(request: bytes, context: Context) -> AsyncGenerator[bytes, None]:
        yield b""
        await context.abort(grpc.StatusCode.CANCELLED)

    server = grpc.aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Complete": grpc.unary_unary_rpc_method_handler(whole),
        "StreamComplete": grpc.unary_stream_rpc_method_handler(parts),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("codegemma.v1.CodeAssistService", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with AsyncClient(f"127.0.0.1:{port}") as client:
        with pytest.raises(CancelledError):
            if streamed:
                async for _ in client.stream_complete(FIM):
                    pass
            else:
                await client.complete(FIM)
    await server.stop(grace=None)
