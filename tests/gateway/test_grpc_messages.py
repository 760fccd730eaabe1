"""Conversions between `codegemma.v1` and the gateway's own request and answer."""

import math
from collections.abc import AsyncGenerator
from typing import Any, Literal

import pytest
from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1 import generation_pb2 as generation
from codegemma.v1 import model_pb2, prompt_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message as ProtobufMessage
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.config import Role
from serving.engine.request import FinishReason
from serving.errors import Reason, ServingError
from serving.gateway.grpc import answers, requests
from serving.gateway.request import (
    ChatPrompt,
    CodeRequest,
    ContextFile,
    ContextKind,
    End,
    FimPrompt,
    Message,
    Piece,
    PostProcessing,
    Prompt,
    Speaker,
    TextPrompt,
    TokenLogprob,
    TokenPrompt,
    Usage,
)
from serving.gateway.service import ModelInfo
from sharding.step import SamplingParams

type GeneratingOrCounting = requests.GenerationMessage | pb.CountTokensRequest

quick = settings(deadline=None, max_examples=100)

texts = st.text(max_size=20)
int32s = st.integers(-(2**31), 2**31 - 1)
float32s = st.floats(width=32)
scores = st.floats(0, 1, width=32)
fim_prompts = st.builds(
    FimPrompt,
    prefix=texts,
    suffix=texts,
    path=texts,
    context_files=st.lists(st.builds(ContextFile, texts, texts, st.sampled_from(ContextKind), scores), max_size=3).map(
        tuple
    ),
    may_be_cut=st.just(True),
)
text_prompts = st.builds(TextPrompt, texts)
token_prompts = st.builds(TokenPrompt, st.lists(int32s, max_size=5))
chat_prompts = st.builds(
    ChatPrompt, st.lists(st.builds(Message, st.sampled_from(Speaker), texts), max_size=3).map(tuple)
)
# What the wire can carry, valid or not: the service, not the conversion, decides on ranges.
configs = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": int32s,
        "temperature": float32s,
        "top_k": int32s,
        "top_p": float32s,
        "seed": st.integers(-(2**63), 2**63 - 1),
        "logprobs": int32s,
        "choices": int32s,
        **dict.fromkeys(("min_p", "presence_penalty", "frequency_penalty", "repetition_penalty"), float32s),
        "logit_bias": st.dictionaries(int32s, float32s, max_size=3),
        "stop_sequences": st.lists(texts, min_size=1, max_size=3),
    },
)
ROLES = {
    Speaker.SYSTEM: prompt_pb2.ChatMessage.ROLE_SYSTEM,
    Speaker.USER: prompt_pb2.ChatMessage.ROLE_USER,
    Speaker.MODEL: prompt_pb2.ChatMessage.ROLE_MODEL,
}
KINDS = {
    ContextKind.IMPORT: prompt_pb2.ContextFile.KIND_IMPORT,
    ContextKind.OPEN_FILE: prompt_pb2.ContextFile.KIND_OPEN_FILE,
    ContextKind.SNIPPET: prompt_pb2.ContextFile.KIND_SNIPPET,
}


def input_of(prompt: Prompt) -> dict[str, Any]:
    """The fields of a message that say this prompt."""
    match prompt:
        case FimPrompt():
            files = [
                prompt_pb2.ContextFile(path=file.path, text=file.text, kind=KINDS[file.kind], score=file.score)
                for file in prompt.context_files
            ]
            fim = prompt_pb2.FimInput(prefix=prompt.prefix, suffix=prompt.suffix, path=prompt.path, context_files=files)
            return {"fim": fim}
        case TextPrompt():
            return {"prompt": prompt.text}
        case TokenPrompt():
            return {"token_ids": prompt_pb2.TokenIds(ids=prompt.ids)}
        case ChatPrompt():
            turns = [prompt_pb2.ChatMessage(role=ROLES[turn.speaker], text=turn.text) for turn in prompt.messages]
            return {"messages": turns}


def sent[M: ProtobufMessage](message: M) -> M:
    """The message as it arrives at the server."""
    return type(message).FromString(message.SerializeToString())


@quick
@given(st.one_of(fim_prompts, text_prompts, token_prompts, chat_prompts), configs, texts, st.booleans())
def test_every_field_that_the_wire_carries_reaches_the_request(
    prompt: Prompt, config: dict[str, Any], model: str, stream: bool
) -> None:
    chat = pb.StreamChatRequest if stream else pb.ChatRequest
    complete = pb.StreamCompleteRequest if stream else pb.CompleteRequest
    message = (chat if isinstance(prompt, ChatPrompt) else complete)(
        model=model, generation_config=generation.GenerationConfig(**config), **input_of(prompt)
    )

    request = requests.generation_request(sent(message))

    elsewhere = {"max_tokens", "choices", "stop_sequences", "logit_bias"}
    sampled = {name: value for name, value in config.items() if name not in elsewhere}
    expected = CodeRequest(
        prompt=prompt,
        model=model or None,
        max_tokens=config.get("max_tokens"),
        sampling=SamplingParams(**sampled),
        logit_bias=tuple(sorted(config.get("logit_bias", {}).items())),
        stop=tuple(config.get("stop_sequences", ())),
        choices=config.get("choices", 1),
        post_processing=PostProcessing.off() if isinstance(prompt, ChatPrompt) else PostProcessing(),
    )
    # repr, for NaN differs from itself
    assert repr(request) == repr(expected)


