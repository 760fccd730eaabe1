"""Times and rates of an answer, by a clock that a test turns."""

from serving.gateway.http.llamacpp.timings import Timings
from serving.gateway.request import Usage


def test_the_first_piece_ends_the_prompt_and_the_last_the_prediction() -> None:
    clock = iter([10.0, 10.5, 11.0, 12.5])
    timings = Timings(lambda: next(clock))
    for _ in range(3):
        timings.piece()
    assert timings.body(Usage(prompt_tokens=60, completion_tokens=4, cached_tokens=10)) == {
        "cache_n": 10,
        "prompt_n": 50,
        "prompt_ms": 500.0,
        "prompt_per_token_ms": 10.0,
        "prompt_per_second": 100.0,
        "predicted_n": 4,
        "predicted_ms": 2000.0,
        "predicted_per_token_ms": 500.0,
        "predicted_per_second": 2.0,
    }


def test_an_answer_of_one_piece_has_rates_of_0() -> None:
    timings = Timings(lambda: 1.0)
    timings.piece()
    body = timings.body(Usage())
    assert set(body.values()) == {0}
