"""The internal request and answer: every wire format is parsed into the one and written from the other."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Literal, get_args

from serving.config import Role
from serving.engine.request import FinishReason
from serving.models.adapted_id import AllowedAdapters
from sharding.step import SamplingParams


class ContextKind(IntEnum):
    """What another file is to the one under the cursor; those that change least while a developer types come first."""

    IMPORT = 0
    """Imported by it: changes with its imports."""
    OPEN_FILE = 1
    """Open in the editor: changes as files are opened and edited."""
    SNIPPET = 2
    """Found by the text at the cursor: may change with each key. The model gets all of it or none."""


@dataclass(frozen=True, slots=True)
class ContextFile:
    """Another file of the repository, or a part of one, which the model sees before the file under the cursor.

    Attributes:
      score: how much it may help, from 0 to 1; where not all files have room, the highest are taken.
    """

    path: str
    text: str
    kind: ContextKind = ContextKind.OPEN_FILE
    score: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FimPrompt:
    """Fill in the code between `prefix` and `suffix`. Nothing in these texts can become a control token.

    Attributes:
      path: of the file, at most 1024 characters; empty if unknown.
      context_files: in any order; the model is given what a fixed share of its context has room for.
      may_be_cut: of a prefix and a suffix that are too long the model is given what is next to the cursor; otherwise
        the request is refused.
    """

    prefix: str
    suffix: str
    path: str = ""
    context_files: tuple[ContextFile, ...] = ()
    may_be_cut: bool = False


TruncatedPart = Literal["prefix", "suffix", "context"]


@dataclass(frozen=True, slots=True)
class Truncation:
    """The parts of a prompt that were left out because the context has no room for them; falsy if there are none.

    Attributes:
      prefix_characters: at the prefix's beginning.
      suffix_characters: at the suffix's end.
      context_lines: of all context files.
    """

    prefix_characters: int = 0
    suffix_characters: int = 0
    context_lines: int = 0

    @property
    def parts(self) -> tuple[TruncatedPart, ...]:
        """Those of the prompt of which something is left out."""
        amounts = (self.prefix_characters, self.suffix_characters, self.context_lines)
        return tuple(part for part, amount in zip(get_args(TruncatedPart), amounts, strict=True) if amount)

    def __bool__(self) -> bool:
        return bool(self.prefix_characters or self.suffix_characters or self.context_lines)

    def __add__(self, other: "Truncation") -> "Truncation":
        return Truncation(
            self.prefix_characters + other.prefix_characters,
            self.suffix_characters + other.suffix_characters,
            self.context_lines + other.context_lines,
        )


@dataclass(frozen=True, slots=True)
class TextPrompt:
    """Continue this text. On a model with FIM tokens, sentinels written in the text are control tokens."""

    text: str


@dataclass(frozen=True, slots=True)
class TokenPrompt:
    """Continue these token ids, taken as they are: as the parser left them, not copied before they are counted."""

    ids: Sequence[int]


class Speaker(StrEnum):
    """The author of a message of a conversation."""

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


Biases = tuple[tuple[int | str, float], ...]
"""Token ids, or texts for each of their tokens, and what is added to their logits; -inf forbids a token."""
Prompt = FimPrompt | TextPrompt | TokenPrompt | ChatPrompt
Protocol = Literal["http", "grpc"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PostProcessing:
    """What is done to an answer between code, beyond what every answer gets.

    Attributes:
      end_of_block: end where the block at the cursor ends, or its line if that goes on after it; leave out brackets and
        quotes that the suffix closes.
      suffix_overlap: end where the suffix begins to repeat.
      whole_lines: of an answer that is cut off, by time or length, leave out the last line unless it is the only one.
      file_style: write line ends and indentation as the file does.
      single_line: end before the first line break.
    """

    end_of_block: bool = True
    suffix_overlap: bool = True
    whole_lines: bool = True
    file_style: bool = True
    single_line: bool = False

    @classmethod
    def off(cls) -> "PostProcessing":
        """The text as the model wrote it."""
        return cls(end_of_block=False, suffix_overlap=False, whole_lines=False, file_style=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRequest:
    """A request in the Gateway, independent of its protocol.

    Attributes:
      request_id: named in logs and answers; the client's own or one made for it. Together with all from `session_id` on
        it comes from beside the body: `CallMetadata.applied`.
      model: the model's id or alias; None or empty lets the prompt's shape choose.
      max_tokens: beyond the room that the context has left, that room. None generates up to the model's default, and in
        a conversation as long as there is room; 0 computes the prompt and generates nothing.
      sampling: `gateway/sampling.py` takes values beyond the range into it. Its biases come from `logit_bias`.
      logit_bias: at most 300 tokens, and texts of at most 4096 characters in all. Several of one token add up; those of
        tokens that the vocabulary does not have change nothing.
      stop: texts that end the generation and are not part of it; at most 64 of at most 1024 characters. They match
        character by character: LF leaves the CR of a CRLF in the answer, but where code is filled in.
      stop_ids: tokens that do the same, at most 64; those that the vocabulary does not have never come.
      choices: how many independent completions of the prompt to make; seeds count up from the request's seed.
      echo: whether the text of each choice begins with that of the prompt; of code to fill in, with the prefix.
      prompt_logprobs: report log probabilities of the prompt's tokens too, as `sampling.logprobs` says; with `echo`,
        of those that the text shows.
      timeout_s: seconds after which the answer is worthless; None takes the configured limit.
      post_processing: what is done to an answer that fills in code.
      language: of the code, as editors name it (`python`, `typescriptreact`); empty: known by the prompt's path.
      predict_s: seconds from its first text on after which the answer ends, once it has a line break; None: not so.
      least_indent: the answer ends before a line, other than its first, that is indented by fewer characters.
      session_id: one cursor of one user: keeps its requests on one replica, and a newer FIM request ends an older one;
        at most 1024 characters.
      sent_at: Unix time at which it came; the prompts and choices of one request have it in common.
      repeated: its client has sent it before: it ends no request of its session, and any of them ends it.
      tenant: for whom; decides which models answer, where the operator says so.
      owner: whose the session and what is cached of the prompt are, as `access.Caller` says.
      roles: what its caller may ask for.
      adapters: that its caller may use.
      key: the name of its caller's key, or of the holder of its token; empty where no key is needed.
      protocol: `http` or `grpc`; for metrics and traces alone.
      route: the path or the gRPC method that it came by.
      trace: names the span that it is part of, as W3C's `traceparent`; empty if it is not traced.
    """

    prompt: Prompt
    request_id: str = ""
    model: str | None = None
    max_tokens: int | None = None
    sampling: SamplingParams = field(default_factory=SamplingParams)
    logit_bias: Biases = ()
    stop: tuple[str, ...] = ()
    stop_ids: frozenset[int] = frozenset()
    choices: int = 1
    echo: bool = False
    prompt_logprobs: bool = False
    timeout_s: float | None = None
    post_processing: PostProcessing = field(default_factory=PostProcessing.off)
    language: str = ""
    predict_s: float | None = None
    least_indent: int = 0
    session_id: str = ""
    sent_at: float = field(default_factory=time.time, compare=False, repr=False)
    repeated: bool = False
    tenant: str = ""
    owner: str = ""
    roles: frozenset[Role] = frozenset(Role)
    adapters: AllowedAdapters = None
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
    """The log probability of one token.

    Attributes:
      token: the token's text; a token that is a part of a character shows as U+FFFD here, `bytes` is exact. A control
        token, which may be among the alternatives, shows as it is written, and has no bytes.
      logprob: None for the first token of a prompt, which nothing comes before.
      top: the likeliest alternatives, most likely first.
      offset: characters of the choice's text before it, or before the character that it is a part of; 0 in `top`.
    """

    token: str
    bytes: bytes
    logprob: float | None
    top: tuple["TokenLogprob", ...] = ()
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one whole request. `cached_tokens` of the prompt were not computed again."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A piece of an answer; pieces of different choices may alternate.

    Attributes:
      model: the id of the model that answers.
      model_version: its version.
      index: which choice this belongs to, from 0; the choices of several prompts are counted on.
      text: always whole characters; never a stop text, and after the prompt never a control token.
      prompt_logprobs: of tokens of the prompt; in order, and before all others of the choice.
      logprobs: of generated tokens. Where those of the prompt are reported, the token with which the model ended the
        choice is the last of them, without text.
      finish_reason: STOP or LENGTH on the last piece of a choice; failures are raised as `ServingError` instead.
      stop_text: of the request's stop texts, on the last piece of a choice, the one that ended it; empty if none did.
    """

    model: str = ""
    model_version: str = ""
    index: int = 0
    text: str = ""
    prompt_logprobs: tuple[TokenLogprob, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    stop_text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The end of an answer, after its last piece.

    Attributes:
      model: the id of the model that answered; of several prompts, the last one.
      model_version: its version.
      usage: over all prompts and choices.
      truncation: what of all prompts was left out.
      completion_id: names the answer to the last prompt, for what becomes of it.
    """

    model: str = ""
    model_version: str = ""
    usage: Usage = Usage()
    truncation: Truncation = Truncation()
    completion_id: str = ""


type AnswerPart = Piece | End
"""An answer is pieces, at least one for each choice, and then one end."""
