"""The soak of groups without Ray says which process ended."""

from contextlib import ExitStack

import pytest

from bench.soak_group import EndedError, _Group, soaked_model


def test_a_process_that_ends_before_its_time_is_named_with_its_status() -> None:
    with ExitStack() as stack, pytest.raises(EndedError, match=r"^on-1: leader ended with status 1;"):
        _Group(soaked_model("/nowhere", 1), stack)
