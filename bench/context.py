"""How many prompt tokens a keystroke finds in the prefix cache, with pieces of other files as llama.vim sends them.

    python -m bench.context

A developer types lines into a file of this repository; each character is a request to `/infill`, with 256 lines before
the cursor, 64 after it and pieces of 64 lines of other files. Every 40 characters a new piece takes the place of the
oldest. No model runs: prompts are rendered, and looked up in the engine's `PrefixCache`, which forgets nothing here.
"As sent" puts all pieces into the prompt in the order of the request; a prompt that does not fit would be refused.
"""

import argparse
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bench.table import markdown
from serving.engine.prefix_cache import PrefixCache
from serving.gateway.http.llamacpp.requests import infill_request
from serving.gateway.http.llamacpp.schema import InfillBody
from serving.gateway.request import FimPrompt
from serving.gateway.text.context import file_text
from serving.gateway.text.prompts import PromptRenderer
from serving.gateway.text.tokenizer import FILE_SEPARATOR, Tokenizer
from serving.gateway.text.tokenizers import load_tokenizer
from tests.data.codegemma_tokenizer import CODEGEMMA_TOKENIZER

ROOT = Path(__file__).parents[1]
CONTEXT = 8192
PAGE_SIZE = 32
CHUNK_LINES = 64
KEYS_PER_PIECE = 40

type Render = Callable[[FimPrompt], Sequence[int]]


class Keystroke(NamedTuple):
    """A request, and whether it is the first one with a new piece."""

    prompt: FimPrompt
    has_new_piece: bool


@dataclass
class Reuse:
    """Tokens of prompts, and those of them that were in the cache."""

    prompts: int = 0
    tokens: int = 0
    cached: int = 0

    def add(self, tokens: int, cached: int) -> None:
        """One more prompt."""
        self.prompts += 1
        self.tokens += tokens
        self.cached += cached

    def __str__(self) -> str:
        computed = (self.tokens - self.cached) / self.prompts
        return f"{self.cached / self.tokens:.0%}, {computed:.0f} computed"


def keystrokes(pieces: int, keys: int) -> Iterator[Keystroke]:
    """What is sent as lines are typed again into the middle of a file, one character after the other."""
    chunks = iter(_chunks())
    ring = deque((next(chunks) for _ in range(pieces)), maxlen=pieces)
    lines = (ROOT / "serving" / "gateway" / "quotas" / "quotas.py").read_text().splitlines(keepends=True)
    middle = len(lines) // 2
    typed = "".join(lines[middle:])[:keys]
    after = "".join(lines[middle : middle + 64])
    for count in range(1, len(typed) + 1):
        is_new = count % KEYS_PER_PIECE == 0
        if is_new:
            ring.append(next(chunks))
        before = "".join(("".join(lines[:middle]) + typed[:count]).splitlines(keepends=True)[-257:])
        *above, line = before.splitlines(keepends=True)
        body = {"input_prefix": "".join(above), "prompt": line, "input_suffix": after, "input_extra": list(ring)}
        yield Keystroke(infill_request(InfillBody.model_validate(body)).prompt, is_new)  # type: ignore[arg-type]


def _chunks() -> Iterator[dict[str, str]]:
    """Pieces of files, in an order in which a developer may have opened them: neither by path nor by time."""
    files = sorted((ROOT / "serving").rglob("*.py"), key=lambda path: (path.name, path))
    for path in files:
        lines = path.read_text().splitlines(keepends=True)
        if len(lines) > CHUNK_LINES:
            yield {"filename": str(path.relative_to(ROOT)), "text": "".join(lines[-CHUNK_LINES:])}


def replayed(strokes: Iterator[Keystroke], render: Render) -> tuple[int, Reuse, Reuse]:
    """The longest prompt's length, and the reuse of keystrokes with the same pieces as before, and with a new one."""
    cache = PrefixCache(PAGE_SIZE)
    pages, longest = 0, 0
    same, new = Reuse(), Reuse()
    for stroke in strokes:
        ids = list(render(stroke.prompt))
        longest = max(longest, len(ids))
        found = cache.match(ids, "")
        if pages:  # the first one finds nothing
            (new if stroke.has_new_piece else same).add(len(ids), len(found) * PAGE_SIZE)
        after = found[-1] if found else None
        for start in range(len(found) * PAGE_SIZE, len(ids) - PAGE_SIZE + 1, PAGE_SIZE):
            pages += 1
            after = cache.add(pages, tuple(ids[start : start + PAGE_SIZE]), after=after, domain="")
    return longest, same, new


def as_sent(tokenizer: Tokenizer, renderer: PromptRenderer) -> Render:
    """All pieces in the order of the request."""
    [separator] = [tokenizer.control_id(FILE_SEPARATOR)]

    def render(prompt: FimPrompt) -> Sequence[int]:
        code = renderer.render(FimPrompt(prefix=prompt.prefix, suffix=prompt.suffix), CONTEXT)
        files = [[*tokenizer.encode(file_text(file)), separator] for file in prompt.context_files]
        return [code[0], *(token for file in files for token in file), *code[1:]]  # type: ignore[list-item]

    return render


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1200, help="characters that are typed")
    keys = parser.parse_args().keys
    tokenizer = load_tokenizer(CODEGEMMA_TOKENIZER)
    renderer = PromptRenderer(tokenizer, "psm")
    rows = []
    for pieces in (8, 16):
        for name, render in {
            "as sent": as_sent(tokenizer, renderer),
            "packed": lambda prompt: renderer.render(prompt, CONTEXT),
        }.items():
            longest, same, new = replayed(keystrokes(pieces, keys), render)
            fits = "" if longest < CONTEXT else " (refused)"
            rows.append((pieces, name, f"{longest}{fits}", same, new))
    print(markdown(("pieces", "", "longest prompt", "cached with the same pieces", "with a new one"), rows))


if __name__ == "__main__":
    main()
