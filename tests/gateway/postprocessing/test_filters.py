"""Post-processing of whole answers: what the filters do together, and on which routes they are on."""

import httpx
import pytest
from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.generation_pb2 import FINISH_REASON_LENGTH, FINISH_REASON_STOP, GenerationConfig
from codegemma.v1.prompt_pb2 import FimInput
from grpc import aio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serving.config import GatewayConfig
from serving.gateway.http.app import build_http_app
from serving.gateway.request import FimPrompt, PostProcessing
from serving.gateway.text.answer_text import AnswerText
from serving.gateway.text.postprocessing.filters import infill_filters
from serving.gateway.text.tokenizer import Tokenizer
from tests.gateway.byte_tokens import byte_tokens
from tests.gateway.grpc_server import grpc_server
from tests.gateway.postprocessing.pieces import Cut, cuts
from tests.gateway.scripted_backend import ScriptedBackend, one_model_service

lines = st.sampled_from(["", "    x = 1", "    return y", "if a:", "}", "else:", "  f(", ")", "\tend", "é = '''"])
code = st.builds(str.join, st.sampled_from(["\n", "\r\n"]), st.lists(lines, max_size=6))
settings_of_filters = st.builds(PostProcessing, **dict.fromkeys(PostProcessing.__slots__, st.booleans()))


def answer_to(
    prefix: str, suffix: str, post: PostProcessing, tokenizer: Tokenizer, *, native: bool = True
) -> AnswerText:
    prompt = FimPrompt(prefix=prefix, suffix=suffix, path="a.py")
    return AnswerText(tokenizer, infill_filters(prompt, "", post, sees_suffix=native))


def shown_of(answer: AnswerText, pieces: list[str], *, cut: bool = False) -> tuple[str, bytes]:
    """The text, and the bytes of the tokens whose log probabilities come with it."""
    parts = []
    for piece in pieces:
        parts.append(answer.feed(byte_tokens(piece)))
        if answer.stopped:
            break
    else:
        parts.append(answer.flush(cut=cut))
    return "".join(text for text, _ in parts), b"".join(token.bytes for _, tokens in parts for token in tokens)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize(
    ("prefix", "suffix", "generated", "shown"),
    [
        pytest.param(
            "def f():\n    ",
            "\n    return total\n",
            "total = 1\n    return total\n",
            "total = 1",
            id="a line of the suffix",
        ),
        pytest.param(
            "if a:\n    ", "\nelse:\n    cleanup()\n", "b()\nelse:", "b()", id="the suffix's first line, at the end"
        ),
        pytest.param("x = 1\r\ny = ", "\r\nprint(x)", "2\r\nprint(x)\r\n", "2", id="CR LF and a suffix"),
        pytest.param(
            "def f():\r\n\ta = 1\r\n\t",
            "\r\n",
            "b = 2\n    if b:\n        c()",
            "b = 2\r\n\tif b:\r\n\t\tc()",
            id="tabs",
        ),
        pytest.param("f(", ")\n", "a, g(b))\nh()", "a, g(b)", id="a bracket of the suffix"),
        pytest.param(
            "def f():\n", "    return total_of(x)\n", "    x = 1\n    y = 2\n", "    x = 1\n", id="before a line"
        ),
    ],
)
def test_an_answer_fits_between_prefix_and_suffix(
    codegemma: Tokenizer, native: bool, prefix: str, suffix: str, generated: str, shown: str
) -> None:
    for pieces in ([generated], list(generated)):
        answer = answer_to(prefix, suffix, PostProcessing(), codegemma, native=native)
        assert shown_of(answer, pieces)[0] == shown


@settings(deadline=None, max_examples=300)
@example(
    prefix="def f():\n", suffix="    return y\n", cut=Cut("  x\n", ["  x", "\n"]), post=PostProcessing(), ends=False
)
@given(prefix=code, suffix=code, cut=cuts(code), post=settings_of_filters, ends=st.booleans())
def test_an_answer_is_the_same_however_it_is_cut(
    codegemma: Tokenizer, prefix: str, suffix: str, cut: Cut, post: PostProcessing, ends: bool
) -> None:
    whole = shown_of(answer_to(prefix, suffix, post, codegemma), [cut.text], cut=ends)[0]
    assert shown_of(answer_to(prefix, suffix, post, codegemma), cut.pieces, cut=ends)[0] == whole


@settings(deadline=None, max_examples=300)
@given(prefix=code, suffix=code, cut=cuts(code), post=settings_of_filters)
def test_log_probabilities_are_of_tokens_that_are_shown(
    codegemma: Tokenizer, prefix: str, suffix: str, cut: Cut, post: PostProcessing
) -> None:
    shown, tokens = shown_of(answer_to(prefix, suffix, post, codegemma), cut.pieces)
    text = cut.text.encode()
    assert tokens in text
    assert b"".join(tokens.split()) == "".join(shown.split()).encode()


def test_a_line_is_whole_when_only_blank_lines_follow_before_the_cut(codegemma: Tokenizer) -> None:
    answer = answer_to("if a:\n    b()\n", "", PostProcessing(), codegemma)
    assert shown_of(answer, ["else:\n    return 1", "\n  \n  "], cut=True)[0] == "else:\n    return 1"


def test_without_post_processing_a_model_with_fim_tokens_is_taken_at_its_word(codegemma: Tokenizer) -> None:
    text = "a\n\n\ndef g():\n    return total\n"
    answer = answer_to("def f():\n    ", "\n    return total\n", PostProcessing.off(), codegemma)
    assert shown_of(answer, [text])[0] == text


GENERATED = "total = 1\n    return total\n\n\ndef g():\n    pass"
SHOWN = "total = 1\n    return total"


async def test_our_own_api_post_processes_and_the_compatible_routes_do_not(codegemma: Tokenizer) -> None:
    service = one_model_service(ScriptedBackend(codegemma, GENERATED))
    async with grpc_server(service) as address, aio.insecure_channel(address) as channel:
        request = pb.CompleteRequest(fim=FimInput(prefix="def f():\n    ", suffix="\n", path="a.py"))
        own = (await CodeAssistServiceStub(channel).Complete(request)).choices[0]
    app = build_http_app(lambda: service, GatewayConfig())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        body = {"prompt": "def f():\n    ", "suffix": "\n"}
        compatible = (await client.post("/v1/completions", json=body)).json()["choices"][0]["text"]
    assert (own.text, own.finish_reason) == (SHOWN, FINISH_REASON_STOP)
    assert compatible == GENERATED


async def test_an_answer_that_is_cut_at_its_length_has_whole_lines(codegemma: Tokenizer) -> None:
    service = one_model_service(ScriptedBackend(codegemma, "total = 1\n    other = total + 1\n    return other"))
    async with grpc_server(service) as address, aio.insecure_channel(address) as channel:
        request = pb.CompleteRequest(
            fim=FimInput(prefix="def f():\n    ", suffix="\n", path="a.py"),
            generation_config=GenerationConfig(max_tokens=8),
        )
        cut = (await CodeAssistServiceStub(channel).Complete(request)).choices[0]
    assert (cut.text, cut.finish_reason) == ("total = 1", FINISH_REASON_LENGTH)
