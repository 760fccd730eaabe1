"""generate_batch: the answers to several requests as one answer."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace

from serving.errors import FieldError
from serving.gateway.merge import merge
from serving.gateway.request import CodeChunk, CodeRequest, Usage
from serving.gateway.service import CodeService
from serving.gateway.validation import PROMPT_FIELDS


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
    for position, request in enumerate(requests):
        with _prompt_at(position):
            await service.check(request)  # before the answer to another one begins
    last = CodeChunk()
    usage = Usage()
    answers = [_shifted(service, request, position) for position, request in enumerate(requests)]
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


async def _shifted(service: CodeService, request: CodeRequest, position: int) -> AsyncGenerator[CodeChunk, None]:
    with _prompt_at(position):
        async with aclosing(service.generate(request)) as chunks:
            async for chunk in chunks:
                yield replace(chunk, index=chunk.index + position * request.choices)


@contextmanager
def _prompt_at(position: int) -> Iterator[None]:
    """Says of an error about the prompt which one it is: `prompt[3]`, and of its second token `prompt[3][1]`."""
    try:
        yield
    except FieldError as error:
        if error.name in PROMPT_FIELDS:
            raise FieldError(error.reason, error.name, error.fault, f"[{position}]{error.place}") from error
        raise
