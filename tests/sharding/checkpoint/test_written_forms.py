"""Checkpoints that other libraries have written compute what transformers computes: `make forms`."""

from functools import cache

import jax.numpy as jnp
import numpy as np
import pytest

from sharding.checkpoint import open_checkpoint
from sharding.checkpoint.loader import load
from sharding.config import GemmaConfig
from sharding.gemma import abstract_parameters
from sharding.mesh import make_mesh
from sharding.runner import ModelRunner
from sharding.step import Limits
from sharding.steps import CompiledSteps, compile_steps
from tests.forms.written import DIRECTORY, WrittenForm, written_forms
from tests.sharding.checkpoint.files import plain
from tests.sharding.test_fidelity import Sequences

LIMITS = Limits(page_size=16, num_pages=24, max_rows=4, max_step_tokens=16, max_context=96)

pytestmark = pytest.mark.skipif(DIRECTORY is None, reason="make forms writes the checkpoints")
each_form = pytest.mark.parametrize("form", written_forms(), ids=str)


@cache
def steps(config: GemmaConfig, devices: int) -> CompiledSteps:
    return compile_steps(config, make_mesh(devices), jnp.float32, LIMITS)


@cache
def logits(form: WrittenForm, devices: int) -> np.ndarray:
    """Ours after each prompt: [prompts, V]."""
    checkpoint = open_checkpoint(form.path)
    parameters = load(checkpoint, abstract_parameters(checkpoint.config, make_mesh(devices), jnp.float32))
    runner = ModelRunner(parameters, steps(checkpoint.config, devices))
    return Sequences(runner, [case["prompt"] for case in form.cases]).logits()


@each_form
def test_what_a_form_stands_for_are_the_numbers_of_the_hugging_face_form(form: WrittenForm) -> None:
    ours, theirs = (open_checkpoint(path).dequantised().tensors for path in (form.path, form.reference.path))
    assert ours.keys() == theirs.keys()
    for name, source in ours.items():
        np.testing.assert_array_equal(plain(source).read(()), plain(theirs[name]).read(()), err_msg=name)


@pytest.mark.parametrize("devices", [1, 4])
@each_form
def test_a_form_has_the_logits_of_transformers(
    form: WrittenForm, devices: int, capsys: pytest.CaptureFixture[str]
) -> None:
    found = logits(form, devices)
    error = float(np.abs(found - form.logits).max() / np.abs(form.logits).max())
    with capsys.disabled():
        print(f"\n{form} on {devices} devices: largest error of the logits, relative to the largest: {error:.1e}")
    assert error < form.max_relative_error
    if form.weights == "exact":
        np.testing.assert_array_equal(found, logits(form.reference, devices))
