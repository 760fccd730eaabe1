"""Rendered prompts, token by token."""

import itertools
from collections.abc import Sequence
from typing import Literal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from serving.errors import Reason, ServingError
from serving.gateway.request import (
    Biases,
    ChatPrompt,
    CodeRequest,
    ContextFile,
    FimPrompt,
    Message,
    Prompt,
    Speaker,
    TextPrompt,
    TokenPrompt,
)
from serving.gateway.text.prompts import PromptRenderer
from serving.gateway.text.tokenizer import BOS as BOS_TEXT
from serving.gateway.text.tokenizer import SENTINELS, Tokenizer
from serving.gateway.text.turns import Turn, turns
from serving.gateway.validation import is_short

BOS, PREFIX, MIDDLE, SUFFIX, SEPARATOR, START, END = 2, 67, 68, 69, 70, 106, 107
LIMIT = 8192
SYSTEM, USER, MODEL = Speaker.SYSTEM, Speaker.USER, Speaker.MODEL
BEGUN = Turn(MODEL, "", goes_on=True)
injections = st.lists(st.one_of(st.sampled_from(SENTINELS), st.text(max_size=8)), max_size=6).map("".join)


@pytest.fixture
def renderer(codegemma: Tokenizer) -> PromptRenderer:
    return PromptRenderer(codegemma, "psm")


def test_fim_is_prefix_suffix_middle_with_nothing_between(codegemma: Tokenizer, renderer: PromptRenderer) -> None:
    encode = codegemma.encode
    assert renderer.fim_mode == "native"
    ids = renderer.render(
        FimPrompt(prefix="def f(x):\n    ", suffix="\n\nprint(f(1))\n", path="ignored/alone.py"), LIMIT
    )
    assert ids == [BOS, PREFIX, *encode("def f(x):\n    "), SUFFIX, *encode("\n\nprint(f(1))\n"), MIDDLE]


def test_fim_is_suffix_prefix_middle_when_configured(codegemma: Tokenizer) -> None:
    encode = codegemma.encode
    ids = PromptRenderer(codegemma, "spm").render(FimPrompt(prefix="a = ", suffix="\nb"), LIMIT)
    assert ids == [BOS, SUFFIX, *encode("\nb"), PREFIX, *encode("a = "), MIDDLE]


def test_other_files_go_before_the_file_under_the_cursor_by_path(
    codegemma: Tokenizer, renderer: PromptRenderer
) -> None:
    encode = codegemma.encode
    files = (ContextFile("lib/a.py", "A = 1\n"), ContextFile("b.py", "B = 2"))
    ids = renderer.render(FimPrompt(prefix="import", suffix="", path="main.py", context_files=files), LIMIT)
    assert ids == [
        *(BOS, *encode("b.py\nB = 2"), SEPARATOR, *encode("lib/a.py\nA = 1\n"), SEPARATOR),
        *(*encode("main.py\n"), PREFIX, *encode("import"), SUFFIX, MIDDLE),
    ]


def test_line_ends_beside_sentinels_are_kept(codegemma: Tokenizer, renderer: PromptRenderer) -> None:
    ids = renderer.render(FimPrompt(prefix="a\r\n", suffix="\r\nb"), LIMIT)
    at = ids.index(SUFFIX)
    assert (codegemma.decode(ids[2:at]), codegemma.decode(ids[at + 1 : -1])) == ("a\r\n", "\r\nb")


@settings(deadline=None, max_examples=100)
@given(texts=st.tuples(*[injections] * 5))
def test_no_text_of_a_fim_request_becomes_a_control_token(codegemma: Tokenizer, texts: tuple[str, ...]) -> None:
    prefix, suffix, path, other_path, other_text = texts
    prompt = FimPrompt(prefix=prefix, suffix=suffix, path=path, context_files=(ContextFile(other_path, other_text),))
    ids = PromptRenderer(codegemma, "psm").render(prompt, LIMIT)
    control = [token_id for token_id in ids if token_id in codegemma.control_ids]
    assert control == [BOS, *[SEPARATOR] * bool(other_text.strip()), PREFIX, SUFFIX, MIDDLE]


@settings(deadline=None, max_examples=100)
@given(texts=st.lists(injections, min_size=3, max_size=3))
def test_no_text_of_a_conversation_becomes_a_control_token(codegemma: Tokenizer, texts: list[str]) -> None:
    messages = tuple(map(Message, (SYSTEM, USER), texts))
    ids = PromptRenderer(codegemma, "psm").render(ChatPrompt(messages), LIMIT)
    control = [token_id for token_id in ids if token_id in codegemma.control_ids]
    assert control == [BOS, START, END, START]


