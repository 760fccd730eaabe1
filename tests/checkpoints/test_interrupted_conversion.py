"""`codegemma convert`: conversions that end before they are done, and run beside others."""

import shutil
import signal
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from sharding.checkpoint import open_checkpoint
from tests.checkpoints.conversions import convert, converting


def test_an_evicted_conversion_says_no_more_than_that(source: Path, tmp_path: Path) -> None:
    with converting(source, tmp_path / "target") as process:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode not in (0, -signal.SIGTERM)
    assert "Traceback" not in said
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_the_next_conversion_goes_on_with_what_is_written(source: Path, tmp_path: Path, sign: signal.Signals) -> None:
    target = tmp_path / "target"
    with converting(source, target, "--shards", 3, files=1) as process:
        process.send_signal(sign)
        process.communicate(timeout=60)
    [first] = (tmp_path / ".target.partial" / "files").glob("*.safetensors")
    written = first.stat().st_mtime_ns
    assert convert(source, target, "--shards", 3).exit_code == 0
    assert [file.name for file in tmp_path.iterdir()] == ["target"]
    assert (target / first.name).stat().st_mtime_ns == written
    whole = tmp_path / "whole"
    assert convert(source, whole, "--shards", 3).exit_code == 0
    assert {file.name: file.read_bytes() for file in target.iterdir()} == {
        file.name: file.read_bytes() for file in whole.iterdir()
    }


@pytest.mark.parametrize("options", [("--dtype", "float32", "--shards", 3), ("--shards", 2)])
def test_with_other_options_nothing_of_it_is_taken(source: Path, tmp_path: Path, options: tuple[object, ...]) -> None:
    with converting(source, tmp_path / "target", "--shards", 3, files=1) as process:
        process.kill()
    assert convert(source, tmp_path / "target", *options).exit_code == 0
    assert convert(source, tmp_path / "whole", *options).exit_code == 0
    assert {file.name: file.read_bytes() for file in (tmp_path / "target").iterdir()} == {
        file.name: file.read_bytes() for file in (tmp_path / "whole").iterdir()
    }


def test_a_file_that_was_damaged_meanwhile_is_written_again(source: Path, tmp_path: Path) -> None:
    with converting(source, tmp_path / "target", "--shards", 3, files=1) as process:
        process.kill()
    [first] = (tmp_path / ".target.partial" / "files").glob("*.safetensors")
    whole = first.read_bytes()
    first.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert convert(source, tmp_path / "target", "--shards", 3).exit_code == 0
    assert (tmp_path / "target" / first.name).read_bytes() == whole


def test_a_part_of_the_source_that_changed_meanwhile_is_read_again(source: Path, tmp_path: Path) -> None:
    """Also where the source is named by another of its files."""
    copy = tmp_path / "source"
    assert convert(source, copy, "--dtype", "float32", "--shards", 3).exit_code == 0
    *_, named = sorted(copy.glob("*.safetensors"))
    with converting(named, tmp_path / "target", "--dtype", "float32", "--shards", 3, files=1) as process:
        process.kill()
    first = sorted(copy.glob("*.safetensors"))[0]
    tensors = load_file(first)
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, first)
    assert convert(named, tmp_path / "target", "--dtype", "float32", "--shards", 3).exit_code == 0
    assert convert(named, tmp_path / "whole", "--dtype", "float32", "--shards", 3).exit_code == 0
    assert {file.name: file.read_bytes() for file in (tmp_path / "target").iterdir()} == {
        file.name: file.read_bytes() for file in (tmp_path / "whole").iterdir()
    }


def test_a_conversion_into_its_source_goes_on_too(source: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(source, tmp_path / "source"))
    (copy / "dangling").symlink_to(tmp_path / "none")
    with converting(copy, copy / "target", "--shards", 3, files=1) as process:
        process.kill()
    [first] = (copy / ".target.partial" / "files").glob("*.safetensors")
    written = first.stat().st_mtime_ns
    assert convert(copy, copy / "target", "--shards", 3).exit_code == 0
    assert (copy / "target" / first.name).stat().st_mtime_ns == written


def test_a_second_conversion_of_the_same_target_is_refused_and_the_first_goes_on(source: Path, tmp_path: Path) -> None:
    with converting(source, tmp_path / "target") as process:
        result = convert(source, tmp_path / "target")
        assert result.exit_code == 1
        assert "is writing" in result.stderr
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert [file.name for file in tmp_path.iterdir()] == ["target"]
    assert open_checkpoint(tmp_path / "target").config == open_checkpoint(source).config


def test_conversions_of_two_targets_do_not_meet(source: Path, tmp_path: Path) -> None:
    with converting(source, tmp_path / "one"):
        assert convert(source, tmp_path / "two").exit_code == 0
