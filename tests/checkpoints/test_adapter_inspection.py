"""`codegemma inspect` of an adapter: what it is, and whether a model can take it."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sharding.checkpoint import open_checkpoint
from tests.checkpoints.inspected import found, inspect
from tests.sharding.nemo_adapter_files import BASE, NEMO_LAYOUTS, fused_adapter
from tests.sharding.peft_files import peft_tensors, write_peft
from tests.sharding.random_adapters import random_adapter
from tests.sharding.small_models import MQA

ALL = ["attention.q", "attention.k", "attention.v", "attention.o", "mlp.gate", "mlp.up", "mlp.down"]


def write_adapter(path: Path, source: Path) -> Path:
    return write_peft(path, peft_tensors(random_adapter(open_checkpoint(source).config, 1, 4)))


def test_a_table_says_what_it_is_and_that_it_fits(source: Path, tmp_path: Path) -> None:
    result = inspect(write_adapter(tmp_path / "a", source), "--base", source, "--verify")
    assert result.exit_code == 0, result.output
    told = " ".join(result.stdout.split())
    assert "form LoRA adapter of PEFT" in told
    assert "rank 4" in told
    assert "made for google/codegemma-2b" in told
    assert "F32 100%" in told
    assert "Nothing is wrong with its numbers, and it fits" in told


@pytest.mark.parametrize("layout", NEMO_LAYOUTS)
def test_adapters_of_nemo_are_told_from_models(layout: str, tmp_path: Path) -> None:
    report = found(NEMO_LAYOUTS[layout](tmp_path / "a", fused_adapter(MQA), MQA))
    assert report["form"] == "NVIDIA NeMo"
    assert report["rank"] == 4
    assert report["made_for"] == BASE
    assert sorted(report["projections"]) == sorted(ALL)
    assert report["numbers"] > 0
    assert report["file_bytes"] > 2 * report["numbers"] or layout == "tar.gz"


def test_an_adapter_of_another_model_does_not_fit(source: Path, tmp_path: Path) -> None:
    adapter = write_peft(tmp_path / "a", peft_tensors(fused_adapter(MQA)))
    assert found(adapter)["problems"] == []
    [problem] = found(adapter, "--base", source, status=1)["problems"]
    assert "adapter_model.safetensors" in problem and "has shape" in problem


def test_numbers_that_are_none_are_found_where_asked(source: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "a", source)
    tensors = load_file(adapter / "adapter_model.safetensors")
    name = max(tensors)
    save_file(tensors | {name: np.full_like(tensors[name], np.inf)}, adapter / "adapter_model.safetensors")
    assert found(adapter)["problems"] == []
    [problem] = found(adapter, "--verify", status=1)["problems"]
    assert name in problem


def test_what_cannot_be_served_is_reported(source: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "a", source)
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"use_dora": True}))
    [problem] = found(adapter, status=1)["problems"]
    assert "use_dora" in problem


def test_tensors_without_numbers_are_reported(source: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "a", source)
    tensors = load_file(adapter / "adapter_model.safetensors")
    save_file({name: np.zeros((0, 4), np.float32) for name in tensors}, adapter / "adapter_model.safetensors")
    [problem] = found(adapter, status=1)["problems"]
    assert f"adapter_model.safetensors: tensor {min(tensors)} has shape (0, 4)" in problem
    assert inspect(adapter).exit_code == 1


def test_what_an_adapter_says_of_itself_reaches_no_terminal_as_it_is(source: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "a", source)
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "a\x1b]0;b\x07\nc"
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    assert found(adapter)["made_for"] == r"a\x1b]0;b\x07\nc"


def test_a_base_is_for_adapters_alone(source: Path) -> None:
    assert inspect(source, "--base", source).exit_code == 2
