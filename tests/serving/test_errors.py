"""Errors as data: a field and its fault, in whose words they are written."""

import pickle

import pytest

from serving.errors import FieldError, Reason, ServingError

EMPTY = FieldError(Reason.INVALID_ARGUMENT, "stop", "is empty. Leave it out.", "[2]")
LOST = ServingError(Reason.UNAVAILABLE, "The group was lost. Try again.", retry_after_s=2.0)


def test_the_message_of_a_field_begins_with_its_name_and_place() -> None:
    assert (EMPTY.field, EMPTY.message) == ("stop[2]", "stop[2] is empty. Leave it out.")


def test_a_field_is_written_in_the_words_of_a_wire() -> None:
    written = EMPTY.in_words({"stop": "stop_sequences", "prompt": "text"})
    assert (written.field, written.message) == ("stop_sequences[2]", "stop_sequences[2] is empty. Leave it out.")
    assert EMPTY.in_words({"prompt": "text"}).message == EMPTY.message


def test_other_errors_have_no_field_and_their_own_words() -> None:
    assert LOST.field is None
    assert LOST.in_words({"The": "A"}) is LOST


@pytest.mark.parametrize("error", [EMPTY, LOST])
def test_an_error_survives_a_way_between_processes(error: ServingError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), vars(copy)) == (type(error), vars(error))
