"""Checkpoints that other libraries wrote have transformers' logits. `make forms` writes them."""

import os
from pathlib import Path

import numpy as np
import pytest

from tests.sharding.test_fidelity import Sequences, make_runner

MAX_RELATIVE_ERROR = {"": 1e-4, "-quant": 3e-3}
"""By the end of a form's name. CPUs multiply int8 weights with activations of 16 bits."""
FOLDER = os.environ.get("GOOGLE_FORMS")
CHECKPOINTS = sorted(file.parent for file in Path(FOLDER).glob("*/expected.npz")) if FOLDER else []


@pytest.mark.skipif(not CHECKPOINTS, reason="make forms writes the checkpoints")
@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda path: path.name)
def test_a_checkpoint_of_another_library_has_transformers_logits(
    checkpoint: Path, devices: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with np.load(checkpoint / "expected.npz") as arrays:
        prompts, expected = arrays["prompts"], arrays["logits"]
    runner = make_runner(checkpoint, devices, max_rows=len(prompts), max_step_tokens=64, max_context=64)
    logits = Sequences(runner, prompts.tolist()).logits()
    error = np.abs(logits - expected).max() / np.abs(expected).max()
    with capsys.disabled():
        print(f"\n{checkpoint.name} on {devices} devices: largest relative logit error {error:.1e}")
    assert error < MAX_RELATIVE_ERROR["-quant" if checkpoint.name.endswith("-quant") else ""]
