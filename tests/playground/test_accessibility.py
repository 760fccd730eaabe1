"""The page for those who see differently, or use no mouse."""

from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.gateway.scripted_backend import ScriptedBackend
from tests.playground.conftest import ROOT, watched_page
from tests.playground.test_chat import ANSWER, say

AXE = (ROOT / "playground" / "node_modules" / "axe-core" / "axe.min.js").read_text
ORDER = [
    "Skip to the editor",
    "Skip to the chat",
    "Skip to the service",
    "API reference",
    "API key",
    "Path",
    "Language",
    "Model",
    "Code",
    "Model",
    "New chat",
    "Conversation",
    "Message",
    "Send",
    "Models and their groups",
]
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 360, "height": 740}


async def violations(page: Page, within: str = "html") -> list[dict[str, Any]]:
    """What axe finds in the page as it is, by all its rules (https://github.com/dequelabs/axe-core)."""
    await page.evaluate(AXE())
    found = await page.evaluate("within => axe.run(within)", within)
    return [
        {"rule": each["id"], "help": each["help"], "at": [node["target"] for node in each["nodes"]]}
        for each in found["violations"]
    ]


@pytest.mark.parametrize("size", [WIDE, NARROW])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing(
    browser: Browser, url: str, backend: ScriptedBackend, scheme: str, size: dict[str, int]
) -> None:
    async with watched_page(browser, url, color_scheme=scheme, viewport=size) as page:
        await expect(page.locator("#health")).to_have_text("Ready")
        assert await violations(page) == []
        backend.text = ANSWER
        await say(page, "How do I reverse a list?")
        await expect(page.get_by_role("log")).to_contain_text("O(n)")
        await page.get_by_label("Code", exact=True).focus()
        await page.keyboard.press("Control+Space")
        await expect(page.locator(".cm-ghost")).to_have_count(1)
        assert await violations(page) == []
        await page.get_by_role("button", name="API key").click()
        assert await violations(page, "dialog") == []  # all else is inert


async def focused(page: Page) -> str:
    """What has the focus, and whether somebody can see that."""
    name: str = await page.evaluate(
        """() => {
            const at = document.activeElement, pane = at.closest(".pane");
            const ring = element => element && getComputedStyle(element).outlineStyle === "solid";
            const name = at.ariaLabel ?? at.labels?.[0]?.querySelector("span").textContent ?? at.textContent.trim();
            return name + (ring(at) || ring(pane) ? "" : " (no ring)");
        }"""
    )
    return name


async def test_everything_is_reached_by_tab_and_shows_its_focus(page: Page, backend: ScriptedBackend) -> None:
    backend.text = ANSWER
    await say(page, "How?")
    await expect(page.get_by_role("log")).to_contain_text("O(n)")
    await page.reload()
    await expect(page.locator("#health")).to_have_text("Ready")
    reached = []
    for _ in ORDER:
        await page.keyboard.press("Tab")
        reached.append(await focused(page))
    assert reached == ORDER


async def test_the_whole_work_is_done_by_keyboard(page: Page, backend: ScriptedBackend) -> None:
    backend.text = "return 1"
    await expect(page.locator("#health")).to_have_text("Ready")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")  # skips to the editor
    for _ in range(4):
        await page.keyboard.press("Tab")
    await expect(page.get_by_label("Code", exact=True)).to_be_focused()
    await page.keyboard.type("a")
    await expect(page.locator(".cm-ghost")).to_have_text("return 1")
    await page.keyboard.press("Tab")  # accepts, and goes nowhere
    await expect(page.get_by_label("Code", exact=True)).to_be_focused()
    await expect(page.locator(".cm-content")).to_contain_text("areturn 1")
    await page.keyboard.press("Escape")
    await expect(page.locator(".cm-ghost")).to_have_count(0)
    await page.keyboard.press("Tab")  # without a suggestion it leaves
    await expect(page.get_by_role("region", name="Chat").get_by_label("Model")).to_be_focused()
    for _ in range(3):
        await page.keyboard.press("Tab")
    backend.text = ANSWER
    await page.keyboard.type("How?")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("log")).to_contain_text("O(n)")
    await page.keyboard.press("Shift+Tab")  # the code of the answer
    await page.keyboard.press("Shift+Tab")
    await expect(page.get_by_role("button", name="Insert")).to_be_focused()


async def test_what_happens_is_said(page: Page, backend: ScriptedBackend) -> None:
    backend.text = "return 1"
    await page.get_by_label("Code", exact=True).focus()
    await page.keyboard.press("Control+Space")
    await expect(page.locator("#announcement")).to_have_text("Suggestion: return 1")
    await say(page, "How?")
    await expect(page.locator("#announcement")).to_contain_text("Answer complete")


async def test_nothing_moves_where_motion_is_unwelcome(browser: Browser, url: str, backend: ScriptedBackend) -> None:
    backend.pause_at = 1
    async with watched_page(browser, url, reduced_motion="reduce") as page:
        await say(page, "How?")
        await expect(page.locator(".message.running")).to_be_visible()
        assert await page.evaluate("document.getAnimations({subtree: true}).map(each => each.animationName)") == []


async def shifts(page: Page) -> float:
    """The sum of the layout shifts so far that no input asked for; less than 0.1 is good (https://web.dev/articles/cls)."""
    shifts: float = await page.evaluate(
        """() => new Promise(done => {
            const drawn = () => requestAnimationFrame(() => setTimeout(read)); // what is about to be drawn counts
            const read = () => new PerformanceObserver((list, observer) => {
                observer.disconnect();
                done(list.getEntries().filter(each => !each.hadRecentInput).reduce((sum, each) => sum + each.value, 0));
            }).observe({type: "layout-shift", buffered: true});
            requestAnimationFrame(drawn);
        })"""
    )
    return shifts


async def test_nothing_shifts_but_the_models_come(page: Page, backend: ScriptedBackend) -> None:
    await expect(page.locator("#models tr")).to_have_count(2)
    while_loading = await shifts(page)
    assert 0 < while_loading < 0.1  # the row of the second model
    backend.text = "return 1"
    await page.get_by_label("Code", exact=True).focus()
    await page.keyboard.press("Control+Space")
    await expect(page.get_by_label("Timing of the last completion")).to_contain_text("codegemma-2b")
    await say(page, "How?")
    await expect(page.get_by_label("Timing of the last answer")).to_contain_text("codegemma-7b-it")
    a_caret = 1e-4  # it runs along at the end of an answer; a line of the editor that moves is 4 times as much
    assert await shifts(page) == pytest.approx(while_loading, abs=a_caret)


@pytest.mark.parametrize("width", [320, 600, 1000])
async def test_a_small_screen_needs_no_sideways_scrolling(browser: Browser, url: str, width: int) -> None:
    async with watched_page(browser, url, viewport={"width": width, "height": 700}) as page:
        await expect(page.locator("#health")).to_have_text("Ready")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