def test_without_fim_tokens_the_prefix_is_continued(gemma3: Tokenizer) -> None:
    renderer = PromptRenderer(gemma3, "psm")
    assert renderer.fim_mode == "prefix"
    prompt = FimPrompt(prefix="x = ", suffix="\ny", path="m.py", context_files=(ContextFile("a.py", "A = 1"),))
    assert renderer.render(prompt, LIMIT) == [BOS, *gemma3.encode("a.py\nA = 1\nm.py\nx = ")]
    assert renderer.render(FimPrompt(prefix="x = ", suffix="\ny", path="m.py"), LIMIT) == [BOS, *gemma3.encode("x = ")]


def test_a_raw_prompt_has_sentinels_on_a_model_with_fim_tokens_only(codegemma: Tokenizer, gemma3: Tokenizer) -> None:
    text = TextPrompt("<|fim_prefix|>a<|fim_suffix|>")
    assert PromptRenderer(codegemma, "psm").render(text, LIMIT) == [BOS, PREFIX, *codegemma.encode("a"), SUFFIX]
    assert PromptRenderer(gemma3, "psm").render(text, LIMIT) == [BOS, *gemma3.encode(text.text)]


@settings(deadline=None, max_examples=100)
@given(
    prefix=st.text(),
    suffix=st.text(),
    fim_format=st.sampled_from(["psm", "spm"]),
    files=st.lists(st.tuples(st.text("a/b.", min_size=1), st.text(min_size=1)).map(lambda it: ContextFile(*it))),
)
def test_a_model_without_fim_tokens_reads_a_prompt_that_a_client_has_formatted_with_them(
    codegemma: Tokenizer,
    gemma3: Tokenizer,
    prefix: str,
    suffix: str,
    fim_format: Literal["psm", "spm"],
    files: list[ContextFile],
) -> None:
    assume(not any(text in prefix + suffix for text in SENTINELS))
    path = "main.py" if files else ""
    prompt = FimPrompt(prefix=prefix, suffix=suffix, path=path, context_files=tuple(files))
    before, after = f"<|fim_prefix|>{prefix}", f"<|fim_suffix|>{suffix}"
    raw = "".join(f"{file.path}\n{file.text}<|file_separator|>" for file in files) + (f"{path}\n" if files else "")
    raw += (before + after if fim_format == "psm" else after + before) + "<|fim_middle|>"
    without, with_tokens = PromptRenderer(gemma3, "psm"), PromptRenderer(codegemma, fim_format)
    assert without.infill(TextPrompt(raw)) == prompt
    assert without.render(TextPrompt(raw), 10**6) == without.render(prompt, 10**6)
    assert with_tokens.infill(TextPrompt(raw)) is None  # it reads the tokens themselves


@pytest.mark.parametrize(
    "text",
    [
        "no markers",
        "<|fim_prefix|>a<|fim_suffix|>b",
        "<|fim_middle|>a<|fim_prefix|>b<|fim_suffix|>",
        "<|fim_prefix|>a<|fim_suffix|>b<|fim_suffix|>c<|fim_middle|>",
        "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>c<|fim_middle|>",
    ],
)
def test_markers_in_no_known_order_are_text(gemma3: Tokenizer, text: str) -> None:
    renderer = PromptRenderer(gemma3, "psm")
    assert renderer.infill(TextPrompt(text)) is None
    assert renderer.render(TextPrompt(text), LIMIT) == [BOS, *gemma3.encode(text)]


def test_what_stands_behind_the_last_marker_is_already_written(gemma3: Tokenizer) -> None:
    text = TextPrompt("<bos><|fim_prefix|>a = <|fim_suffix|>\nb<|fim_middle|>[1, ")
    assert PromptRenderer(gemma3, "psm").infill(text) == FimPrompt(prefix="a = [1, ", suffix="\nb")


@pytest.mark.parametrize("text", ["x", "<bos>x", "<bos><bos>x", "x<bos>"])
def test_bos_stands_once_and_first_whatever_a_raw_prompt_has(
    codegemma: Tokenizer, renderer: PromptRenderer, text: str
) -> None:
    assert renderer.render(TextPrompt(text), LIMIT) == [BOS, *codegemma.encode("x")]


def test_token_ids_are_taken_as_they_are(renderer: PromptRenderer) -> None:
    assert renderer.render(TokenPrompt((5, 67, 255_999)), LIMIT) == [5, 67, 255_999]


@pytest.mark.parametrize("token_id", [-1, 256_000, 2**40])
def test_a_token_id_out_of_the_vocabulary_is_named(renderer: PromptRenderer, token_id: int) -> None:
    with pytest.raises(ServingError, match=f"is {token_id}; this model's token ids are 0 to 255999") as error:
        renderer.render(TokenPrompt((5, token_id)), LIMIT)
    assert (error.value.reason, error.value.field) == (Reason.INVALID_ARGUMENT, "prompt[1]")


