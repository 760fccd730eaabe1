"""The key: asked for when the service wants one, kept for the tab, sent nowhere else."""

from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from starlette.applications import Starlette

from serving.access.keys import KeyFile
from serving.config import GatewayConfig, Role
from serving.gateway.access.bearer import BearerAccess
from serving.gateway.http.app import build_http_app
from serving.gateway.service import CodeService
from tests.gateway.scripted_backend import ScriptedBackend, served_model


@pytest.fixture
def key_file(tmp_path: Path) -> tuple[Path, str]:
    path = tmp_path / "keys.yaml"
    file, key = KeyFile().with_new("ann", "platform", tuple(Role))
    file.write(path)
    return path, key


@pytest.fixture
def app(backend: ScriptedBackend, key_file: tuple[Path, str]) -> Starlette:
    config = GatewayConfig(keys_file=key_file[0])
    models = [served_model(backend, "codegemma-2b", Role.FIM, Role.CHAT)]
    service = CodeService(models, config, access=BearerAccess(key_file[0]))
    return build_http_app(lambda: service, config)


async def test_without_a_key_the_page_asks_for_one_and_then_works(page: Page, key_file: tuple[Path, str]) -> None:
    dialog = page.get_by_role("dialog", name="API key")
    await expect(dialog).to_be_visible()
    await expect(dialog.get_by_label("Key or token")).to_be_focused()
    await expect(page.locator("#health")).to_have_text("Key needed")
    await page.keyboard.type(key_file[1])
    await page.keyboard.press("Enter")
    await expect(dialog).not_to_be_visible()
    await expect(page.locator("#health")).to_have_text("Ready")
    await page.get_by_label("Code", exact=True).focus()
    await page.keyboard.press("Control+Space")
    await expect(page.locator(".cm-ghost")).to_contain_text("return 1")


async def test_a_wrong_key_is_asked_for_again(page: Page) -> None:
    dialog = page.get_by_role("dialog", name="API key")
    await dialog.get_by_label("Key or token").fill("cg_wrong")
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_role("alert")).to_have_text("The service did not accept this key.")


async def test_without_a_key_the_service_is_not_asked_again_and_again(page: Page) -> None:
    await expect(page.locator("#health")).to_have_text("Key needed")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.clock.install()
    await page.clock.fast_forward(60_000)
    assert asked == []  # many failed attempts would have the service refuse this address


async def test_a_key_is_kept_for_the_tab_alone(page: Page, url: str, key_file: tuple[Path, str]) -> None:
    await page.get_by_label("Key or token").fill(key_file[1])
    await page.keyboard.press("Enter")
    await expect(page.locator("#health")).to_have_text("Ready")
    assert await page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    assert key_file[1] not in page.url
    await page.reload()
    await expect(page.locator("#health")).to_have_text("Ready")
    other = await page.context.new_page()
    await other.goto(url)
    await expect(other.get_by_role("dialog", name="API key")).to_be_visible()


async def test_a_key_can_be_forgotten(page: Page, key_file: tuple[Path, str]) -> None:
    await page.get_by_label("Key or token").fill(key_file[1])
    await page.keyboard.press("Enter")
    await expect(page.locator("#health")).to_have_text("Ready")
    await page.get_by_role("button", name="API key").click()
    await page.get_by_role("button", name="Forget it").click()
    await expect(page.locator("#health")).to_have_text("Key needed")
    assert await page.evaluate("sessionStorage.length") == 0
