"""AdapterDirectory: what is there, and what changes when an adapter does."""

import asyncio
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from serving.config import AdaptersConfig, ModelConfig, Role
from serving.models.adapter_directory import AdapterDirectory, adapter_directory
from tests.models.silent_disk import SilentDisk
from tests.sharding.nemo_adapter_files import fused_adapter, write_nemo, write_nemo2
from tests.sharding.small_models import LOCAL

MODEL = ModelConfig(id="7b", checkpoint="x", roles=(Role.CHAT,))


def add(directory: Path, name: str, weights: bytes = b"x") -> None:
    (directory / name).mkdir(exist_ok=True)
    (directory / name / "adapter_model.safetensors").write_bytes(weights)
    (directory / name / "adapter_config.json").write_text("{}")


def test_directories_with_a_configuration_are_adapters_and_nothing_else_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("b", "a.1", "no colon: here", ".hidden", "x" * 65):
        add(tmp_path, name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    directory = AdapterDirectory(tmp_path)
    directory.scan()
    assert directory.names == ("a.1", "b")
    assert directory.path("b") == tmp_path / "b"
    assert sorted(record.getMessage().split(" is ignored")[0] for record in caplog.records) == sorted(
        str(tmp_path / name) for name in ("no colon: here", ".hidden", "x" * 65)
    )


def test_a_stamp_changes_with_any_file_of_its_adapter_and_is_empty_for_none(tmp_path: Path) -> None:
    add(tmp_path, "a")
    add(tmp_path, "b")
    directory = AdapterDirectory(tmp_path)
    a, b = directory.stamp("a"), directory.stamp("b")
    directory.scan()
    assert (directory.stamp("a"), directory.stamp("b"), directory.stamp("c")) == (a, b, "")
    add(tmp_path, "a", b"longer")
    os.utime(tmp_path / "b" / "adapter_config.json", ns=(1, 1))
    (tmp_path / "c").mkdir()
    directory.scan()
    assert a != directory.stamp("a") != ""
    assert b != directory.stamp("b") != ""
    assert directory.stamp("c") == ""


def test_one_that_cannot_be_read_is_left_out_alone_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        add(tmp_path, name)
    iterdir = Path.iterdir
    locked = {tmp_path / "b"}

    def guarded(path: Path) -> Iterator[Path]:
        if path in locked:
            raise PermissionError(13, "Permission denied", str(path))
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", guarded)
    directory = AdapterDirectory(tmp_path)
    directory.scan()
    assert list(directory.names) == ["a", "c"]
    [record] = caplog.records
    assert record.getMessage() == f"{tmp_path / 'b'} is ignored: Permission denied"
    locked.clear()
    directory.scan()
    assert list(directory.names) == ["a", "b", "c"]
    locked.add(tmp_path / "b")
    directory.scan()
    assert len(caplog.records) == 2


async def test_one_that_has_just_come_is_found_by_who_looks_for_it(tmp_path: Path) -> None:
    directory = AdapterDirectory(tmp_path)
    add(tmp_path, "b")
    add(tmp_path, "a")
    assert directory.stamp("a") == ""
    stamp = await directory.look("a")
    assert stamp and directory.stamp("a") == stamp
    assert await directory.look("b") and directory.names == ("a", "b")
    directory.scan()
    assert directory.stamp("a") == stamp


@pytest.mark.parametrize("name", ["none", "..", "../models/a", "models/../a", "a/", "/", "", "a\0", "x" * 300])
async def test_nobody_finds_what_is_no_adapter_by_looking_for_it(tmp_path: Path, name: str) -> None:
    for place in (tmp_path, tmp_path / "models"):
        place.mkdir(exist_ok=True)
        (place / "adapter_config.json").write_text("{}")
        add(place, "a")
    directory = AdapterDirectory(tmp_path / "models")
    assert await directory.look(name) == ""
    assert directory.names == ("a",)


async def test_one_found_while_the_directory_is_read_stays_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    directory = AdapterDirectory(tmp_path)
    iterdir = Path.iterdir

    def late(path: Path) -> Iterator[Path]:
        found = list(iterdir(path))
        if path == tmp_path and not found:
            add(tmp_path, "a")
            assert asyncio.run_coroutine_threadsafe(directory.look("a"), loop).result(10)
        return iter(found)

    monkeypatch.setattr(Path, "iterdir", late)
    await asyncio.to_thread(directory.scan)
    assert list(directory.names) == ["a"]
    shutil.rmtree(tmp_path / "a")
    await asyncio.to_thread(directory.scan)
    assert not directory.names


def test_a_link_that_is_renamed_onto_another_changes_an_adapter_at_once(tmp_path: Path) -> None:
    adapters, versions = tmp_path / "adapters", tmp_path / "versions"
    adapters.mkdir()
    versions.mkdir()
    add(versions, "team-a-1")
    add(versions, "team-a-2")
    (adapters / "team-a").symlink_to(versions / "team-a-1")
    directory = AdapterDirectory(adapters)
    before = directory.stamp("team-a")
    read = directory.path("team-a")
    (tmp_path / "next").symlink_to(versions / "team-a-2")
    (tmp_path / "next").rename(adapters / "team-a")
    directory.scan()
    assert before != directory.stamp("team-a") != ""
    assert (read, directory.path("team-a")) == (versions / "team-a-1", versions / "team-a-2")  # never files of both


def test_a_model_without_adapters_has_no_directory_and_one_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert adapter_directory(MODEL) is None
    model = MODEL.model_copy(update={"adapters": AdaptersConfig(directory=tmp_path / "none")})
    with pytest.raises(ValueError, match=r"models\.7b\.adapters\.directory=.*none': No such file"):
        adapter_directory(model)


async def test_an_archive_of_nemo_has_its_name_without_nemo(tmp_path: Path) -> None:
    file = write_nemo(tmp_path / "team-a.nemo", fused_adapter(LOCAL), LOCAL)
    directory = AdapterDirectory(tmp_path)
    assert directory.names == ("team-a",)
    assert directory.path("team-a") == file
    assert await directory.look("team-a.nemo") == ""
    before = directory.stamp("team-a")
    os.utime(file, ns=(1, 1))
    directory.scan()
    assert directory.stamp("team-a") != before
    file.unlink()
    directory.scan()
    assert not directory.names


def test_a_file_in_a_directory_of_nemo_changes_the_adapter(tmp_path: Path) -> None:
    write_nemo2(tmp_path / "team-a", fused_adapter(LOCAL), LOCAL)
    directory = AdapterDirectory(tmp_path)
    before = directory.stamp("team-a")
    os.utime(tmp_path / "team-a" / "weights" / "__0_0.distcp", ns=(1, 1))
    directory.scan()
    assert before != directory.stamp("team-a") != ""


def test_of_a_directory_and_a_file_of_one_name_the_file_is_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_nemo(tmp_path / "team-a.nemo", fused_adapter(LOCAL), LOCAL)
    add(tmp_path, "team-a")
    directory = AdapterDirectory(tmp_path)
    assert directory.path("team-a") == tmp_path / "team-a"
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'team-a.nemo'} is ignored: team-a has its name"
    ]


