"""Takes the pictures of the page in docs/, with the demo's model and whatever it says.

python -m tests.playground.screenshots
"""

import asyncio
import io
import re
from pathlib import Path

from PIL import Image
from playwright.async_api import Browser, expect

from serving.config import GatewayConfig
from serving.gateway.http.app import build_http_app
from tests.gateway.conftest import serving_on_loopback
from tests.playground.conftest import ROOT, chromium, watched_page
from tests.playground.real_model import demo_model, replica_group, service_of

_QUESTION = "Write a Python function that says whether a number is even."
_SIZE = {"width": 1280, "height": 800}
_SOME_LINES = re.compile(r"(.*\n){7}")
"""Of an answer: the demo's model is a base model, and goes on until it is stopped."""
_HISTORY_S = 12.0
"""For the line of requests to begin."""


async def take(browser: Browser, url: str, scheme: str, picture: Path) -> None:
    """One picture: a suggestion, an answer, and what both took."""
    async with watched_page(browser, url, color_scheme=scheme, viewport=_SIZE) as page:
        await expect(page.locator("#health")).to_have_text("Ready")
        await page.get_by_label("Message").fill(_QUESTION)
        await page.keyboard.press("Enter")
        await expect(page.locator(".message.assistant")).to_have_text(_SOME_LINES, timeout=60_000)
        await page.keyboard.press("Escape")
        await page.wait_for_timeout(_HISTORY_S * 1000)
        await page.get_by_label("Code", exact=True).focus()
        await page.keyboard.press("Control+Space")
        await expect(page.get_by_label("Timing of the last completion")).to_contain_text("gemma", timeout=60_000)
        shot = Image.open(io.BytesIO(await page.screenshot()))
        shot.quantize(256).save(picture, optimize=True)  # a third of the size


async def _main() -> None:
    model = demo_model()
    with replica_group(model) as group:
        async with service_of(model, group) as service, chromium() as browser:
            app = build_http_app(lambda: service, GatewayConfig())
            async with serving_on_loopback(app) as url:
                for scheme in ("light", "dark"):
                    await take(browser, url, scheme, ROOT / "docs" / f"playground-{scheme}.png")


if __name__ == "__main__":
    asyncio.run(_main())
