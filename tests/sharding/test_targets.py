"""Log probabilities of tokens that are known: those of the model's own forward pass, however a prompt is cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharding.config import GemmaConfig
from sharding.step import Opening, Row, SamplingParams, Token
from tests.sharding.small_models import LIMITS, LOCAL, MIXED, MQA, dense_logits, host_parameters, make_runner, row, step

PROMPT = [int(token) for token in np.random.default_rng(7).integers(0, LOCAL.vocab_size, 40)]
OTHER = [int(token) for token in np.random.default_rng(8).integers(0, LOCAL.vocab_size, 40)]
TOP = SamplingParams(logprobs=3)
PAGES, OTHER_PAGES = [9, 2, 30, 7, 4], [1, 3, 5, 6, 8]


def expected(config: GemmaConfig, prompt: list[int]) -> np.ndarray:
    """The log probabilities after each token: [S, V]."""
    logits = dense_logits(config, host_parameters(config), prompt)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def scoring(prompt: list[int], start: int, size: int, pages: list[int], slot: int = 0) -> Row:
    """Computes a part of a prompt with a target after each token, but the last one of the prompt, which draws."""
    end = start + size
    return Row(
        slot=slot,
        start=start,
        token_ids=prompt[start:end],
        targets=prompt[start + 1 : end + 1],
        draws=int(end == len(prompt)),
        pages=pages,
        opening=Opening(sampling=TOP),
    )


def assert_are(tokens: list[Token], prompt: list[int], log_probabilities: np.ndarray) -> None:
    assert [token.id for token in tokens[: len(prompt) - 1]] == prompt[1:]
    for token, exact in zip(tokens, log_probabilities, strict=True):
        assert token.logprob == pytest.approx(exact[token.id], abs=1e-4)
        assert [top for top, _ in token.top] == np.argsort(-exact)[:3].tolist()
        np.testing.assert_allclose([p for _, p in token.top], np.sort(exact)[::-1][:3], atol=1e-4)


@pytest.mark.parametrize(("config", "devices"), [(LOCAL, 1), (LOCAL, 2), (MQA, 1), (MQA, 4), (MQA, 8)])
def test_targets_have_the_log_probabilities_of_the_whole_forward_pass(config: GemmaConfig, devices: int) -> None:
    runner = make_runner(config, devices, buckets=MIXED)
    tokens: list[Token] = []
    for start in range(0, len(PROMPT), LIMITS.max_rows):
        runner.launch([scoring(PROMPT, start, LIMITS.max_rows, PAGES)])
        tokens += runner.land()[0]
    assert_are(tokens, PROMPT, expected(config, PROMPT))
    assert runner.recompilations == 0


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_targets_are_the_same_in_any_chunks_beside_other_rows(data: st.DataObject) -> None:
    runner = make_runner(LOCAL)
    first = data.draw(st.integers(0, 8), label="tokens computed before")
    if first:
        step(runner, [row(PROMPT[:first], 0, PAGES, None)])
    tokens: list[Token] = []
    done, other = first, 0
    while done < len(PROMPT):
        beside = data.draw(st.integers(0, min(9, len(OTHER) - other)), label="tokens of another row")
        most = min(LIMITS.max_rows - bool(beside), len(PROMPT) - done)
        size = data.draw(st.integers(1, most))
        rows = [scoring(PROMPT, done, size, PAGES)]
        if beside:
            drawing = Opening(sampling=SamplingParams(temperature=1.0, seed=3))
            chunk = OTHER[other : other + beside]
            rows.append(
                Row(slot=1, start=other, token_ids=chunk, draws=1, pages=OTHER_PAGES, opening=drawing),
            )
        if data.draw(st.booleans()):
            rows.reverse()
        runner.launch(rows)
        landed = runner.land()
        tokens += landed[rows[0].slot != 0]
        assert [len(each) for each in landed] == [len(each.targets) + each.draws for each in rows]
        done, other = done + size, other + beside
    assert_are(tokens, PROMPT[first:], expected(LOCAL, PROMPT)[first:])


def test_a_sequence_goes_on_with_what_it_draws_after_its_targets() -> None:
    runner = make_runner(LOCAL)
    (plain,) = step(runner, [row(PROMPT[:4], 0, PAGES)])
    assert plain is not None
    runner.launch([scoring(PROMPT[:4], 0, 4, PAGES)])
    runner.launch([Row(slot=0, start=4, draws=1)])
    assert runner.land()[0][-1].id == plain.id
    logits = dense_logits(LOCAL, host_parameters(LOCAL), [*PROMPT[:4], plain.id])
    assert runner.land()[0][0].id == int(np.argmax(logits[-1]))


def test_more_targets_than_the_runner_has_rows_are_refused() -> None:
    runner = make_runner(LOCAL)
    with pytest.raises(ValueError, match="6 outputs"):
        runner.launch([scoring(PROMPT, 0, 6, PAGES)])
