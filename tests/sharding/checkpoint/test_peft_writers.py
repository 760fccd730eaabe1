"""Adapters that PEFT wrote compute what PEFT computes, beside the model and merged. `make forms` writes them.

Fused ones are there as NeMo's too, by torch.save and PyTorch's distributed checkpoint. What is converted here,
`tests/forms/peft_writers.py --check` has transformers load afterwards.
"""

import os
from functools import cache
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from serving.checkpoints.conversion import convert
from sharding.adapters.reader import read_adapter
from sharding.batch import Bucket
from sharding.checkpoint import open_checkpoint
from sharding.checkpoint.loader import load
from sharding.gemma import abstract_parameters
from sharding.mesh import make_mesh
from sharding.runner import ModelRunner
from sharding.step import Limits, Opening, Row
from sharding.steps import compile_steps

MAX_RELATIVE_ERROR = 1e-4
MAX_MERGED_ERROR = 1e-6
"""Of a merged number, relative to the largest of its matrix."""
FOLDER = Path(os.environ["PEFT_FORMS"]) if "PEFT_FORMS" in os.environ else None
ADAPTERS = (
    sorted(path for name in ("adapter", "adapter.nemo", "nemo2") for path in FOLDER.glob(f"*/*/{name}"))
    if FOLDER
    else []
)
LIMITS = Limits(page_size=16, num_pages=4, max_rows=4, max_step_tokens=64, max_context=16, adapters=1, adapter_rank=8)

BUCKET = Bucket(64, 4, LIMITS.pages_per_sequence, adapters=LIMITS.adapters)


@cache
def runner(base: Path, devices: int) -> ModelRunner:
    checkpoint, mesh = open_checkpoint(base), make_mesh(devices)
    parameters = load(checkpoint, abstract_parameters(checkpoint.config, mesh, jnp.float32))
    return ModelRunner(parameters, compile_steps(checkpoint.config, mesh, jnp.float32, LIMITS, buckets=[BUCKET]))


@pytest.mark.skipif(not ADAPTERS, reason="make forms writes the adapters")
@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda path: "-".join(path.parts[-3:]))
def test_an_adapter_of_peft_has_pefts_logits(adapter: Path, devices: int, capsys: pytest.CaptureFixture[str]) -> None:
    with np.load(adapter.parent / "expected.npz") as arrays:
        prompts, expected = arrays["prompts"].tolist(), arrays["logits"]
    base = adapter.parents[1] / "base"
    model = runner(base, devices)
    found = read_adapter(adapter, open_checkpoint(base).config, LIMITS.adapter_rank)
    model.load_adapter(1, model.place_adapter(found))
    opening = Opening(adapter=1)
    rows = [
        Row(slot=number, start=0, token_ids=prompt, draws=1, pages=[number], opening=opening)
        for number, prompt in enumerate(prompts)
    ]
    error = np.abs(model.logits(rows) - expected).max() / np.abs(expected).max()
    with capsys.disabled():
        print(f"\n{'/'.join(adapter.parts[-3:])} on {devices} devices: largest relative logit error {error:.1e}")
    assert error < MAX_RELATIVE_ERROR


@pytest.mark.skipif(not ADAPTERS, reason="make forms writes the adapters")
@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda path: "-".join(path.parts[-3:]))
def test_a_merged_model_has_the_numbers_of_peft_merge_and_unload(adapter: Path, tmp_path: Path) -> None:
    is_peft = adapter.name == "adapter"
    target = adapter.parent / "converted" if is_peft else tmp_path / "converted"
    convert(adapter.parents[1] / "base", target, "float32", adapters=[adapter])
    [file] = target.glob("*.safetensors")
    ours, theirs = load_file(file), load_file(adapter.parent / "merged.safetensors")
    assert ours.keys() == theirs.keys()
    for name, numbers in theirs.items():
        np.testing.assert_allclose(
            ours[name], numbers, atol=MAX_MERGED_ERROR * np.abs(numbers).max(), rtol=0, err_msg=name
        )