def test_directories_in_each_other_without_end_leave_the_others_as_they_are(tmp_path: Path) -> None:
    add(tmp_path, "deep")
    add(tmp_path, "team-a")
    deepest = os.open(tmp_path / "deep", os.O_DIRECTORY)
    for _ in range(sys.getrecursionlimit()):
        os.mkdir("d", dir_fd=deepest)
        deeper = os.open("d", os.O_DIRECTORY, dir_fd=deepest)
        os.close(deepest)
        deepest = deeper
    os.close(deepest)
    try:
        directory = AdapterDirectory(tmp_path)
        add(tmp_path, "team-b")
        directory.scan()
    finally:
        subprocess.run(["rm", "-r", tmp_path / "deep"], check=True)  # Python's own would recurse as deep
    assert {"team-a", "team-b"} <= {*directory.names}


async def test_who_looks_for_one_on_a_disk_that_fails_finds_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = AdapterDirectory(tmp_path)

    def failing(path: Path, *, follow_symlinks: bool = True) -> bool:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(Path, "exists", failing)
    assert await directory.look("team-a") == ""


def looking_threads() -> int:
    """Those that look for one adapter; other threads of this process come and go."""
    return sum(thread.name == "adapter-look" for thread in threading.enumerate())


async def test_a_disk_that_is_silent_keeps_waiting_who_asks_for_what_is_not_known_and_these_not_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("serving.models.adapter_directory.LOOK_S", 0.1)
    adapters = tmp_path / "adapters"
    adapters.mkdir()
    add(adapters, "known")
    directory = AdapterDirectory(adapters)
    add(adapters, "new")
    disk = SilentDisk(adapters, tmp_path / "pipe", monkeypatch)
    threads = looking_threads()
    asking = [asyncio.create_task(directory.look(name)) for name in ("new", "new", "newer", "known")]
    told = await asyncio.gather(*asking, return_exceptions=True)  # raised by the event loop, which goes on
    assert list(map(type, told)) == [TimeoutError, TimeoutError, TimeoutError, str]
    for _ in range(50):  # no thread more, and nobody waits any more
        with pytest.raises(TimeoutError):
            await directory.look("new")
    assert looking_threads() == threads + 1
    disk.answer()
    stamp = ""
    while not stamp:
        with suppress(TimeoutError):
            stamp = await directory.look("new")
        await asyncio.sleep(0.01)
    assert directory.names == ("known", "new")
    directory.scan()
    assert [record.getMessage().partition(str(adapters))[2] for record in caplog.records] == [
        " does not answer within 0.1 s: those that are known are served, requests for others are refused until it does",
        " are read again",
    ]


def test_the_age_of_a_directory_is_the_time_since_it_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = AdapterDirectory(tmp_path)
    now = time.monotonic() + 100
    monkeypatch.setattr("serving.models.adapter_directory.time.monotonic", lambda: now)
    assert directory.age_s >= 100
    directory.scan()
    assert directory.age_s == 0


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    add(tmp_path, "team-a")
    for name in ("one", "other"):
        (tmp_path / "team-a" / name).symlink_to(tmp_path / "team-a")
    assert AdapterDirectory(tmp_path).names == ("team-a",)
