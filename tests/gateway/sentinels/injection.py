"""What is tried on every text field of an API, and what must hold: the same control tokens whatever a text says."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle, product
from typing import NamedTuple

from serving.engine.request import GenerationRequest
from serving.gateway.text.tokenizer import FIM_PREFIX
from tests.gateway.scripted_backend import ScriptedBackend
from tests.gateway.sentinels.fields import Json, TextField, joined
from tests.gateway.sentinels.texts import HARMLESS, HOSTILE, controls, halves, written

type Ask = Callable[[Json], Awaitable[bool]]
"""Sends a body; whether it was answered without an error."""


class Context(NamedTuple):
    """A body that is answered, to which fields are added.

    Attributes:
      raw: paths of fields that are a raw prompt in it, in which control tokens may be written.
    """

    body: Json
    raw: frozenset[str] = frozenset()


@dataclass
class Injection:
    """All that is tried on the fields of one body.

    Attributes:
      found: what does not hold.
      answered: paths of fields that were taken, with a harmless text, in some context.
      arrived: those of which the text was part of a prompt.
      has_prompts: whether the engine got any.
    """

    ask: Ask
    backend: ScriptedBackend
    contexts: Sequence[Context]
    fields: Sequence[TextField]
    found: list[str] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)
    arrived: set[str] = field(default_factory=set)
    has_prompts: bool = False

    async def run(self) -> None:
        """Tries every field in every context, then every two fields that can be in one body."""
        splits = cycle(halves())
        for context in self.contexts:
            taken = [each for each in self.fields if await self._is_taken(context, each)]
            for each in taken:
                for text in HOSTILE:
                    due = written(text) if each.path in context.raw and self._reads_sentinels else []
                    hostile, harmless = (joined(context.body, each.with_text(told)) for told in (text, HARMLESS))
                    await self._compare(each.path, hostile, harmless, due)
            if not self.has_prompts:
                continue
            # Of the ways to have a field, the first, as it is that of a user or of a system text.
            structured = {each.path: each for each in reversed(taken) if each.path not in context.raw}.values()
            for first, second in product(structured, structured):
                for level in range(min(first.path.count("[]"), second.path.count("[]")) + 1):
                    end, begin = next(splits)
                    hostile, harmless = [
                        joined(first.with_text(a), second.with_text(b), level)
                        for a, b in ((end, begin), (f"{HARMLESS}a", f"a{HARMLESS}"))  # two files alike would be one
                    ]
                    about, body = f"{first.path} + {second.path}", context.body
                    await self._compare(about, joined(body, hostile), joined(body, harmless))
                    await self._compare(about, {**body, **hostile}, {**body, **harmless})  # nothing in between

    @property
    def _reads_sentinels(self) -> bool:
        """Whether a raw prompt for this model may have control tokens written in it."""
        return self.backend.tokenizer.control_id(FIM_PREFIX) is not None

    async def _is_taken(self, context: Context, each: TextField) -> bool:
        """Whether a field is answered with a harmless text."""
        is_answered, requests = await self._sent(joined(context.body, each.with_text(HARMLESS)))
        if is_answered:
            self.answered.add(each.path)
        if any(HARMLESS in self.backend.tokenizer.decode(request.prompt_ids) for request in requests):
            self.arrived.add(each.path)
        return is_answered

    async def _compare(self, about: str, hostile: Json, harmless: Json, added: Sequence[str] = ()) -> None:
        """Looks whether the prompts of a body have the control tokens of another, and those that are `added`."""
        _, got = await self._sent(hostile)
        if not got:
            return  # refused, or nothing is generated
        _, plain = await self._sent(harmless)
        tokenizer = self.backend.tokenizer
        has, due = controls(tokenizer, got), [[*each, *added] for each in controls(tokenizer, plain)]
        if has != due:
            self.found.append(f"{about}: {has} in place of {due} with {hostile}")

    async def _sent(self, body: Json) -> tuple[bool, Sequence[GenerationRequest]]:
        self.backend.requests.clear()
        is_answered = await self.ask(body)
        self.has_prompts |= bool(self.backend.requests)
        return is_answered, list(self.backend.requests)
