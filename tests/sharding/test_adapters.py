"""Adapters in a step: each row is computed as by its merged model, whatever the other rows have."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharding.adapters import Adapter
from sharding.attention import ReferenceAttention
from sharding.batch import Bucket, make_buckets
from sharding.buckets import bucket_sizes
from sharding.config import GemmaConfig
from sharding.gemma import abstract_adapters, abstract_parameters
from sharding.mesh import make_mesh
from sharding.runner import ModelRunner
from sharding.sizes import adapter_bytes
from sharding.step import Limits, Opening, Row
from sharding.step_compiler import StepCompiler
from sharding.steps import compile_steps
from tests.sharding.random_adapters import merged, model_on, model_parameters, random_adapter
from tests.sharding.small_models import (
    LOCAL,
    MHA,
    MQA,
    dense_logits,
    relative_error,
)

PLAIN = Limits(page_size=8, num_pages=36, max_rows=9, max_step_tokens=144, max_context=32)
LIMITS = replace(PLAIN, adapters=8, adapter_rank=6)
BUCKETS = [Bucket(9, 9, PLAIN.pages_per_sequence), Bucket(112, 9, PLAIN.pages_per_sequence)]
PROMPTS = [[int(t) for t in np.random.default_rng([3, n]).integers(0, LOCAL.vocab_size, 9 + n % 3)] for n in range(9)]
TOKENS = 8


@cache
def adapters() -> list[Adapter]:
    """Of different ranks; some adapt a part of the projections."""
    targets = ["", "attention", "mlp", "", "attention.o", "mlp.down", "attention.k", ""]
    return [random_adapter(LOCAL, number, 1 + number % 6, part) for number, part in enumerate(targets)]


@cache
def adapted_runner(devices: int) -> ModelRunner:
    """With all adapters loaded; tests share it, so each that loads another one loads these again."""
    buckets = [replace(bucket, adapters=LIMITS.adapters) for bucket in BUCKETS]
    steps = compile_steps(LOCAL, make_mesh(devices), jnp.float32, LIMITS, buckets=buckets)
    runner = ModelRunner(model_on(LOCAL, devices), steps)
    for number, adapter in enumerate(adapters(), start=1):
        runner.load_adapter(number, runner.place_adapter(adapter))
    return runner


def generate(runner: ModelRunner, prompts: Sequence[Sequence[int]], numbers: Sequence[int]) -> list[list[int]]:
    """`TOKENS` greedy tokens after each prompt, in a prefill step and a loop, for adapters by their numbers."""
    opening = [Opening(adapter=number) for number in numbers]
    slots = range(len(prompts))
    runner.launch(
        [
            Row(slot=i, start=0, token_ids=prompts[i], draws=1, pages=range(4 * i, 4 * i + 4), opening=opening[i])
            for i in slots
        ]
    )
    runner.launch([Row(slot=i, start=len(prompts[i]), draws=TOKENS - 1) for i in slots])
    first, others = runner.land(), runner.land()
    return [[token.id for token in first[i] + others[i]] for i in slots]


def greedy(parameters: dict[str, np.ndarray], prompt: Sequence[int]) -> list[int]:
    """The same of a dense model."""
    tokens = list(prompt)
    for _ in range(TOKENS):
        tokens.append(int(dense_logits(LOCAL, parameters, tokens)[-1].argmax()))
    return tokens[len(prompt) :]


@cache
def of_merged_models() -> list[list[int]]:
    """What the model without an adapter draws after the first prompt, and each merged one after the next."""
    models = [model_parameters(LOCAL), *(merged(model_parameters(LOCAL), each) for each in adapters())]
    return [greedy(model, prompt) for model, prompt in zip(models, PROMPTS, strict=True)]


@pytest.mark.parametrize("devices", [1, 4])
def test_eight_adapters_and_none_in_one_batch_draw_what_each_merged_model_draws_alone(devices: int) -> None:
    drawn = generate(adapted_runner(devices), PROMPTS, range(9))
    assert drawn == of_merged_models()


@pytest.mark.parametrize("devices", [1, 4])
def test_logits_are_those_of_the_merged_model_and_no_other(devices: int) -> None:
    rows = [
        Row(slot=i, start=0, token_ids=PROMPTS[0], draws=1, pages=[2 * i, 2 * i + 1], opening=Opening(adapter=i))
        for i in range(9)
    ]
    models = [model_parameters(LOCAL), *(merged(model_parameters(LOCAL), each) for each in adapters())]
    expected = [dense_logits(LOCAL, model, PROMPTS[0])[-1] for model in models]
    for number, logits in enumerate(adapted_runner(devices).logits(rows)):
        errors = [relative_error(logits, each) for each in expected]
        assert errors.pop(number) < 1e-5
        assert min(errors) > 1e-2


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=9))
def test_any_mix_of_adapters_draws_the_same(numbers: list[int]) -> None:
    drawn = generate(adapted_runner(1), [PROMPTS[number] for number in numbers], numbers)
    assert drawn == [of_merged_models()[number] for number in numbers]


def test_steps_of_a_model_without_adapters_take_and_compile_nothing_for_them() -> None:
    compiler = StepCompiler.of(LOCAL, make_mesh(1), jnp.float32, PLAIN, ReferenceAttention())
    assert compiler.adapters == {}
    (bucket, *_) = make_buckets(bucket_sizes("cpu", "float32", 4, 16), max_rows=4, max_pages=4)
    assert "adapters" not in {name for name, *_ in bucket.tokens_layout.fields}


@pytest.mark.parametrize("devices", [1, 4])
def test_an_adapter_loaded_behind_a_step_counts_from_the_next_one_on_and_compiles_nothing(devices: int) -> None:
    runner = adapted_runner(devices)
    other = random_adapter(LOCAL, 99, 6)
    expected = [greedy(merged(model_parameters(LOCAL), each), PROMPTS[3]) for each in (adapters()[2], other)]
    row = Row(slot=0, start=0, token_ids=PROMPTS[3], draws=1, pages=[0, 1, 2], opening=Opening(adapter=3))
    try:
        runner.launch([row])
        runner.load_adapter(3, runner.place_adapter(other))
        runner.launch([row])
        assert [runner.land()[0][0].id for _ in range(2)] == [tokens[0] for tokens in expected]
        assert generate(runner, [PROMPTS[3]], [3]) == [expected[1]]
    finally:
        runner.load_adapter(3, runner.place_adapter(adapters()[2]))
    assert generate(runner, [PROMPTS[3]], [3]) == [of_merged_models()[3]]
    assert runner.recompilations == 0


def test_an_adapter_of_a_lower_rank_leaves_nothing_of_the_one_before() -> None:
    runner = adapted_runner(1)
    row = Row(slot=0, start=0, token_ids=PROMPTS[2], draws=1, pages=[0, 1], opening=Opening(adapter=4))
    try:
        runner.load_adapter(4, runner.place_adapter(random_adapter(LOCAL, 5, 1, "attention.q")))
        small = merged(model_parameters(LOCAL), random_adapter(LOCAL, 5, 1, "attention.q"))
        assert relative_error(runner.logits([row])[0], dense_logits(LOCAL, small, PROMPTS[2])[-1]) < 1e-5
    finally:
        runner.load_adapter(4, runner.place_adapter(adapters()[3]))


@pytest.mark.parametrize("quantization", ["int8-weights", None])
@pytest.mark.parametrize(("config", "devices"), [(MQA, 4), (MHA, 8), (LOCAL, 2)])
def test_bytes_of_adapters_are_those_of_their_arrays(
    config: GemmaConfig, devices: int, quantization: str | None
) -> None:
    arrays = abstract_adapters(config.quantised(quantization), make_mesh(devices), jnp.bfloat16, 3, 5)
    on_device = sum(
        2 * int(np.prod(array.sharding.shard_shape(array.shape))) for array in arrays.values() if array.sharding
    )
    assert 3 * adapter_bytes(config.quantised(quantization), devices, 2, 5) == on_device


def test_adapters_are_split_like_the_projections_that_they_adapt() -> None:
    mesh = make_mesh(4)
    stack, own = abstract_adapters(MQA, mesh, jnp.float32, 2, 3), abstract_parameters(MQA, mesh, jnp.float32)
    for path in ("layers.0.attention.q", "layers.1.attention.o", "layers.0.mlp.up", "layers.0.mlp.down"):
        projection = own[path]
        assert isinstance(projection, jax.ShapeDtypeStruct)
        outputs = 1 if path.endswith(("o", "down", "up")) else 2
        split = projection.sharding.shard_shape(projection.shape)
        a, b = stack[f"{path}.lora_a"], stack[f"{path}.lora_b"]
        assert a.sharding.shard_shape(a.shape) == (2, 3, *split[outputs:])
        assert b.sharding.shard_shape(b.shape) == (*split[:outputs], 2, 3)
