"""The one internal request: what every wire format is turned into, and what every answer is written from."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from serving.config import Role
from serving.engine.request import FinishReason
from sharding.step import SamplingParams


@dataclass(frozen=True, slots=True)
class ContextFile:
    """Another file of the repository, given to the model before the file under the cursor."""

    path: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FimPrompt:
    """Fill in the code between `prefix` and `suffix`. Nothing in these texts can become a control token."""

    prefix: str
    suffix: str
    path: str = ""
    context_files: tuple[ContextFile, ...] = ()


@dataclass(frozen=True, slots=True)
class TextPrompt:
    """Continue this text. On a model with FIM tokens, sentinels written in the text are control tokens."""

    text: str


@dataclass(frozen=True, slots=True)
class TokenPrompt:
    """Continue these token ids, taken as they are: as the parser left them, not copied before they are counted."""

    ids: Sequence[int]


class Speaker(StrEnum):
    """Who says a message of a conversation."""

    SYSTEM = "system"
    USER = "user"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. Nothing in `text` can become a control token."""

    speaker: Speaker
    text: str


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """Answer the last message."""

    messages: tuple[Message, ...]


Prompt = FimPrompt | TextPrompt | TokenPrompt | ChatPrompt
Protocol = Literal["http", "grpc"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRequest:
    """A request as the gateway sees it, whatever protocol brought it.

    Attributes:
      request_id: named in logs and answers; the client's own or one made for it. Together with all from `session_id` on
        it comes from beside the body: `CallMetadata.applied`.
      model: the model's id or alias; None or empty lets the prompt's shape choose.
      max_tokens: None generates up to the model's default.
      stop: texts that end the generation and are not part of it; at most 16 of at most 1024 characters. They match
        character by character: LF leaves the CR of a CRLF in the answer, unless the suffix begins with a line break.
      choices: how many independent completions of the prompt to make; seeds count up from the request's seed.
      timeout_s: seconds after which the answer is worthless; None takes the configured limit.
      session_id: one cursor of one user: keeps its requests on one replica, and a newer FIM request ends an older one;
        at most 1024 characters.
      sent_at: Unix time at which it came; the prompts and choices of one request have it in common.
      tenant: for whom; decides which models answer, where the operator says so.
      owner: whose the session and what is cached of the prompt are, as `access.Caller` says.
      roles: what its caller may ask for.
      key: the name of its caller's key, or of the holder of its token; empty where nobody needs one.
      protocol: `http` or `grpc`; for metrics and traces alone.
      route: the path or the gRPC method that it came by.
      trace: names the span that it is part of, as W3C's `traceparent`; empty where nobody follows it.
    """

    prompt: Prompt
    request_id: str = ""
    model: str | None = None
    max_tokens: int | None = None
    sampling: SamplingParams = field(default_factory=SamplingParams)
    stop: tuple[str, ...] = ()
    choices: int = 1
    timeout_s: float | None = None
    session_id: str = ""
    sent_at: float = field(default_factory=time.time, compare=False, repr=False)
    tenant: str = ""
    owner: str = ""
    roles: frozenset[Role] = frozenset(Role)
    key: str = ""
    protocol: Protocol = "http"
    route: str = ""
    trace: str = ""

    @property
    def session(self) -> str:
        """The session, which another owner's of the same id is not; empty without one."""
        # With the length, as both may hold any character: "acme/eu" and "x" are not "acme" and "eu/x".
        return f"{len(self.owner)}:{self.owner}/{self.session_id}" if self.session_id else ""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """The log probability of one generated token.

    Attributes:
      token: the token's text; a token that is a part of a character shows as U+FFFD here, `bytes` is exact.
      top: the likeliest alternatives, most likely first.
    """

    token: str
    bytes: bytes
    logprob: float
    top: tuple["TokenLogprob", ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one whole request. `cached_tokens` of the prompt were not computed again."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeChunk:
    """A piece of an answer; pieces of different choices may alternate.

    Attributes:
      index: which choice this belongs to, from 0.
      text: always whole characters; never a stop text, never a control token.
      finish_reason: STOP or LENGTH on the last chunk of a choice; failures are raised as `ServingError` instead.
      usage: on the very last chunk of the answer, over all choices.
      model: the id of the model that answers.
      model_version: its version.
    """

    model: str = ""
    model_version: str = ""
    index: int = 0
    text: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