def test_an_empty_configuration_takes_the_defaults_of_the_request() -> None:
    request = requests.generation_request(pb.CompleteRequest(prompt="x"))
    assert request == CodeRequest(prompt=TextPrompt("x"), post_processing=PostProcessing())


def test_zero_is_not_the_same_as_not_set() -> None:
    config = generation.GenerationConfig(max_tokens=0, logprobs=0, choices=0, top_p=0)
    request = requests.generation_request(sent(pb.CompleteRequest(prompt="x", generation_config=config)))
    assert (request.max_tokens, request.sampling.logprobs, request.choices, request.sampling.top_p) == (0, 0, 0, 0)


@quick
@given(st.one_of(fim_prompts, text_prompts, token_prompts, chat_prompts))
def test_counting_takes_every_kind_of_prompt(prompt: Prompt) -> None:
    fields = input_of(prompt)
    if "messages" in fields:
        fields = {"chat": prompt_pb2.ChatInput(messages=fields["messages"])}
    request = requests.counting_request(sent(pb.CountTokensRequest(model="m", **fields)))
    assert request == CodeRequest(prompt=prompt, model="m")


@quick
@given(st.integers(0, 10**6), st.integers(0, 10**9 - 1))
def test_a_timeout_is_its_seconds(seconds: int, nanos: int) -> None:
    message = pb.ChatRequest(timeout=Duration(seconds=seconds, nanos=nanos))
    if seconds == nanos == 0:
        with pytest.raises(ServingError, match="positive"):
            requests.generation_request(message)
    else:
        timeout_s = requests.generation_request(message).timeout_s
        assert timeout_s is not None and math.isclose(timeout_s, seconds + nanos * 1e-9, rel_tol=1e-12)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (pb.CompleteRequest(), "input"),
        (pb.StreamCompleteRequest(model="m"), "input"),
        (pb.CountTokensRequest(), "input"),
        (pb.CompleteRequest(prompt="x", timeout=Duration(seconds=-1)), "timeout"),
        (pb.CompleteRequest(prompt="x", timeout=Duration(nanos=-1)), "timeout"),
        (pb.CompleteRequest(prompt="x", timeout=Duration(nanos=10**9)), "timeout"),
        (pb.CompleteRequest(prompt="x", time_budget=Duration()), "time_budget"),
        (pb.CompleteRequest(fim={"context_files": [{}, {"kind": 9}]}), "fim.context_files[1].kind"),
        (pb.ChatRequest(messages=[prompt_pb2.ChatMessage(text="hi")]), "messages[0].role"),
        (
            pb.StreamChatRequest(
                messages=[
                    prompt_pb2.ChatMessage(role=prompt_pb2.ChatMessage.ROLE_USER),
                    prompt_pb2.ChatMessage.FromString(b"\x08\x63"),
                ]
            ),
            "messages[1].role",
        ),
        (pb.CountTokensRequest(chat={"messages": [{"text": "hi"}]}), "chat.messages[0].role"),
    ],
)
def test_what_only_the_wire_can_get_wrong_is_refused_by_field(message: GeneratingOrCounting, field: str) -> None:
    with pytest.raises(ServingError) as refusal:
        if isinstance(message, pb.CountTokensRequest):
            requests.counting_request(message)
        else:
            requests.generation_request(message)
    assert refusal.value.reason is Reason.INVALID_ARGUMENT
    assert refusal.value.field == field


FIELDS = [
    *["max_tokens", "temperature", "top_k", "top_p", "seed", "stop", "logprobs", "prompt_logprobs", "choices"],
    *["timeout_s", "model"],
]
FIELDS += ["min_p", "presence_penalty", "frequency_penalty", "repetition_penalty", "logit_bias"]
PROMPT_FIELDS = {
    "fim": ["prefix", "suffix", "path", "context_files"],
    "prompt": ["prompt"],
    "token_ids": ["prompt"],
    "messages": ["messages"],
    "chat": ["messages"],
}
MESSAGES: list[GeneratingOrCounting] = [
    *(kind(fim={}) for kind in (pb.CompleteRequest, pb.CountTokensRequest)),
    *(kind(token_ids={}) for kind in (pb.CompleteRequest, pb.CountTokensRequest)),
    *(kind(prompt="") for kind in (pb.StreamCompleteRequest, pb.CountTokensRequest)),
    pb.ChatRequest(messages=[prompt_pb2.ChatMessage(role=prompt_pb2.ChatMessage.ROLE_USER)]),
    pb.CountTokensRequest(chat={}),
]


