"""What became of completions: counted once, under labels that no client can make up, on any Gateway."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.config import ModelConfig, Role
from serving.errors import FieldError, Reason
from serving.gateway.feedback import feedback as module
from serving.gateway.feedback.completion_id import CompletionId, CompletionIds
from serving.gateway.feedback.feedback import CompletionEvent, Feedback
from serving.gateway.feedback.text_length import TextLength
from serving.telemetry import metrics
from tests.telemetry.memory_recorder import MemoryRecorder

SHOWN, ACCEPTED, PARTLY, REJECTED = CompletionEvent
MODEL = ModelConfig(id="2b", checkpoint="weights.gguf", roles=(Role.FIM,), version="v2: canary")
IDS = CompletionIds(b"of all Gateways")
ANSWER = CompletionId("request:1", "2b", "v2: canary", "python", 3, 80)

texts = st.text(max_size=20)
parts = st.text(st.characters(exclude_characters=":"), max_size=12)
ids = st.builds(CompletionId, texts, parts, texts, parts, st.integers(0, 999_999), st.integers(0, 999_999))


@pytest.fixture
def recorder() -> MemoryRecorder:
    return MemoryRecorder()


@pytest.fixture
def feedback(recorder: MemoryRecorder) -> Feedback:
    return Feedback(recorder, [MODEL], IDS)


def test_a_completion_with_an_adapter_counts_under_both_names(feedback: Feedback, recorder: MemoryRecorder) -> None:
    answer = ANSWER._replace(model="2b:team-a")
    assert feedback.record(IDS.written(answer), SHOWN) == answer
    labels = {"model": "2b:team-a", "model_version": "v2: canary", "language": "python", "lines": "2-5"}
    assert recorder.total(metrics.COMPLETION_EVENTS, **labels, event="shown") == 1


@given(completion=ids)
def test_an_id_says_all_of_a_completion_whatever_its_request_is_called(completion: CompletionId) -> None:
    assert IDS.read(IDS.written(completion)) == completion


@given(text=st.text() | st.text(alphabet="cmpl-:0").map(lambda text: f"cmpl-{text}"))
def test_what_was_not_written_is_no_id(text: str) -> None:
    assert IDS.read(text) is None


@given(completion=ids, data=st.data())
def test_an_id_that_was_changed_is_none(completion: CompletionId, data: st.DataObject) -> None:
    text = IDS.written(completion)
    place = data.draw(st.integers(0, len(text) - 1))
    changed = text[:place] + data.draw(st.characters(exclude_characters=text[place])) + text[place + 1 :]
    assert IDS.read(changed) is None
    assert CompletionIds(b"of others").read(text) is None


def test_an_event_is_counted_by_model_version_language_and_length(feedback: Feedback, recorder: MemoryRecorder) -> None:
    feedback.record(IDS.written(ANSWER), SHOWN)
    feedback.record(IDS.written(ANSWER), ACCEPTED)
    labels = {"model": "2b", "model_version": "v2: canary", "language": "python"}
    for event in (SHOWN, ACCEPTED):
        assert recorder.total(metrics.COMPLETION_EVENTS, **labels, lines="2-5", event=event) == 1
    assert recorder.total(metrics.ACCEPTED_CHARACTERS, **labels) == 80


@pytest.mark.parametrize(("lines", "label"), [(0, "1"), (1, "1"), (2, "2-5"), (5, "2-5"), (6, "6+"), (999_999, "6+")])
def test_lengths_are_few(feedback: Feedback, recorder: MemoryRecorder, lines: int, label: str) -> None:
    feedback.record(IDS.written(ANSWER._replace(lines=lines)), SHOWN)
    assert recorder.total(metrics.COMPLETION_EVENTS, lines=label) == 1


def test_a_repeated_event_is_counted_once_and_of_those_after_it_was_shown_the_first(
    feedback: Feedback, recorder: MemoryRecorder
) -> None:
    for event in (SHOWN, REJECTED, SHOWN, ACCEPTED, PARTLY, REJECTED):
        feedback.record(IDS.written(ANSWER), event, 5)
    counted = {event.value: recorder.total(metrics.COMPLETION_EVENTS, event=event) for event in CompletionEvent}
    assert counted == {"shown": 1, "accepted": 0, "partly_accepted": 0, "rejected": 1}
    assert recorder.total(metrics.ACCEPTED_CHARACTERS) == 0


@pytest.mark.parametrize(("told", "counted"), [(-5, 0), (0, 0), (12, 12), (2**31 - 1, 80)])
def test_of_a_part_no_more_is_accepted_than_the_completion_has(
    feedback: Feedback, recorder: MemoryRecorder, told: int, counted: int
) -> None:
    feedback.record(IDS.written(ANSWER), PARTLY, told)
    assert recorder.total(metrics.ACCEPTED_CHARACTERS) == counted


def test_another_gateway_counts_what_this_one_answered(recorder: MemoryRecorder) -> None:
    for gateway in (Feedback(recorder, [MODEL], CompletionIds(b"of all Gateways")) for _ in range(2)):
        gateway.record(IDS.written(ANSWER._replace(generation_id=str(id(gateway)))), ACCEPTED)
    assert recorder.total(metrics.COMPLETION_EVENTS, model="2b", event=ACCEPTED) == 2


def test_a_completion_of_no_model_here_is_refused(feedback: Feedback, recorder: MemoryRecorder) -> None:
    for text in (IDS.written(ANSWER._replace(model="gpt")), "else"):
        with pytest.raises(FieldError, match="is of no completion of a model that is served here") as raised:
            feedback.record(text, SHOWN)
        assert (raised.value.reason, raised.value.field) == (Reason.INVALID_ARGUMENT, "completion_id")
    assert recorder.total(metrics.COMPLETION_EVENTS) == 0


@settings(deadline=None, max_examples=100)
@given(made_up=st.lists(ids, min_size=20, max_size=20))
def test_made_up_ids_make_no_labels(made_up: list[CompletionId]) -> None:
    recorder = MemoryRecorder()
    feedback = Feedback(recorder, [MODEL], IDS)
    known = {labels for _, labels in recorder.values}
    others = {labels - {("model_version", MODEL.version)} | {("model_version", "other")} for labels in known}
    for completion in made_up:
        feedback.record(IDS.written(completion._replace(model="2b")), ACCEPTED)
    assert {labels for _, labels in recorder.values} - known <= others


def test_what_is_remembered_is_bounded(
    feedback: Feedback, recorder: MemoryRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 3)
    for number in (1, 2, 3, 4, 4, 1):
        feedback.record(IDS.written(ANSWER._replace(generation_id=str(number))), SHOWN)
    assert recorder.total(metrics.COMPLETION_EVENTS) == 5
    assert len(feedback._remembered) == 3


@given(pieces=st.lists(st.text(alphabet="a\n", max_size=5), max_size=6))
def test_a_text_has_the_same_length_in_whatever_pieces_it_comes(pieces: list[str]) -> None:
    length = TextLength()
    for piece in pieces:
        length.add(piece)
    whole = "".join(pieces)
    assert (length.characters, length.lines) == (len(whole), len(whole.splitlines()))
