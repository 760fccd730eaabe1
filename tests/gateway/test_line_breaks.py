"""Files of Windows keep their line breaks where an answer joins the code around the cursor, in every mode."""

import itertools
import re

import httpx
import pytest
from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.generation_pb2 import GenerationConfig
from codegemma.v1.prompt_pb2 import FimInput
from grpc import aio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serving.config import GatewayConfig
from serving.gateway.http.app import build_http_app
from serving.gateway.text.answer_text import AnswerText, TextFilter
from serving.gateway.text.line_breaks import LineBreakJoin
from serving.gateway.text.suffix_stop import SuffixStop
from serving.gateway.text.tokenizer import Tokenizer
from tests.gateway.byte_tokens import byte_tokens
from tests.gateway.grpc_server import grpc_server
from tests.gateway.scripted_backend import ScriptedBackend, one_model_service

texts = st.lists(st.sampled_from(["\r\n", "\r", "\n", "x", "    return total"]), max_size=6).map("".join)
pieces_of_text = st.lists(texts, max_size=5)


def shown_of(tokenizer: Tokenizer, filters: list[TextFilter], pieces: list[str]) -> str:
    """The answer that is shown of a text generated in pieces, a token for each byte."""
    answer = AnswerText(tokenizer, filters)
    shown = ""
    for piece in pieces:
        shown += answer.feed(byte_tokens(piece))[0]
        if answer.stopped:
            return shown
    return shown + answer.flush()[0]


def broken_at_a_seam(prefix: str, shown: str, suffix: str) -> list[int]:
    """Where in the file CR CR LF stands that neither the client nor the model alone has written so."""
    seams = (len(prefix), len(prefix) + len(shown))
    starts = (found.start() for found in re.finditer(r"(?=\r\r\n)", prefix + shown + suffix))
    crossing = [start for start in starts if any(start < seam <= start + 2 for seam in seams)]
    return [start for start in crossing if not (start + 2 <= seams[0] or start >= seams[1])]


@settings(deadline=None, max_examples=1000)
@example(prefix="x", suffix="\r\n", pieces=["y\r", "\r"])
@example(prefix="x\r", suffix="\n", pieces=["\r", "\n"])
@example(prefix="x\r", suffix="y", pieces=["\r", "\r\n"])
@example(prefix="x", suffix="\n", pieces=["y\r\r"])
@given(prefix=texts, suffix=texts, pieces=pieces_of_text)
def test_no_line_break_doubles_its_cr_where_texts_join(
    codegemma: Tokenizer, prefix: str, suffix: str, pieces: list[str]
) -> None:
    for before in ([], [SuffixStop(prefix, suffix)]):
        shown = shown_of(codegemma, [*before, LineBreakJoin(prefix, suffix)], pieces)
        assert not shown or not broken_at_a_seam(prefix, shown, suffix)


@settings(deadline=None, max_examples=500)
@given(prefix=texts, suffix=texts, pieces=pieces_of_text)
def test_nothing_else_is_left_out(codegemma: Tokenizer, prefix: str, suffix: str, pieces: list[str]) -> None:
    text = "".join(pieces)
    join = LineBreakJoin(prefix, suffix)
    shown = shown_of(codegemma, [join], pieces)
    assert shown.strip("\r") == text.strip("\r")
    assert text[join.skipped :].startswith(shown)
    if not prefix.endswith("\r"):
        assert shown == text.rstrip("\r") + "\r" * (suffix.startswith("\n") and text.endswith("\r"))


@settings(deadline=None, max_examples=300)
@given(prefix=texts, suffix=texts, pieces=pieces_of_text)
def test_a_text_joins_alike_however_it_is_cut(
    codegemma: Tokenizer, prefix: str, suffix: str, pieces: list[str]
) -> None:
    whole = shown_of(codegemma, [LineBreakJoin(prefix, suffix)], ["".join(pieces)])
    assert shown_of(codegemma, [LineBreakJoin(prefix, suffix)], pieces) == whole


@settings(deadline=None, max_examples=300)
@given(prefix=texts, suffix=texts, text=texts, cuts=st.sets(st.integers(0, 60)))
def test_log_probabilities_are_those_of_the_text_shown(
    codegemma: Tokenizer, prefix: str, suffix: str, text: str, cuts: set[int]
) -> None:
    tokens = byte_tokens(text)
    ends = sorted({cut for cut in cuts if cut < len(tokens)} | {0, len(tokens)})
    answer = AnswerText(codegemma, [LineBreakJoin(prefix, suffix)])
    parts = [answer.feed(tokens[start:end]) for start, end in itertools.pairwise(ends)] + [answer.flush()]
    shown = "".join(text for text, _ in parts)
    assert b"".join(logprob.bytes for _, logprobs in parts for logprob in logprobs) == shown.encode()


CRLF_CASES = [
    pytest.param(
        "def f():\r\n    ", "\r\n    return total\r\n", "total = 1\r\n    return total", "total = 1", id="end"
    ),
    pytest.param("a = 1\r", "\nreturn total\r\n", "\r\nb = 2", "\nb = 2", id="between CR and LF"),
    pytest.param("x = ", "\r\nreturn total\r\n", "1\r", "1", id="a lone CR"),
    pytest.param("x = ", "  # total\r\n", "1\r\n    return", "1", id="inside a line"),
    pytest.param("x = ", "", "1\r\n    return", "1", id="at the end"),
]


@pytest.mark.parametrize(("prefix", "suffix", "generated", "answer"), CRLF_CASES)
@pytest.mark.parametrize("mode", ["native", "prefix"])
async def test_a_file_keeps_its_breaks_over_both_protocols(
    codegemma: Tokenizer,
    gemma3: Tokenizer,
    mode: str,
    prefix: str,
    suffix: str,
    generated: str,
    answer: str,
) -> None:
    backend = ScriptedBackend({"native": codegemma, "prefix": gemma3}[mode], generated)
    service = one_model_service(backend)
    body = {"prompt": prefix, "suffix": suffix, "stop": ["\n    return"]}
    app = build_http_app(lambda: service, GatewayConfig())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        whole = (await client.post("/v1/completions", json=body)).json()["choices"][0]["text"]
        streamed = (await client.post("/v1/completions", json={**body, "stream": True})).text
    assert whole == answer
    assert "\\r" not in streamed.replace("\\r\\n", "")
    request = pb.StreamCompleteRequest(
        fim=FimInput(prefix=prefix, suffix=suffix),
        generation_config=GenerationConfig(stop_sequences=body["stop"]),
    )
    async with grpc_server(service) as address, aio.insecure_channel(address) as channel:
        parts = [part.choice.text async for part in CodeAssistServiceStub(channel).StreamComplete(request)]
    assert "".join(parts) == answer
