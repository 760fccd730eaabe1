"""`/docs`, to which the page has a link."""

from playwright.async_api import Browser, expect
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.gateway.conftest import serving_on_loopback
from tests.playground.conftest import watched_page


async def test_below_a_path_that_an_ingress_takes_away_it_asks_the_apis_there(browser: Browser, app: Starlette) -> None:
    behind = Starlette(routes=[Mount("/code", app)])
    async with serving_on_loopback(behind) as url, watched_page(browser, url, "/code/docs") as page:
        await page.locator("#operations-OpenAI-get_v1_models").click()
        await page.get_by_role("button", name="Try it out").click()
        async with page.expect_response(lambda response: response.url.endswith("/v1/models")) as answer:
            await page.get_by_role("button", name="Execute").click()
        response = await answer.value
        assert (response.url, response.status) == (f"{url}/code/v1/models", 200)
        await expect(page.locator(".live-responses-table")).to_contain_text("codegemma-2b")
