"""Developers who type and developers who ask: each an endless behaviour that sends requests through a client."""

import asyncio
import random

from serving.gateway.request import FimPrompt, Message, Speaker
from serving.load.ask import Ask
from serving.load.corpus import some_source
from serving.load.measured_client import MeasuredClient

_KEY_S = 0.22
"""Between two keystrokes that ask for a completion, on average: about 55 words a minute, in bursts."""
_BURST_KEYS = 8
_READS_S = 3.0
_CONTEXT_LINES = 60
"""Around the cursor; fewer than every file has."""
_QUESTIONS = (
    "Explain what this code does.",
    "Write a unit test for this code.",
    "How can this be made faster?",
    "Add type hints to this code.",
)
_THINKS_S = 5.0


async def types(client: MeasuredClient, name: str, max_tokens: int, rng: random.Random) -> None:
    """Types code in bursts; each keystroke asks for a completion and cancels the one before, as editors do.

    After a burst the developer waits for the last completion and reads it.
    """
    await asyncio.sleep(rng.uniform(0, _READS_S))
    while True:
        file, lines = some_source(rng)
        at = rng.randrange(_CONTEXT_LINES, len(lines))
        line = lines[at].rstrip("\n") or "    return result"
        before = "".join(lines[max(0, at - _CONTEXT_LINES) : at])
        after = "\n" + "".join(lines[at + 1 : at + 1 + _CONTEXT_LINES // 3])
        keys = rng.randint(_BURST_KEYS // 2, _BURST_KEYS * 2)
        start = rng.randrange(max(1, len(line) - keys))
        asking: asyncio.Task[str] | None = None
        try:
            for end in range(start + 1, min(start + 1 + keys, len(line) + 1)):
                if asking is not None:
                    await _stop(asking)
                prompt = FimPrompt(prefix=before + line[:end], suffix=after, path=file)
                ask = Ask(prompt=prompt, session=f"{name}:{file}", max_tokens=max_tokens)
                asking = asyncio.create_task(client.ask(ask))
                await asyncio.sleep(rng.expovariate(1 / _KEY_S))
            if asking is not None:
                await asking
        finally:
            if asking is not None:
                await _stop(asking)
        await asyncio.sleep(rng.expovariate(1 / _READS_S))


async def asks(client: MeasuredClient, name: str, max_tokens: int, rng: random.Random) -> None:
    """Asks about a piece of code, reads the answer, and asks once more about it."""
    await asyncio.sleep(rng.uniform(0, _THINKS_S))
    while True:
        _, lines = some_source(rng)
        at = rng.randrange(len(lines) - _CONTEXT_LINES)
        code = "".join(lines[at : at + _CONTEXT_LINES])
        messages = [Message(Speaker.USER, f"{rng.choice(_QUESTIONS)}\n\n```python\n{code}```")]
        for _ in range(2):
            ask = Ask(prompt=tuple(messages), session=name, max_tokens=max_tokens)
            answer = await client.ask(ask)
            await asyncio.sleep(rng.expovariate(1 / _THINKS_S))
            messages += [Message(Speaker.MODEL, answer or "-"), Message(Speaker.USER, rng.choice(_QUESTIONS))]


async def _stop(task: asyncio.Task[str]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