@pytest.mark.parametrize("message", MESSAGES, ids=repr)
def test_errors_name_fields_that_are_in_the_message(message: GeneratingOrCounting) -> None:
    """Each name is walked down the message's descriptors, from the request's field to the message's."""
    counting = isinstance(message, pb.CountTokensRequest)
    kind = message.WhichOneof("input") if "input" in message.DESCRIPTOR.oneofs_by_name else "messages"
    words = requests.words(message)
    for field in [*PROMPT_FIELDS[kind], *(["model"] if counting else FIELDS)]:
        fields, path = message.DESCRIPTOR.fields_by_name, words.get(field, field)
        assert path.split(".")[0] in {kind, "generation_config", "timeout", "model"}
        for name in path.split("."):
            inner = fields[name].message_type
            fields = inner.fields_by_name if inner else {}


token_logprobs = st.builds(
    TokenLogprob,
    texts,
    st.binary(max_size=4),
    float32s.filter(lambda value: not math.isnan(value)),
    st.lists(st.builds(TokenLogprob, texts, st.binary(max_size=4), st.just(-0.5)), max_size=2).map(tuple),
)


@quick
@given(
    int32s, texts, st.sampled_from([None, FinishReason.STOP, FinishReason.LENGTH]), st.lists(token_logprobs, max_size=2)
)
def test_a_choice_carries_all_of_its_piece(
    index: int, text: str, finish_reason: FinishReason | None, logprobs: list[TokenLogprob]
) -> None:
    prompt_logprobs = (TokenLogprob("a", b"a", None), *logprobs)
    piece = Piece(
        index=index,
        text=text,
        finish_reason=finish_reason,
        prompt_logprobs=prompt_logprobs,
        logprobs=tuple(logprobs),
    )
    choice = sent(answers.choice(piece))

    def read(token: generation.TokenLogprob) -> TokenLogprob:
        logprob = token.logprob if token.HasField("logprob") else None
        return TokenLogprob(token.token, token.token_bytes, logprob, tuple(read(other) for other in token.top))

    reasons = {
        0: None,
        generation.FINISH_REASON_STOP: FinishReason.STOP,
        generation.FINISH_REASON_LENGTH: FinishReason.LENGTH,
    }
    assert piece == Piece(
        index=choice.index,
        text=choice.text,
        finish_reason=reasons[choice.finish_reason],
        prompt_logprobs=tuple(read(token) for token in choice.prompt_logprobs),
        logprobs=tuple(read(token) for token in choice.logprobs),
    )


@quick
@given(st.lists(st.tuples(st.integers(0, 3), texts), max_size=20))
async def test_pieces_of_choices_in_any_order_join_to_whole_choices(pieces: list[tuple[int, str]]) -> None:
    indices = sorted({index for index, _ in pieces} | {0})

    async def parts() -> AsyncGenerator[Piece | End]:
        for index, text in pieces:
            yield Piece(index=index, text=text, logprobs=(TokenLogprob(text, text.encode(), -1.0),))
        for index in reversed(indices):
            yield Piece(index=index, finish_reason=FinishReason.STOP)
        yield End(usage=Usage(5, 7, 3))

    choices, end = await answers.whole_choices(parts())

    texts_of = {index: [text for i, text in pieces if i == index] for index in indices}
    assert {choice.index: choice.text for choice in choices} == {i: "".join(parts) for i, parts in texts_of.items()}
    assert {c.index: [token.token for token in c.logprobs] for c in choices} == texts_of
    assert {choice.finish_reason for choice in choices} == {generation.FINISH_REASON_STOP}
    assert [choice.index for choice in choices] == indices
    assert answers.usage(end.usage) == generation.Usage(prompt_tokens=5, completion_tokens=7, cached_tokens=3)


@pytest.mark.parametrize(
    ("fim", "support"),
    [
        ("native", model_pb2.FIM_SUPPORT_NATIVE),
        ("prefix", model_pb2.FIM_SUPPORT_PREFIX),
        (None, model_pb2.FIM_SUPPORT_NONE),
    ],
)
def test_a_model_carries_all_of_its_description(
    fim: Literal["native", "prefix"] | None, support: model_pb2.FimSupport
) -> None:
    info = ModelInfo(
        id="m",
        aliases=("n",),
        roles=(Role.CHAT, Role.FIM),
        fim=fim,
        chat="turns",
        context_length=8192,
        version="v3",
    )
    roles = [model_pb2.MODEL_ROLE_CHAT, model_pb2.MODEL_ROLE_FIM]
    expected = model_pb2.Model(
        id="m", aliases=["n"], roles=roles, fim_support=support, context_length=8192, version="v3"
    )
    assert answers.model(info) == expected
