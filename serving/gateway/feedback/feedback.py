"""Feedback: counts what became of completions, as editors report it, by model, version, language and length."""

from collections import OrderedDict
from collections.abc import Sequence
from enum import StrEnum
from itertools import product

from serving.config import ModelConfig, Role
from serving.errors import FieldError, Reason
from serving.gateway.feedback.completion_id import CompletionId, CompletionIds
from serving.gateway.text.postprocessing.languages import LANGUAGES, OTHER_LANGUAGE
from serving.models.adapted_id import split_id
from serving.telemetry import metrics
from serving.telemetry.recorder import Recorder

REMEMBERED = 100_000
"""Events that are remembered, so that a repeated one is not counted again."""
_OTHER_VERSION = "other"
_LENGTHS = ((1, "1"), (5, "2-5"))
_LONGEST = "6+"


class CompletionEvent(StrEnum):
    """What became of a completion in an editor. After it was shown comes at most one of the others."""

    SHOWN = "shown"
    ACCEPTED = "accepted"
    PARTLY_ACCEPTED = "partly_accepted"
    REJECTED = "rejected"


class Feedback:
    """The events of all completions that come to one Gateway."""

    def __init__(self, recorder: Recorder, models: Sequence[ModelConfig], ids: CompletionIds) -> None:
        """Begins every counter of these models at 0, so that Prometheus sees the first increase.

        `ids` are those of their answers.
        """
        self._recorder = recorder
        self._ids = ids
        self._versions = {model.id: model.version for model in models}
        self._languages = frozenset(language.name for language in LANGUAGES)
        self._remembered: OrderedDict[int, None] = OrderedDict()
        for model in models:
            if Role.FIM in model.roles:
                self._begin(model)

    def record(self, completion_id: str, event: CompletionEvent, accepted_characters: int = 0) -> CompletionId:
        """Counts an event; the same of one completion once, and of what may come after it was shown the first alone.

        Args:
          completion_id: as the answer has it.
          event: what became of it.
          accepted_characters: how many, if it was accepted in part; no more than it has count.

        Raises:
          ServingError: INVALID_ARGUMENT, it is no completion of these models.
        """
        completion = self._ids.read(completion_id)
        if completion is None or split_id(completion.model)[0] not in self._versions:
            raise FieldError(
                Reason.INVALID_ARGUMENT,
                "completion_id",
                "is of no completion of a model that is served here. Send the id of an answer as it was.",
            )
        if not self._is_repeated(hash((completion_id, event is CompletionEvent.SHOWN))):
            self._count(completion, event, accepted_characters)
        return completion

    def _begin(self, model: ModelConfig) -> None:
        for language in (*self._languages, OTHER_LANGUAGE):
            labels = {"model": model.id, "model_version": model.version, "language": language}
            self._recorder.record(metrics.ACCEPTED_CHARACTERS, 0, **labels)
            for lines, event in product((*(name for _, name in _LENGTHS), _LONGEST), CompletionEvent):
                self._recorder.record(metrics.COMPLETION_EVENTS, 0, **labels, lines=lines, event=event)

    def _count(self, completion: CompletionId, event: CompletionEvent, accepted_characters: int) -> None:
        # Labels are of what is known here, whatever was when the id was written: each stays in memory for ever.
        is_current = completion.model_version == self._versions[split_id(completion.model)[0]]
        labels = {
            "model": completion.model,
            "model_version": completion.model_version if is_current else _OTHER_VERSION,
            "language": completion.language if completion.language in self._languages else OTHER_LANGUAGE,
        }
        self._recorder.record(
            metrics.COMPLETION_EVENTS, 1, **labels, lines=_length_class(completion.lines), event=event
        )
        accepted = {
            CompletionEvent.ACCEPTED: completion.characters,
            CompletionEvent.PARTLY_ACCEPTED: max(min(accepted_characters, completion.characters), 0),
        }.get(event, 0)
        if accepted:
            self._recorder.record(metrics.ACCEPTED_CHARACTERS, accepted, **labels)

    def _is_repeated(self, key: int) -> bool:
        if key in self._remembered:
            return True
        self._remembered[key] = None
        if len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)
        return False


def _length_class(lines: int) -> str:
    return next((name for most, name in _LENGTHS if lines <= most), _LONGEST)
