"""The text of a generation, from tokens in any grouping."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from serving.gateway.request import TokenLogprob
from serving.gateway.text.answer_text import AnswerText
from serving.gateway.text.detokenizer import Detokenizer
from serving.gateway.text.line_breaks import LineBreakJoin
from serving.gateway.text.stops import StopTexts
from serving.gateway.text.tokenizer import Tokenizer
from sharding.step import Token

characters = st.sampled_from(["a", "b", " ", "\n", "é", "日", "😀", "\x00", "▁", "return", "🫨"])
texts = st.lists(characters, max_size=15).map("".join)


@st.composite
def grouped_tokens(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Ids of CodeGemma's byte tokens and of some others, and where to cut them into groups."""
    ids = draw(st.lists(st.one_of(st.integers(217, 472), st.integers(473, 2000)), max_size=20))
    cuts = sorted(draw(st.sets(st.integers(0, len(ids)), max_size=6)) | {0, len(ids)})
    return ids, cuts


def first_byte(token: TokenLogprob) -> int:
    """How many bytes come before a token, which its log probability says here."""
    assert token.logprob is not None
    return round(-token.logprob)


def answered(answer: AnswerText, ids: list[int], cuts: list[int]) -> tuple[str, list[int]]:
    """All the text shown, and the first byte count of the tokens whose log probabilities were shown."""
    text = ""
    shown: list[int] = []
    for start, end in itertools.pairwise(cuts):
        more, logprobs = answer.feed([Token(token_id, -float(start + n)) for n, token_id in enumerate(ids[start:end])])
        text, shown = text + more, [*shown, *map(first_byte, logprobs)]
        if answer.stopped:
            return text, shown
    more, logprobs = answer.flush()
    return text + more, [*shown, *map(first_byte, logprobs)]


@settings(deadline=None, max_examples=200)
@given(text=texts)
def test_every_piece_of_text_is_whole_characters_and_together_they_are_the_text(
    codegemma: Tokenizer, text: str
) -> None:
    byte_ids = [217 + byte for byte in text.encode()]
    for ids in (codegemma.encode(text), byte_ids):
        detokenizer = Detokenizer(codegemma)
        pieces = [detokenizer.feed(token_id) for token_id in ids]
        assert "".join(pieces) + detokenizer.flush() == text
        assert not detokenizer.mid_character


@settings(deadline=None, max_examples=200)
@given(text=texts, stop=characters)
def test_a_token_stands_at_the_offset_of_its_character(codegemma: Tokenizer, text: str, stop: str) -> None:
    ids = [217 + byte for byte in text.encode()]  # a token for each byte
    answer = AnswerText(codegemma, [StopTexts([stop])])
    shown, logprobs = answer.feed([Token(token_id, -1.0) for token_id in ids])
    if not answer.stopped:
        more, last = answer.flush()
        shown, logprobs = shown + more, logprobs + last
    assert [logprob.offset for logprob in logprobs] == [
        position for position, character in enumerate(shown) for _ in character.encode()
    ]


def test_offsets_count_what_is_shown(codegemma: Tokenizer) -> None:
    answer = AnswerText(codegemma, [LineBreakJoin(prefix="a\r", suffix="b")])
    shown, logprobs = answer.feed([Token(217 + byte, -1.0) for byte in b"\r\nx"])
    assert (shown, [logprob.offset for logprob in logprobs]) == ("\nx", [0, 1])


def test_a_control_token_among_the_alternatives_is_named(codegemma: Tokenizer) -> None:
    end = codegemma.control_id("<eos>")
    assert end is not None
    _, [logprob] = AnswerText(codegemma, []).feed([Token(217 + ord("x"), -0.5, ((217 + ord("x"), -0.5), (end, -1.0)))])
    assert [(top.token, top.bytes) for top in logprob.top] == [("x", b"x"), ("<eos>", b"")]


@settings(deadline=None, max_examples=300)
@given(tokens=grouped_tokens())
def test_any_tokens_in_any_groups_give_the_text_of_them_all(
    codegemma: Tokenizer, tokens: tuple[list[int], list[int]]
) -> None:
    ids, cuts = tokens
    text, shown = answered(AnswerText(codegemma, []), ids, cuts)
    assert text == codegemma.decode(ids)
    assert shown == list(range(len(ids)))


@settings(deadline=None, max_examples=300)
@given(text=texts, stop=st.lists(characters, min_size=1, max_size=2).map("".join), cuts=st.sets(st.integers(0, 60)))
def test_the_text_and_its_log_probabilities_end_with_the_token_that_a_stop_text_cuts(
    codegemma: Tokenizer, text: str, stop: str, cuts: set[int]
) -> None:
    ids = [217 + byte for byte in text.encode()]
    answer = AnswerText(codegemma, [StopTexts([stop])])
    groups = sorted({cut for cut in cuts if cut < len(ids)} | {0, len(ids)})
    shown_text, shown_logprobs = answered(answer, ids, groups)
    assert shown_text == text.split(stop)[0]
    assert shown_logprobs == list(range(len(shown_text.encode())))  # one token for each byte shown
    assert answer.stopped == (stop in text)


def test_a_token_longer_than_the_text_shown_of_it_keeps_its_log_probability(codegemma: Tokenizer) -> None:
    [token_id] = codegemma.encode("return")
    answer = AnswerText(codegemma, [StopTexts(["turn"])])
    text, [logprob] = answer.feed([Token(token_id, -1.0)])
    assert (text, logprob.token, logprob.bytes) == ("re", "return", b"return")


def test_a_stop_text_ends_the_count_of_tokens(codegemma: Tokenizer) -> None:
    answer = AnswerText(codegemma, [StopTexts(["\n"])])
    answer.feed([Token(token_id) for token_id in codegemma.encode("a\nb c d")])
    assert answer.tokens == 2


def test_a_log_probability_waits_until_the_text_of_its_token_is_shown(codegemma: Tokenizer) -> None:
    answer = AnswerText(codegemma, [StopTexts(["ab!"])])
    first, second, third = (Token(codegemma.encode(text)[0], -1.0) for text in "abc")
    assert answer.feed([first]) == ("", ())
    assert answer.feed([second]) == ("", ())
    text, logprobs = answer.feed([third])
    assert (text, [logprob.token for logprob in logprobs]) == ("abc", ["a", "b", "c"])


def test_a_part_of_a_character_shows_as_a_replacement_with_its_exact_byte(codegemma: Tokenizer) -> None:
    answer = AnswerText(codegemma, [])
    assert answer.feed([Token(217 + 0xC3, -1.0)]) == ("", ())
    text, logprobs = answer.feed([Token(217 + 0xA9, -2.0)])
    assert (text, [(logprob.token, logprob.bytes) for logprob in logprobs]) == (
        "é",
        [("\ufffd", b"\xc3"), ("\ufffd", b"\xa9")],
    )
