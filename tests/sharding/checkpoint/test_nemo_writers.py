"""Checkpoints that other libraries wrote compute what transformers computes from the same weights.

`make forms` writes them and names their directory in NEMO_FORMS: MODEL/FORM, for models of `random_checkpoint`.
"""

import os
from functools import cache
from pathlib import Path

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
from tests.sharding.test_fidelity import MAX_RELATIVE_ERROR, Sequences, expected, expected_logits

DIRECTORY = Path(os.environ["NEMO_FORMS"]) if "NEMO_FORMS" in os.environ else None
FORMS = sorted(path.relative_to(DIRECTORY) for path in DIRECTORY.glob("*/*")) if DIRECTORY else []
LIMITS = Limits(page_size=16, num_pages=24, max_rows=4, max_step_tokens=16, max_context=96)


@cache
def steps(config: GemmaConfig, devices: int) -> CompiledSteps:
    return compile_steps(config, make_mesh(devices), jnp.float32, LIMITS)


@pytest.mark.skipif(DIRECTORY is None, reason="make forms writes the checkpoints")
@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_form_has_the_logits_of_transformers(form: Path, devices: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert DIRECTORY is not None
    checkpoint = open_checkpoint(DIRECTORY / form)
    parameters = load(checkpoint, abstract_parameters(checkpoint.config, make_mesh(devices), jnp.float32))
    runner = ModelRunner(parameters, steps(checkpoint.config, devices))
    name = form.parts[0]
    prompts = [row["prompt"] for row in expected()["random"][name]["cases"]]
    logits, wanted = Sequences(runner, prompts).logits(), expected_logits()[name]
    error = float(np.abs(logits - wanted).max() / np.abs(wanted).max())
    with capsys.disabled():
        print(f"\n{form} on {devices} devices: largest error of the logits, relative to the largest: {error:.1e}")
    assert error < MAX_RELATIVE_ERROR
