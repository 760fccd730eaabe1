"""Throughput: what the benchmarks' clients measured."""

import pytest

from bench.clients import Throughput


def test_the_measured_clients_take_the_same() -> None:
    load = Throughput(requests_per_s=2.0, first_token_s=[0.001, 0.002])
    assert load.percentile_ms(0.5) == 1.0
    assert load.percentile_ms(0.95) == 2.0


def test_of_clients_that_got_nothing_there_is_no_quantile_but_an_error_that_says_so() -> None:
    with pytest.raises(ValueError, match="No request"):
        Throughput(requests_per_s=0.0, first_token_s=[]).percentile_ms(0.5)
