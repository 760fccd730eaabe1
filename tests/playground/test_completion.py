"""Ghost text: what is suggested, when, and what becomes of it."""

import json

from playwright.async_api import Page, expect

from serving.errors import Reason, ServingError
from tests.gateway.scripted_backend import ScriptedBackend

SUGGESTED = "if items[middle] == wanted:\n            return middle"


async def written(page: Page) -> str:
    """The document, without ghost text."""
    text: str = await page.evaluate(
        """() => [...document.querySelectorAll(".cm-line")].map(line => {
            const own = line.cloneNode(true);
            own.querySelectorAll(".cm-ghost").forEach(ghost => ghost.remove());
            return own.textContent;
        }).join("\\n")"""
    )
    return text


async def ask(page: Page) -> None:
    await page.get_by_label("Code", exact=True).focus()
    await page.keyboard.press("Control+Space")


async def test_what_is_typed_is_completed_after_a_pause(page: Page, backend: ScriptedBackend) -> None:
    backend.text = SUGGESTED
    await page.get_by_label("Code", exact=True).focus()
    await page.keyboard.type("x = 1")
    await expect(page.locator(".cm-ghost")).to_have_text(SUGGESTED)
    assert len(backend.requests) == 1  # not one for each key
    prompt = backend.tokenizer.decode(backend.requests[0].prompt_ids)
    assert "x = 1" in prompt and "return None" in prompt  # what is before and after the cursor


async def test_tab_accepts_the_suggestion(page: Page, backend: ScriptedBackend) -> None:
    backend.text = SUGGESTED
    await ask(page)
    await expect(page.locator(".cm-ghost")).to_have_text(SUGGESTED)
    backend.text = ""
    await page.keyboard.press("Tab")
    assert SUGGESTED in await written(page)
    await expect(page.locator(".cm-ghost")).to_have_count(0)


async def test_a_word_is_accepted_and_the_rest_stays(page: Page, backend: ScriptedBackend) -> None:
    backend.text = SUGGESTED
    await ask(page)
    await expect(page.locator(".cm-ghost")).to_have_text(SUGGESTED)
    await page.keyboard.press("Control+ArrowRight")
    await expect(page.locator(".cm-ghost")).to_have_text(SUGGESTED.removeprefix("if"))
    await page.keyboard.press("Alt+ArrowRight")
    await expect(page.locator(".cm-ghost")).to_have_text(SUGGESTED.removeprefix("if items"))
    assert "if items\n" in await written(page)
    assert len(backend.requests) == 1


async def test_what_is_typed_along_keeps_the_rest_without_a_request(page: Page, backend: ScriptedBackend) -> None:
    backend.text = SUGGESTED
    await ask(page)
    await expect(page.locator(".cm-ghost")).to_have_text(SUGGESTED)
    await page.keyboard.type("if it")
    await expect(page.locator(".cm-ghost")).to_have_text(SUGGESTED.removeprefix("if it"))
    assert len(backend.requests) == 1


async def test_escape_dismisses_it_and_ends_the_request(page: Page, backend: ScriptedBackend) -> None:
    backend.text, backend.pause_at = SUGGESTED, 2
    await ask(page)
    await expect(page.locator(".cm-ghost")).to_have_text("if items")
    await page.keyboard.press("Escape")
    await expect(page.locator(".cm-ghost")).to_have_count(0)
    await backend.idle.wait()


async def test_a_newer_request_cancels_the_older(page: Page, backend: ScriptedBackend) -> None:
    backend.text, backend.pause_at = SUGGESTED, 0
    await ask(page)
    await backend.paused.wait()
    backend.pause_at = None
    await page.keyboard.type("y")
    await expect(page.locator(".cm-ghost")).to_have_text(SUGGESTED)
    await backend.idle.wait()
    assert len(backend.requests) == 2
    assert len({request.session_id for request in backend.requests}) == 1  # the service ends the older one, too


async def test_moving_the_cursor_takes_the_suggestion_away(page: Page, backend: ScriptedBackend) -> None:
    backend.text = SUGGESTED
    await ask(page)
    await expect(page.locator(".cm-ghost")).to_have_text(SUGGESTED)
    await page.keyboard.press("ArrowUp")
    await expect(page.locator(".cm-ghost")).to_have_count(0)


async def test_the_language_brings_its_file_and_a_sample(page: Page, backend: ScriptedBackend) -> None:
    backend.text = "while b { (a, b) = (b, a % b) }"
    await page.get_by_label("Language").select_option("Go")
    await expect(page.get_by_label("Path")).to_have_value("stack.go")
    assert "package stack" in await written(page)
    await page.get_by_label("Path").fill("src/gcd.rs")
    await expect(page.get_by_label("Language")).to_have_value("Rust")
    await ask(page)
    await expect(page.locator(".cm-ghost")).to_have_count(1)


async def test_a_language_keeps_what_the_user_wrote(page: Page) -> None:
    await page.get_by_label("Code", exact=True).focus()
    await page.keyboard.type("mine")
    await page.get_by_label("Language").select_option("Java")
    assert "mine" in await written(page)


async def test_timing_and_model_of_the_answer_are_shown(page: Page, backend: ScriptedBackend) -> None:
    backend.text = SUGGESTED
    async with page.expect_response("**/v1/completions") as answer:
        await ask(page)
    timing = page.get_by_label("Timing of the last completion")
    await expect(timing).to_contain_text("codegemma-2b")
    tokens = len(backend.tokenizer.encode(SUGGESTED))
    await expect(timing.locator(".timing-answer dd")).to_have_text(str(tokens))
    await expect(timing.locator(".timing-prompt dd")).to_have_text(str(len(backend.requests[0].prompt_ids)))
    await expect(timing.locator(".timing-first-text dd")).to_contain_text("ms")
    assert (await (await answer.value).request.all_headers())["x-session-id"].startswith("playground-")


async def test_the_chosen_model_is_asked(page: Page, backend: ScriptedBackend) -> None:
    models = page.get_by_role("region", name="Complete").get_by_label("Model")
    await models.select_option("codegemma-2b")
    async with page.expect_request("**/v1/completions") as asked:
        await ask(page)
    assert json.loads((await asked.value).post_data or "")["model"] == "codegemma-2b"


async def test_a_reached_limit_says_which_it_is(page: Page, backend: ScriptedBackend) -> None:
    words = "requests_per_minute of the key 'ci' is 120, and that many came within the last minute. Try again in 3 s."
    backend.error = ServingError(Reason.RATE_LIMIT_EXCEEDED, words, retry_after_s=3)
    backend.text = ""
    await ask(page)
    notice = page.get_by_role("region", name="Complete").locator(".notice")
    await expect(notice).to_have_text(f"A limit is reached: {words}")
    backend.error, backend.text = None, SUGGESTED
    await ask(page)
    await expect(page.locator(".cm-ghost")).to_have_text(SUGGESTED)
    await expect(notice).to_be_empty()