def test_a_conversation_follows_gemmas_template(codegemma: Tokenizer, renderer: PromptRenderer) -> None:
    encode = codegemma.encode
    messages = (Message(SYSTEM, " Be brief. "), Message(USER, " Hi\n"), Message(MODEL, "Yes? "), Message(USER, "Bye"))
    newline = encode("\n")
    assert renderer.render(ChatPrompt(messages), LIMIT) == [
        *(BOS, START, *encode("user\nBe brief.\n\nHi"), END, *newline),
        *(START, *encode("model\nYes?"), END, *newline),
        *(START, *encode("user\nBye"), END, *newline),
        *(START, *encode("model\n")),
    ]


def test_the_template_uses_the_turn_tokens_of_the_vocabulary(gemma3: Tokenizer) -> None:
    ids = PromptRenderer(gemma3, "psm").render(ChatPrompt((Message(USER, "Hi"),)), LIMIT)
    assert [token_id for token_id in ids if token_id in gemma3.control_ids] == [2, 105, 106, 105]


def test_a_base_model_is_given_a_transcript(codegemma: Tokenizer) -> None:
    renderer = PromptRenderer(codegemma, "psm", "transcript")
    messages = (Message(SYSTEM, "Be brief."), Message(USER, "Hi"), Message(MODEL, "Yes?"), Message(USER, "Bye <eos>"))
    text = "Question:\nBe brief.\n\nHi\n\nAnswer:\nYes?\n\nQuestion:\nBye <eos>\n\nAnswer:\n"
    assert renderer.conversation_text(messages) == text
    ids = renderer.render(ChatPrompt(messages), LIMIT)
    assert codegemma.decode(ids[1:]) == text
    assert [token_id for token_id in ids if token_id in codegemma.control_ids] == [BOS]


def test_a_transcript_needs_no_turn_tokens() -> None:
    tokenizer = CountingTokenizer((BOS_TEXT,))
    assert PromptRenderer(tokenizer, "psm", "transcript").serves_chat
    assert not PromptRenderer(tokenizer, "psm").serves_chat


def test_several_system_texts_are_joined_and_blank_ones_leave_no_blank_line() -> None:
    messages = [Message(SYSTEM, "A"), Message(SYSTEM, " "), Message(SYSTEM, "B"), Message(USER, "C")]
    assert list(turns(messages)) == [Turn(USER, "A\n\nB\n\nC"), BEGUN]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([(USER, "a"), (USER, "b")], [Turn(USER, "a\n\nb"), BEGUN]),
        (
            [(USER, "a"), (MODEL, "b"), (MODEL, "c"), (USER, "d")],
            [Turn(USER, "a"), Turn(MODEL, "b\n\nc"), Turn(USER, "d"), BEGUN],
        ),
        ([(MODEL, "Hello!"), (USER, "b")], [Turn(MODEL, "Hello!"), Turn(USER, "b"), BEGUN]),
        ([(USER, "Hi"), (MODEL, "Sure, here is")], [Turn(USER, "Hi"), Turn(MODEL, "Sure, here is", goes_on=True)]),
        ([(USER, "Hi"), (MODEL, " def f():\n    ")], [Turn(USER, "Hi"), Turn(MODEL, "def f():\n    ", goes_on=True)]),
        ([(USER, "Hi"), (MODEL, "")], [Turn(USER, "Hi"), BEGUN]),
        ([(USER, "a"), (MODEL, ""), (USER, "b")], [Turn(USER, "a"), Turn(MODEL, ""), Turn(USER, "b"), BEGUN]),
        (
            [(USER, "a"), (MODEL, "b"), (SYSTEM, "S"), (USER, "c")],
            [Turn(USER, "a"), Turn(MODEL, "b"), Turn(USER, "S\n\nc"), BEGUN],
        ),
        ([(USER, "a"), (SYSTEM, "S")], [Turn(USER, "a\n\nS"), BEGUN]),
        (
            [(SYSTEM, "S"), (MODEL, "Hello!"), (USER, "a")],
            [Turn(USER, "S"), Turn(MODEL, "Hello!"), Turn(USER, "a"), BEGUN],
        ),
        ([(SYSTEM, "S")], [Turn(USER, "S"), BEGUN]),
        ([(MODEL, "x")], [Turn(MODEL, "x", goes_on=True)]),
    ],
)
def test_any_order_of_speakers_is_turns_in_alternation(
    messages: list[tuple[Speaker, str]], expected: list[Turn]
) -> None:
    assert list(turns([Message(*each) for each in messages])) == expected


@given(speakers=st.lists(st.sampled_from(Speaker), min_size=1, max_size=8))
def test_turns_alternate_and_the_model_has_the_last(speakers: list[Speaker]) -> None:
    found = list(turns([Message(speaker, "x") for speaker in speakers]))
    assert all(one.speaker is not other.speaker for one, other in itertools.pairwise(found))
    assert [turn.goes_on for turn in found] == [False] * (len(found) - 1) + [True]
    assert found[-1].speaker is MODEL


