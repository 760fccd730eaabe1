"""The bodies of Tabby's API that are understood (https://tabby.tabbyml.com/api).

`null` and `false` stand for a field that is not there. Fields that are not listed are ignored: they say where the code
is from (`git_url`), or ask for what a server adds to a prompt and this one does not.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from serving.gateway.http.json_body import AtMost
from serving.gateway.http.lenient import Integer, NothingIsAbsent
from serving.gateway.http.ranges import TemperatureAtMost
from serving.gateway.validation import MAX_CONTEXT_FILES


class Snippet(NothingIsAbsent):
    """A piece of another file."""

    filepath: str
    body: str


Snippets = Annotated[list[Snippet], AtMost(MAX_CONTEXT_FILES)]


class Segments(NothingIsAbsent):
    """The code around the cursor, and what the editor knows of other files."""

    prefix: str
    suffix: str = ""
    filepath: str = ""
    declarations: Snippets = Field(default_factory=list)
    relevant_snippets_from_changed_files: Snippets = Field(default_factory=list)
    relevant_snippets_from_recently_opened_files: Snippets = Field(default_factory=list)


class DebugOptions(NothingIsAbsent):
    """`raw_prompt` is what the model is to continue, in place of the segments."""

    raw_prompt: str | None = None


class CompletionBody(NothingIsAbsent):
    """`POST /v1/completions`; without segments, the debug options have a prompt."""

    segments: Segments | None = None
    language: str = ""
    debug_options: DebugOptions = DebugOptions()
    temperature: TemperatureAtMost = 0.0
    seed: Integer | None = None


class EventBody(NothingIsAbsent):
    """`POST /v1/events`: what became of an answer.

    Attributes:
      type: `view`, `select` or `dismiss`; others are taken, too, and not counted.
      completion_id: the `id` of the answer.
    """

    type: str
    completion_id: str = ""


def is_tabby(body: Mapping[str, Any]) -> bool:
    """Whether the body of a completion is Tabby's, and not OpenAI's."""
    options = body.get("debug_options")
    has_raw_prompt = isinstance(options, dict) and options.get("raw_prompt") is not None
    return body.get("prompt") is None and (body.get("segments") is not None or has_raw_prompt)
