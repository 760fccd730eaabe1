"""Attempt: choices side by side on one model, whatever the tokens' grouping and the reader's pace."""

import itertools
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.config import ModelConfig, Role
from serving.engine.request import FinishReason, GenerationChunk
from serving.errors import Reason, ServingError
from serving.gateway.attempt import Attempt
from serving.gateway.quotas import ContextLimit
from serving.gateway.request import CodeRequest, FimPrompt, Piece, TokenLogprob, Usage
from serving.gateway.served_model import ServedModel
from serving.gateway.text.tokenizer import Tokenizer
from sharding.step import SamplingParams, Token
from tests.gateway.computations import Computations

FIM = FimPrompt(prefix="def f():\n    ", suffix="\n    return total\n")


class Played:
    """An attempt at a FIM request of two choices, on a backend that the test plays.

    Attributes:
      changes: how often the attempt said that there is something.
      read: the pieces taken, by choice.
    """

    def __init__(self, tokenizer: Tokenizer, **fields: tuple[str, ...] | SamplingParams) -> None:
        self.backend = Computations()
        config = ModelConfig(id="m", checkpoint="none", roles=(Role.FIM,))
        model = ServedModel(config=config, tokenizer=tokenizer, backend=self.backend, max_context=512)
        request = CodeRequest(request_id="r", prompt=FIM, choices=2, **fields)  # type: ignore[arg-type]
        generation, _ = model.generation(
            request, ContextLimit(model.max_context), timeout_s=9, cache_domain="", trace=""
        )
        self.changes = 0
        self.read: defaultdict[int, list[Piece]] = defaultdict(list)
        choices = [model.choice(request, generation, 4 + index) for index in range(request.choices)]
        self.attempt = Attempt(model, generation, choices, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def take(self) -> list[Piece]:
        pieces = list(self.attempt.take())
        for piece in pieces:
            self.read[piece.index].append(piece)
        return pieces

    def answers(self) -> dict[int, tuple[str, list[TokenLogprob], FinishReason | None]]:
        """Of each choice: its text, its log probabilities and why it ended."""
        assert all(piece.finish_reason is None for pieces in self.read.values() for piece in pieces[:-1])
        return {
            index: (
                "".join(piece.text for piece in pieces),
                [logprob for piece in pieces for logprob in piece.logprobs],
                pieces[-1].finish_reason,
            )
            for index, pieces in self.read.items()
        }


def chunk(*ids: int, reason: FinishReason | None = None) -> GenerationChunk:
    return GenerationChunk(tokens=tuple(Token(each, -0.5) for each in ids), finish_reason=reason)


_BYTE_0 = 217
"""CodeGemma's token for the byte 0."""

texts = st.lists(
    st.sampled_from(["a", " ", "\n", "    ", "é", "😀", "total", "return total", "\r\n", "stop", "st"]), max_size=12
).map("".join)


def play(tokenizer: Tokenizer, stops: tuple[str, ...], chunks: list[list[GenerationChunk]], order: list[int]) -> Played:
    """Gives each choice its chunks. `order` says whose is next; -1 takes the pieces so far."""
    played = Played(tokenizer, stop=stops, sampling=SamplingParams(logprobs=0))
    played.attempt.start()
    left = list(map(iter, chunks))
    for turn in [*order, *[0] * len(chunks[0]), *[1] * len(chunks[1]), -1]:
        if turn < 0:
            played.take()
        elif played.backend.all[turn].running:
            played.backend.all[turn].give(next(left[turn]))
    assert played.attempt.complete
    assert not any(computation.running for computation in played.backend.all)
    return played


@settings(deadline=None, max_examples=300)
@given(
    generated=st.tuples(texts, texts),
    stops=st.lists(st.sampled_from(["stop", "\n\n", "é", "a "]), max_size=2).map(tuple),
    cuts=st.sets(st.integers(1, 60), max_size=8),
    end_apart=st.booleans(),
    order=st.lists(st.sampled_from([0, 1, -1]), max_size=30),
)
def test_what_is_read_depends_neither_on_the_grouping_of_the_tokens_nor_on_the_readers_pace(
    gemma3: Tokenizer,
    codegemma: Tokenizer,
    generated: tuple[str, str],
    stops: tuple[str, ...],
    cuts: set[int],
    end_apart: bool,
    order: list[int],
) -> None:
    end = chunk(reason=FinishReason.LENGTH)
    for tokenizer, ids in (
        (gemma3, [gemma3.encode(text) for text in generated]),  # stops at the suffix, having no FIM tokens
        (codegemma, [[_BYTE_0 + byte for byte in text.encode()] for text in generated]),
    ):
        alone = play(tokenizer, stops, [[*map(chunk, choice), end] for choice in ids], [])
        grouped = []
        for choice in ids:
            edges = [0, *sorted(place for place in cuts if place < len(choice)), len(choice)]
            groups = [chunk(*choice[start:stop]) for start, stop in itertools.pairwise(edges)]
            grouped.append([*groups, end] if end_apart else [*groups[:-1], groups[-1].followed_by(end)])
        together = play(tokenizer, stops, grouped, order)
        assert together.answers() == alone.answers()
        assert together.attempt.usage == alone.attempt.usage


def test_pieces_that_came_together_are_one_for_each_choice(codegemma: Tokenizer) -> None:
    played = Played(codegemma)
    played.attempt.start()
    first, second = played.backend.all
    for text in ("a", "b", "c"):
        first.give(chunk(*codegemma.encode(text)))
        second.give(chunk(*codegemma.encode(text.upper())))
    assert [(piece.index, piece.text) for piece in played.take()] == [(4, "abc"), (5, "ABC")]
    assert not played.attempt.has_pieces
    first.give(chunk(reason=FinishReason.LENGTH))
    assert [(piece.index, piece.text, piece.finish_reason) for piece in played.take()] == [(4, "", FinishReason.LENGTH)]
    assert not played.attempt.complete


def test_a_stop_text_ends_its_generation_at_once_though_nobody_takes_pieces(codegemma: Tokenizer) -> None:
    played = Played(codegemma, stop=("stop",))
    played.attempt.start()
    first, second = played.backend.all
    first.give(chunk(*codegemma.encode("one stop two")))
    assert first.aborted
    assert not second.aborted
    [piece] = played.take()
    assert (piece.text, piece.finish_reason) == ("one ", FinishReason.STOP)


@pytest.mark.parametrize(
    "end", [chunk(reason=FinishReason.SUPERSEDED), ServingError(Reason.OVERLOADED, "Full.")], ids=["ended", "refused"]
)
def test_a_choice_that_fails_ends_the_others_and_what_came_before_is_there(
    codegemma: Tokenizer, end: GenerationChunk | ServingError
) -> None:
    played = Played(codegemma)
    played.attempt.start()
    first, second = played.backend.all
    first.give(chunk(*codegemma.encode("a")))
    second.give(end)
    assert first.aborted
    assert isinstance(played.attempt.failure, ServingError)
    assert (played.attempt.begun, played.attempt.complete) == (True, False)
    assert [piece.text for piece in played.take()] == ["a"]
    assert played.changes == 2


def test_a_refusal_while_it_starts_asks_for_no_more_choices(codegemma: Tokenizer) -> None:
    played = Played(codegemma)
    played.backend.refusal = ServingError(Reason.OVERLOADED, "Full.")
    played.attempt.start()
    assert played.attempt.failure is played.backend.refusal
    assert len(played.backend.all) == 1


def test_a_bug_in_one_answer_is_its_own(codegemma: Tokenizer) -> None:
    played = Played(codegemma)
    played.attempt.start()
    first, second = played.backend.all
    first.give(chunk(10**9))  # no token of the vocabulary
    assert isinstance(played.attempt.failure, IndexError)
    assert second.aborted


def test_the_usage_is_that_of_all_choices(codegemma: Tokenizer) -> None:
    played = Played(codegemma)
    played.attempt.start()
    for computation, cached in zip(played.backend.all, (2, 3), strict=True):
        computation.give(GenerationChunk(tokens=chunk(*codegemma.encode("a b")).tokens, cached_tokens=cached))
    prompt_tokens = len(played.backend.all[0].request.prompt_ids)
    assert played.attempt.usage == Usage(prompt_tokens, 4, 2)
