"""The service, live: its groups, its queue, and its failures."""

from playwright.async_api import Browser, Page, expect
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.gateway.conftest import serving_on_loopback
from tests.gateway.scripted_backend import ScriptedBackend
from tests.playground.conftest import watched_page


async def test_every_model_has_a_row_with_its_groups(page: Page) -> None:
    rows = page.locator("#models tr")
    await expect(rows).to_have_count(2)
    await expect(rows.first).to_contain_text("codegemma-2b")
    await expect(rows.first).to_contain_text("1 of 1 ready")
    await expect(rows.first).to_contain_text("0/8")


async def test_requests_that_run_are_seen(page: Page, backend: ScriptedBackend) -> None:
    backend.pause_at = 1
    await page.get_by_label("Code", exact=True).focus()
    await page.keyboard.press("Control+Space")
    await expect(page.locator("#models tr").first).to_contain_text("1/8")


async def test_a_group_that_is_lost_and_back_is_said(page: Page, backend: ScriptedBackend) -> None:
    await expect(page.locator("#health")).to_have_text("Ready")
    backend.answers = False
    await expect(page.locator("#health")).to_have_text("Loading models")
    await expect(page.locator("#models tr").first).to_contain_text("0 of 1 ready, 1 unreachable")
    backend.answers = True
    await expect(page.locator("#health")).to_have_text("Ready")


async def test_a_service_that_does_not_answer_is_said_and_asked_again(page: Page) -> None:
    await expect(page.locator("#health")).to_have_text("Ready")
    await page.context.set_offline(True)
    await expect(page.locator("#health")).to_have_text("No answer")
    await page.context.set_offline(False)
    await expect(page.locator("#health")).to_have_text("Ready")


async def test_nobody_is_asked_while_the_page_is_hidden(page: Page) -> None:
    await expect(page.locator("#health")).to_have_text("Ready")
    await page.evaluate(
        """() => { Object.defineProperty(document, "hidden", {value: true, configurable: true});
                   document.dispatchEvent(new Event("visibilitychange")); }"""
    )
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.wait_for_timeout(2500)  # longer than it waits between two requests
    assert asked == []


async def test_it_works_below_a_path_that_an_ingress_takes_away(browser: Browser, app: Starlette) -> None:
    behind = Starlette(routes=[Mount("/code", app)])
    async with serving_on_loopback(behind) as url, watched_page(browser, url, "/code/") as page:
        await expect(page.locator("#health")).to_have_text("Ready")
        await page.get_by_label("Code", exact=True).focus()
        await page.keyboard.press("Control+Space")
        await expect(page.locator(".cm-ghost")).to_have_count(1)
