"""Tabby's wire, inwards: from request bodies to the gateway's requests."""

from collections.abc import Iterable, Iterator

from serving.errors import FieldError, Reason
from serving.gateway.http.tabby.schema import CompletionBody, Segments, Snippet
from serving.gateway.request import CodeRequest, ContextFile, ContextKind, FimPrompt, Prompt, TextPrompt
from serving.gateway.sampling import new_seed
from sharding.step import SamplingParams

WORDS = {
    "prefix": "segments.prefix",
    "path": "segments.filepath",
    "context_files": "segments",
    "prompt": "debug_options.raw_prompt",
}
"""What a body calls fields of a `CodeRequest`."""

_MAX_TOKENS = 64
"""As Tabby's server generates; its API has no field for it."""


def completion_request(body: CompletionBody) -> CodeRequest:
    """The request of a body.

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    return CodeRequest(
        prompt=_prompt(body),
        max_tokens=_MAX_TOKENS,
        language=body.language,
        sampling=SamplingParams(
            temperature=max(body.temperature, 0.0),
            seed=new_seed() if body.seed is None else body.seed,
        ),
    )


def _prompt(body: CompletionBody) -> Prompt:
    if body.debug_options.raw_prompt is not None:
        return TextPrompt(body.debug_options.raw_prompt)
    if body.segments is None:
        raise FieldError(Reason.INVALID_ARGUMENT, "segments", "is required.")
    return _fim_prompt(body.segments)


def _fim_prompt(segments: Segments) -> FimPrompt:
    """Declarations help most, then what has changed, in the order of the body, then files that were opened."""
    changed = segments.relevant_snippets_from_changed_files
    opened = segments.relevant_snippets_from_recently_opened_files
    return FimPrompt(
        prefix=segments.prefix,
        suffix=segments.suffix,
        path=segments.filepath,
        context_files=(
            *_files(segments.declarations, ContextKind.SNIPPET, 1.0),
            *_files(changed, ContextKind.SNIPPET, 0.75),
            *_files(opened, ContextKind.OPEN_FILE, 0.5),
        ),
        may_be_cut=True,
    )


def _files(snippets: Iterable[Snippet], kind: ContextKind, score: float) -> Iterator[ContextFile]:
    for snippet in snippets:
        yield ContextFile(snippet.filepath, snippet.body, kind, score)
