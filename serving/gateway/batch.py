"""generate_batch: the answers to several requests as one answer."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from serving.gateway.merge import merge
from serving.gateway.request import CodeChunk, CodeRequest, Usage
from serving.gateway.service import CodeService


async def generate_batch(service: CodeService, requests: Sequence[CodeRequest]) -> AsyncGenerator[CodeChunk, None]:
    """Generate for all requests; choice `c` of request `r` has the index `r * choices + c`.

    A fault in any of them is raised before the first chunk.

    Raises:
      ServingError: what the first request to fail failed with.
    """
    if len(requests) == 1:
        async with aclosing(service.generate(requests[0])) as only:
            async for chunk in only:
                yield chunk
        return
    for request in requests:
        await service.check(request)  # before the answer to another one begins
    last = CodeChunk()
    usage = Usage()
    answers = [_shifted(service, request, position * request.choices) for position, request in enumerate(requests)]
    async with aclosing(merge(answers)) as chunks:
        async for chunk in chunks:
            if chunk.usage:
                last = chunk
                usage = Usage(
                    usage.prompt_tokens + chunk.usage.prompt_tokens,
                    usage.completion_tokens + chunk.usage.completion_tokens,
                    usage.cached_tokens + chunk.usage.cached_tokens,
                )
            else:
                yield chunk
    yield replace(last, usage=usage)


async def _shifted(service: CodeService, request: CodeRequest, offset: int) -> AsyncGenerator[CodeChunk, None]:
    async with aclosing(service.generate(request)) as chunks:
        async for chunk in chunks:
            yield replace(chunk, index=chunk.index + offset)
