"""The page in a headless Chromium, before the real HTTP app.

`make playground-setup` puts the browser into `playground/.browser`. Where that is missing Playwright takes its own, and
without one the tests fail: nobody has looked at the page then.
"""

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright, expect
from starlette.applications import Starlette

from serving.config import GatewayConfig, Role
from serving.gateway.access import OpenAccess
from serving.gateway.http.app import build_http_app
from serving.gateway.service import CodeService
from tests.gateway.conftest import backend, codegemma, serving_on_loopback
from tests.gateway.scripted_backend import ScriptedBackend, served_model

__all__ = ["backend", "codegemma"]  # fixtures

ROOT = Path(__file__).parents[2]
_BROWSER = ROOT / "playground" / ".browser"
_PATIENCE_MS = 30_000
"""For what comes at once unless the machine is busy, or something is broken."""
_NOT_ANSWERED = re.compile(r"Failed to load resource: (.* status of [45]\d\d |net::ERR_INTERNET_DISCONNECTED)")
"""What Chromium writes to the console about a request that failed, which no page can keep it from."""


expect.set_options(timeout=_PATIENCE_MS)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser for as long as the block runs."""
    own = _BROWSER / "chromium"
    options: dict[str, Any] = {}
    if own.exists():
        options = {"executable_path": own, "env": {**os.environ, "LD_LIBRARY_PATH": str(_BROWSER / "lib")}}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(args=["--no-sandbox", "--disable-gpu"], **options)
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Problems:
    """What a page should not do, as it did it: errors in its console, requests to anywhere else."""

    origin: str
    found: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.found.append(f"uncaught: {error}"))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        is_answer = "/v1/" in message.location["url"] and _NOT_ANSWERED.match(message.text)
        if message.type in ("error", "warning") and not is_answer:
            self.found.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith(f"{self.origin}/"):
            self.found.append(f"request to {request.url}")


@asynccontextmanager
async def watched_page(browser: Browser, url: str, path: str = "/", **context: Any) -> AsyncIterator[Page]:
    """The page at a path of a server; fails at the end of the block if it did what it should not."""
    opened = await browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **context})
    page = await opened.new_page()
    page.set_default_timeout(_PATIENCE_MS)
    problems = Problems(url)
    problems.watch(page)
    try:
        await page.goto(url + path)
        yield page
    finally:
        await opened.close()  # or its streams would keep the server from ending
    assert problems.found == []


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest.fixture
def service(backend: ScriptedBackend) -> CodeService:
    fim = served_model(backend, "codegemma-2b", Role.FIM)
    return CodeService([fim, served_model(backend, "codegemma-7b-it", Role.CHAT)], GatewayConfig(), access=OpenAccess())


@pytest.fixture
def app(service: CodeService) -> Starlette:
    return build_http_app(lambda: service, GatewayConfig())


@pytest.fixture
async def url(app: Starlette) -> AsyncIterator[str]:
    async with serving_on_loopback(app) as url:
        yield url


@pytest.fixture
async def page(browser: Browser, url: str) -> AsyncIterator[Page]:
    async with watched_page(browser, url) as page:
        yield page
