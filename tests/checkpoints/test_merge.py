"""`codegemma convert --merge`: a checkpoint of its own that computes what the model with the adapter does."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from sharding.checkpoint import open_checkpoint
from tests.checkpoints.conversions import convert, converting
from tests.sharding import random_adapters
from tests.sharding.checkpoint.files import plain
from tests.sharding.nemo_adapter_files import fused_adapter, write_nemo
from tests.sharding.peft_files import peft_tensors, write_peft
from tests.sharding.random_adapters import random_adapter


def parameters(path: Path) -> dict[str, np.ndarray]:
    return {name: plain(tensor).read(()) for name, tensor in open_checkpoint(path).dequantised().tensors.items()}


def write_adapter(path: Path, source: Path, seed: int = 1) -> Path:
    return write_peft(path, peft_tensors(random_adapter(open_checkpoint(source).config, seed, 4), factor=2))


def files(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}


@pytest.mark.parametrize("target", ["merged", "merged.gguf"])
def test_adapters_of_both_forms_become_part_of_the_weights(source: Path, tmp_path: Path, target: str) -> None:
    config = open_checkpoint(source).config
    one, other = random_adapter(config, 1, 4), fused_adapter(config)
    paths = write_adapter(tmp_path / "one", source), write_nemo(tmp_path / "other.nemo", other, config)
    merging = [option for path in paths for option in ("--merge", path)]
    result = convert(source, tmp_path / target, "--dtype", "float32", *merging)
    assert result.exit_code == 0, result.output
    expected = random_adapters.merged(random_adapters.merged(parameters(source), one), other)
    for name, values in parameters(tmp_path / target).items():
        np.testing.assert_allclose(values, expected[name], atol=2e-6, err_msg=name)


def test_the_result_is_quantised_as_asked(source: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "a", source)
    assert convert(source, tmp_path / "merged", "--dtype", "float32", "--merge", adapter).exit_code == 0
    assert convert(tmp_path / "merged", tmp_path / "then", "--quantize", "int8").exit_code == 0
    assert convert(source, tmp_path / "at once", "--quantize", "int8", "--merge", adapter).exit_code == 0
    assert files(tmp_path / "at once") == files(tmp_path / "then")


def test_an_adapter_of_another_model_leaves_nothing(source: Path, tmp_path: Path) -> None:
    tensors = peft_tensors(random_adapter(open_checkpoint(source).config, 1, 4))
    name = min(tensors)
    adapter = write_peft(tmp_path / "a", tensors | {name: np.ones((4, 7), np.float32)})
    result = convert(source, tmp_path / "target", "--merge", adapter)
    assert result.exit_code == 1
    said = " ".join(result.stderr.split())
    assert "adapter_model.safetensors" in said and name in said and "google/codegemma-2b" in said
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["none", "a file"])
def test_what_is_no_adapter_is_told_in_one_line(source: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "a file").write_text("x")
    result = convert(source, tmp_path / "target", "--merge", tmp_path / name)
    assert result.exit_code == 1
    assert name in result.stderr
    assert not (tmp_path / "target").exists()


def test_an_interrupted_conversion_goes_on_with_the_same_adapter_and_begins_anew_with_another(
    source: Path, tmp_path: Path
) -> None:
    adapter, other = write_adapter(tmp_path / "a", source), write_adapter(tmp_path / "b", source, seed=2)
    target = tmp_path / "target"
    options = ("--shards", 1000, "--merge", adapter)
    with converting(source, target, *options, files=2) as process:
        process.kill()
    first, second = sorted((tmp_path / ".target.partial" / "files").glob("*.safetensors"))
    written = {file.name: file.stat().st_mtime_ns for file in (first, second)}
    for file in adapter.iterdir():  # the same contents, written again
        file.touch()
    assert convert(source, target, *options).exit_code == 0
    assert {name: (target / name).stat().st_mtime_ns for name in written} == written
    shutil.rmtree(target)
    with converting(source, target, *options, files=2) as process:
        process.kill()
    for file in other.iterdir():
        shutil.copy(file, adapter / file.name)
    assert convert(source, target, *options).exit_code == 0
    assert convert(source, tmp_path / "whole", "--shards", 1000, "--merge", other).exit_code == 0
    assert files(target) == files(tmp_path / "whole")
    before = load_file(source / "model.safetensors")
    assert any(
        np.abs(load_file(file)[name] - before[name]).max() > 0.01
        for file in target.glob("*.safetensors")
        for name in load_file(file)
        if "mlp" in name
    )
