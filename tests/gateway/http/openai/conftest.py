"""OpenAI's own client of the app on a real server."""

from collections.abc import AsyncIterator

import openai
import pytest


@pytest.fixture
async def openai_client(server: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0) as client:
        yield client
