"""The page before the demo's real model: all of the service but Ray."""

from collections.abc import AsyncIterator, Iterator

import pytest
from playwright.async_api import Page, expect

from serving.gateway.service import CodeService
from serving.link import GroupAddress
from tests.playground.real_model import demo_model, replica_group, service_of
from tests.playground.test_chat import say
from tests.playground.test_completion import written

MODEL = demo_model(max_rows=2, max_step_tokens=32, max_context=512, kv_tokens=1024)  # few shapes to compile
PREFIX = "def add(a, b):\n    return a"


@pytest.fixture(scope="module")
def group() -> Iterator[GroupAddress]:
    with replica_group(MODEL) as address:
        yield address


@pytest.fixture
async def service(group: GroupAddress) -> AsyncIterator[CodeService]:
    async with service_of(MODEL, group) as service:
        yield service


async def test_it_completes_code_and_shows_what_that_took(page: Page) -> None:
    await expect(page.locator("#health")).to_have_text("Ready")
    code = page.get_by_label("Code", exact=True)
    await code.focus()
    await page.keyboard.press("Control+a")
    await page.keyboard.press("Backspace")
    await page.keyboard.insert_text(PREFIX)
    await expect(page.locator(".cm-ghost")).to_have_text(" + b")
    timing = page.get_by_label("Timing of the last completion")
    await expect(timing).to_contain_text("gemma-3-270m")
    await page.keyboard.press("Tab")
    assert await written(page) == f"{PREFIX} + b"


async def test_the_chat_answers_and_nothing_is_left_running(page: Page) -> None:
    await say(page, "Write a function that reverses a list.")
    await expect(page.get_by_label("Timing of the last answer")).to_contain_text("gemma-3-270m")
    await expect(page.locator(".message.assistant")).not_to_be_empty()
    await expect(page.locator("#models tr")).to_contain_text("0/2")
