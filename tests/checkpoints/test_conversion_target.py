"""`codegemma convert`: targets that are taken, kept or refused."""

import os
import shutil
from pathlib import Path

import pytest

from serving.checkpoints.written_files import origin_of, write_sums
from tests.checkpoints.conversions import convert


def test_what_was_converted_is_not_converted_again_if_asked_so(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "tiny"
    assert convert(source, target, "--if-missing").exit_code == 0
    before = {file: file.stat().st_mtime_ns for file in target.iterdir()}
    assert convert(source, target, "--if-missing").exit_code == 0
    assert {file: file.stat().st_mtime_ns for file in target.iterdir()} == before


def test_a_target_that_is_not_quantised_as_asked_is_refused(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "tiny"
    assert convert(source, target).exit_code == 0
    result = convert(source, target, "--quantize", "int8", "--if-missing")
    assert result.exit_code == 1
    assert "not quantised. Remove it, or name another target" in " ".join(result.output.split())


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


def test_a_checkpoint_in_one_file_is_not_missing(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    shutil.copytree(source, target)
    result = convert("none", target, "--if-missing")
    assert result.exit_code == 0
    assert "checkpoint already" in result.stderr


def test_a_damaged_checkpoint_is_named_rather_than_taken(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    shutil.copytree(source, target)
    os.truncate(target / "model.safetensors", 10**6)
    result = convert(source, target, "--if-missing")
    assert result.exit_code == 1
    assert "model.safetensors" in result.stderr
    assert "Remove" in result.stderr


def test_numbers_are_asked_for_and_not_taken_for_there_by_a_quantised_target(source: Path, tmp_path: Path) -> None:
    assert convert(source, tmp_path / "target", "--quantize", "int8").exit_code == 0
    result = convert(source, tmp_path / "target", "--quantize", "none", "--if-missing")
    assert result.exit_code == 1
    assert "is there already, int8" in " ".join(result.stderr.split())


def test_what_was_made_of_one_commit_does_not_pass_for_what_another_makes(source: Path, tmp_path: Path) -> None:
    for commit in ("a" * 40, "b" * 40):
        shutil.copytree(source, tmp_path / commit[:1])
        write_sums(tmp_path / commit[:1], {}, f"team/model@{commit}")
    target = tmp_path / "target"
    assert convert(tmp_path / "a", target, "--if-missing").exit_code == 0
    assert origin_of(target) == f"team/model@{'a' * 40}"
    assert convert(tmp_path / "a", target, "--if-missing").exit_code == 0
    other = convert(tmp_path / "b", target, "--if-missing")
    assert other.exit_code == 1
    assert f"from team/model@{'a' * 40} and not from team/model@{'b' * 40}" in " ".join(other.stderr.split())
    assert convert(source, target, "--if-missing").exit_code == 0  # of which nothing is known


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("x.gguf", ("--quantize", "int8"), "--quantize int8 is not a form of GGUF"),
        ("x.gguf", ("--shards", "2"), "--shards is for directories"),
        ("x", ("--quantize", "q8_0"), "--quantize q8_0 is a form of GGUF"),
    ],
)
def test_options_that_do_not_fit_the_target_are_refused(
    source: Path, tmp_path: Path, target: str, options: tuple[str, ...], message: str
) -> None:
    result = convert(source, tmp_path / target, *options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []
