"""The chat: streamed, stoppable, and safe whatever a model says."""

from playwright.async_api import Page, expect

from serving.errors import Reason, ServingError
from tests.gateway.scripted_backend import ScriptedBackend
from tests.playground.test_completion import written

ANSWER = "Walk the list once:\n\n```python\ndef reverse(items):\n    return items[::-1]\n```\n\nIt takes `O(n)` time.\n"


async def say(page: Page, text: str) -> None:
    await page.get_by_label("Message").fill(text)
    await page.keyboard.press("Enter")


async def test_an_answer_comes_with_its_code_as_code(page: Page, backend: ScriptedBackend) -> None:
    backend.text = ANSWER
    await say(page, "How do I reverse a list?")
    log = page.get_by_role("log")
    await expect(log.locator("pre code")).to_have_text("def reverse(items):\n    return items[::-1]")
    await expect(log.locator(".tok-keyword").first).to_have_text("def")
    await expect(log.get_by_text("It takes O(n) time.")).to_be_visible()
    await expect(page.get_by_label("Timing of the last answer")).to_contain_text("codegemma-7b-it")


async def test_an_answer_streams_and_can_be_stopped(page: Page, backend: ScriptedBackend) -> None:
    backend.text, backend.pause_at = ANSWER, 4
    await say(page, "How?")
    await expect(page.locator(".message.assistant")).to_contain_text("Walk the list")
    await page.get_by_role("button", name="Stop").click()
    await backend.idle.wait()
    await expect(page.get_by_role("button", name="Send")).to_be_visible()
    await expect(page.locator(".message.assistant")).to_contain_text("Walk the list")  # what has come stays


async def test_escape_stops_it_too(page: Page, backend: ScriptedBackend) -> None:
    backend.text, backend.pause_at = ANSWER, 4
    await say(page, "How?")
    await expect(page.locator(".message.assistant")).to_contain_text("Walk")
    await page.keyboard.press("Escape")
    await backend.idle.wait()


async def test_code_goes_into_the_editor(page: Page, backend: ScriptedBackend) -> None:
    backend.text = ANSWER
    await say(page, "How?")
    backend.text = ""
    await page.get_by_role("button", name="Insert").click()
    await expect(page.get_by_label("Code", exact=True)).to_be_focused()
    assert "def reverse(items):\n    return items[::-1]" in await written(page)


async def test_a_conversation_goes_on_and_begins_anew(page: Page, backend: ScriptedBackend) -> None:
    backend.text = "First."
    await say(page, "One")
    await expect(page.locator(".message.assistant")).to_have_text("First.")
    backend.text = "Second."
    await say(page, "Two")
    await expect(page.locator(".message.assistant").last).to_have_text("Second.")
    prompt = backend.tokenizer.decode(backend.requests[-1].prompt_ids)
    assert "One" in prompt and "First." in prompt and "Two" in prompt
    await page.get_by_role("button", name="New chat").click()
    await expect(page.locator(".message")).to_have_count(0)
    await say(page, "Three")
    await expect(page.locator(".message.assistant")).to_have_text("Second.")
    assert "One" not in backend.tokenizer.decode(backend.requests[-1].prompt_ids)


async def test_html_in_an_answer_is_text(page: Page, backend: ScriptedBackend) -> None:
    hostile = (
        '<img src="/x" onerror="window.hit=1"><script>window.hit=1</script>\n'
        "```html\n<b>hit</b>\n```\n[a](javascript:hit)"
    )
    backend.text = hostile
    await say(page, hostile)
    answer = page.locator(".message.assistant")
    await expect(answer).to_contain_text("[a](javascript:hit)")
    await expect(answer).to_contain_text("<b>hit</b>")
    assert await page.locator("#messages :is(img, script, b, a)").count() == 0
    assert await page.evaluate("window.hit") is None


async def test_a_question_that_failed_can_be_sent_again(page: Page, backend: ScriptedBackend) -> None:
    backend.text = ""
    backend.error = ServingError(Reason.UNAVAILABLE, "no group", retry_after_s=1)
    await say(page, "Are you there?")
    chat = page.get_by_role("region", name="Chat")
    await expect(chat.locator(".notice")).to_contain_text("It may be loading")
    await expect(page.get_by_label("Message")).to_have_value("Are you there?")
    backend.error, backend.text = None, "Yes."
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator(".message.assistant")).to_have_text("Yes.")
    await expect(chat.locator(".notice")).to_be_empty()
