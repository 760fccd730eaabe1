"""Attempt: the answer of one model to a request, as its choices are generated."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace as replace_fields

from msgspec.structs import replace

from serving.engine.request import GenerationChunk, GenerationRequest
from serving.errors import ServingError
from serving.gateway.backend import Handle, ModelBackend
from serving.gateway.choice import Choice
from serving.gateway.request import Piece, Usage
from serving.gateway.sampling import of_choice
from serving.gateway.served_model import ServedModel
from sharding.step import Token


class Attempt:
    """All choices of a request, side by side on one model; the first one scores the prompt for all of them.

    Tokens become text the moment they come, so that a stop text ends a generation at once, however slowly the pieces
    are taken. What waits to be taken is at most the whole answer.

    Attributes:
      model: generates.
      generation_id: names it in the backend, where no other is named so.
      begun: there was a piece.
      failure: why there is no more to come, where the answer is not complete.
    """

    def __init__(
        self,
        model: ServedModel,
        generation: GenerationRequest,
        choices: Iterable[Choice],
        on_change: Callable[[], None],
    ) -> None:
        """Prepares it.

        Args:
          model: generates.
          generation: `ServedModel.generation` of the request.
          choices: `ServedModel.choice` of each.
          on_change: called when there are pieces to take, and at the end.
        """
        self.model = model
        self.generation_id = generation.request_id
        self.begun = False
        self.failure: Exception | None = None
        self._prompt_tokens = len(generation.prompt_ids)
        self._scored: list[Token] = []  # the prompt's, for the other choices
        self._on_change = on_change
        self._pieces: list[Piece] = []
        self._generations = [
            _Generation(self, choice, _of_choice(generation, index, model.tokenizer.vocab_size))
            for index, choice in enumerate(choices)
        ]
        shares_scores = generation.scores_prompt and len(self._generations) > 1
        self._to_score = self._prompt_tokens - 1 if shares_scores else 0

    def start(self) -> None:
        """Has all choices generated; one that is refused fails the attempt."""
        self._generations[0].start(self.model.backend)
        if not self._to_score:
            self._start_others()

    def abort(self) -> None:
        """Ends what is still generated."""
        for generation in self._generations:
            generation.abort()

    def take(self) -> Iterable[Piece]:
        """The pieces that came since the last call; those of one choice are joined."""
        pieces, self._pieces = self._pieces, []
        return pieces if len(pieces) < 2 else _joined(pieces)

    @property
    def has_pieces(self) -> bool:
        """Whether there are pieces to take."""
        return bool(self._pieces)

    @property
    def complete(self) -> bool:
        """Whether all choices have had their last piece."""
        return all(generation.choice.finished for generation in self._generations)

    @property
    def usage(self) -> Usage:
        """What it took."""
        choices = [generation.choice for generation in self._generations]
        return Usage(
            prompt_tokens=self._prompt_tokens,
            completion_tokens=sum(choice.tokens for choice in choices),
            cached_tokens=min(choice.cached_tokens for choice in choices),
        )

    def read(self, generation: "_Generation", tokens: Sequence[Token]) -> None:
        """Takes in what one of the choices was given: the prompt's tokens that the first has, for the others."""
        left = self._to_score - len(self._scored)
        if left > 0 and generation is self._generations[0]:
            self._scored += tokens[:left]
            if len(self._scored) == self._to_score:
                try:
                    self._start_others()
                except Exception as error:  # the backend that calls here cannot handle these
                    self.fail(error)

    def give(self, piece: Piece) -> None:
        """Takes in a piece of one of the choices."""
        self.begun = True
        self._pieces.append(piece)
        self._on_change()

    def fail(self, error: Exception) -> None:
        """Gives all choices up."""
        if self.failure is None:
            self.failure = error
            self.abort()
            self._on_change()

    def _start_others(self) -> None:
        for generation in self._generations[1:]:
            if self.failure is None:
                generation.start(self.model.backend, self._scored)


class _Generation:
    """A choice being generated: the sink between its backend and the attempt."""

    def __init__(self, attempt: Attempt, choice: Choice, request: GenerationRequest) -> None:
        self.choice = choice
        self._attempt = attempt
        self._request = request
        self._handle: Handle | None = None
        self._over = False

    def start(self, backend: ModelBackend, scored: Sequence[Token] = ()) -> None:
        """Begins, after what another choice has of the prompt."""
        if scored:
            self.feed(GenerationChunk(tokens=tuple(scored)))
        self._handle = backend.submit(self._request, self)
        if self._over:  # before there was a handle
            self._handle.abort()

    def abort(self) -> None:
        self._over = True
        if self._handle is not None:
            self._handle.abort()

    def feed(self, chunk: GenerationChunk) -> None:
        try:
            piece = self.choice.feed(chunk)
        except Exception as error:  # a bug, if no `ServingError`: it is this request's alone
            self._attempt.fail(error)
            return
        if self.choice.finished:  # for example by a stop text
            self.abort()
        if piece is not None:
            self._attempt.give(piece)
        self._attempt.read(self, chunk.tokens)

    def fail(self, error: ServingError) -> None:
        self._attempt.fail(error)


def _of_choice(generation: GenerationRequest, index: int, vocab_size: int) -> GenerationRequest:
    sampling = of_choice(generation.sampling, index, vocab_size)
    return replace(
        generation,
        request_id=f"{generation.request_id}-{index}",
        sampling=sampling,
        scores_prompt=generation.scores_prompt and index == 0,
    )


def _joined(pieces: Iterable[Piece]) -> Iterable[Piece]:
    by_choice: dict[int, list[Piece]] = {}
    for piece in pieces:
        by_choice.setdefault(piece.index, []).append(piece)
    for same in by_choice.values():
        yield (
            same[0]
            if len(same) == 1
            else replace_fields(
                same[-1],
                text="".join(piece.text for piece in same),
                prompt_logprobs=tuple(logprob for piece in same for logprob in piece.prompt_logprobs),
                logprobs=tuple(logprob for piece in same for logprob in piece.logprobs),
            )
        )