def test_a_last_message_of_the_model_is_continued_where_it_ends(codegemma: Tokenizer, renderer: PromptRenderer) -> None:
    encode = codegemma.encode
    messages = (Message(USER, "Hi"), Message(MODEL, "def f():\n    "))
    assert renderer.render(ChatPrompt(messages), LIMIT) == [
        *(BOS, START, *encode("user\nHi"), END, *encode("\n")),
        *(START, *encode("model\ndef f():\n    ")),
    ]


class CountingTokenizer(Tokenizer):
    """A token for each byte; counts the characters that it encodes."""

    def __init__(self, control: Sequence[str] = SENTINELS) -> None:
        pieces = [bytes([byte]) for byte in range(256)] + [b""] * len(control)
        super().__init__(pieces, {text: token_id for token_id, text in enumerate(control, start=256)})
        self.encoded = 0

    def _encode_text(self, text: str) -> list[int]:
        self.encoded += len(text)
        return list(text.encode())


SHORT = 100
"""A limit, in tokens."""
UNIT = "x = 1\n"
OTHER = ContextFile("a", UNIT)
LONG_PROMPTS = [
    pytest.param(ChatPrompt((Message(USER, UNIT), Message(MODEL, UNIT)) * 2000 + (Message(USER, UNIT),)), id="turns"),
    pytest.param(ChatPrompt((Message(USER, UNIT * 5000),)), id="a turn"),
    pytest.param(FimPrompt(prefix="", suffix="", path="a" * 50_000, context_files=(OTHER,)), id="path"),
    pytest.param(
        FimPrompt(prefix="a", suffix="b", path="a" * 50_000, context_files=(OTHER,), may_be_cut=True),
        id="path of code that may be cut",
    ),
    pytest.param(FimPrompt(prefix=UNIT * 5000, suffix="\n"), id="prefix"),
    pytest.param(FimPrompt(prefix="a", suffix=UNIT * 5000), id="suffix"),
    pytest.param(TextPrompt(UNIT * 5000), id="text"),
    pytest.param(TextPrompt("ax" * 20_000), id="one line"),
    pytest.param(TextPrompt("<|fim_prefix|>a" * 5000), id="sentinels"),
]


@pytest.mark.parametrize("prompt", LONG_PROMPTS)
@pytest.mark.parametrize("fim_format", ["psm", "spm"])
def test_rendering_stops_at_the_context_limit(prompt: Prompt, fim_format: Literal["psm", "spm"]) -> None:
    tokenizer = CountingTokenizer()
    assert len(PromptRenderer(tokenizer, fim_format).render(prompt, SHORT)) > SHORT
    assert tokenizer.encoded < 20 * SHORT


words = st.lists(st.sampled_from(["x = 1\n", "  ", "é", "▁", "aaaaaaaa", "🫨", "\n"]), max_size=40).map("".join)


@settings(deadline=None, max_examples=200)
@given(text=words, limit=st.integers(0, 12))
def test_a_limit_changes_no_text_that_keeps_it(codegemma: Tokenizer, text: str, limit: int) -> None:
    whole = codegemma.encode(text)
    ids = codegemma.encode(text, limit)
    assert len(ids) > limit if len(whole) > limit else ids == whole


def long_conversation(messages: int) -> ChatPrompt:
    return ChatPrompt((Message(Speaker.USER, "a"),) * messages)


@pytest.mark.parametrize(
    ("prompt", "short"),
    [
        (FimPrompt(prefix="a" * 500, suffix="b" * 500), True),
        (FimPrompt(prefix="a" * 501, suffix="b" * 500), False),
        (FimPrompt(prefix="a", suffix="", context_files=(ContextFile("a.py", ""),)), False),
        (TextPrompt("a" * 1001), False),
        (TokenPrompt((1,) * 1000), True),
        (ChatPrompt((Message(Speaker.USER, "a" * 1001),)), False),
        (long_conversation(16), True),
        (long_conversation(17), False),
    ],
)
def test_a_prompt_is_short_if_it_is_rendered_in_no_time(prompt: Prompt, short: bool) -> None:
    assert is_short(CodeRequest(prompt=prompt)) is short


@pytest.mark.parametrize(
    ("biases", "short"),
    [
        (tuple((token_id, 1.0) for token_id in range(300)), True),
        ((("b" * 500, 1.0),), True),
        ((("b" * 251, 1.0), ("c" * 250, 1.0)), False),
    ],
)
def test_texts_that_have_a_bias_are_tokenized_in_no_time_too(biases: Biases, short: bool) -> None:
    assert is_short(CodeRequest(prompt=TextPrompt("a" * 500), logit_bias=biases)) is short
