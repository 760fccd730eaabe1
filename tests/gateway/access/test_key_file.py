"""The file of API keys is followed: when it changes, and when it cannot be read."""

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from serving.access.keys import KeyFile
from serving.config import Role
from serving.errors import ServingError
from serving.gateway.access import BearerAccess
from tests.gateway.access.keys import Keys


async def accepted(keys: Keys, key: str) -> None:
    """Waits until a key works."""
    async with asyncio.timeout(30):
        while True:
            with suppress(ServingError):
                await keys.access.caller("", key, "")
                return
            await asyncio.sleep(0)


async def test_requests_are_answered_by_the_old_keys_while_a_changed_file_is_read(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    read_text = Path.read_text

    def read_slowly(path: Path) -> str:
        begun.set()
        assert go_on.wait(30)
        return read_text(path)

    old = keys.create()
    file, new = KeyFile.read(keys.path).with_new("new", "", tuple(Role))
    monkeypatch.setattr(Path, "read_text", read_slowly)
    file.write(keys.path)
    assert await asyncio.to_thread(begun.wait, 30)  # though nobody asked
    assert (await keys.access.caller("", old, "")).roles
    with pytest.raises(ServingError):
        await keys.access.caller("", new, "")
    go_on.set()
    await accepted(keys, new)


async def test_a_request_never_looks_at_the_file(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be on a disk that is slow to answer, or that does not answer at all."""
    key, here = keys.create(), threading.current_thread()

    def stat(path: Path) -> os.stat_result:
        assert threading.current_thread() is not here
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as slow:
        slow.setattr(os, "stat", stat)
        assert (await keys.access.caller("", key, "")).roles


def test_a_file_is_followed_for_as_long_as_its_keys_are_in_use(tmp_path: Path) -> None:
    KeyFile().write(tmp_path / "keys.yaml")
    before = set(threading.enumerate())
    access = BearerAccess(tmp_path / "keys.yaml")
    [thread] = set(threading.enumerate()) - before
    del access
    thread.join(30)
    assert not thread.is_alive()


def _garble(path: Path) -> None:
    """Puts another file in its place; one that is written there is empty at first, which is a file without keys."""
    other = path.with_suffix(".new")
    other.write_text("keys: 7")
    other.replace(path)


@pytest.mark.parametrize("break_file", [Path.unlink, _garble])
async def test_a_file_that_cannot_be_read_changes_nothing(
    keys: Keys, break_file: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    key = keys.create()
    async with keys.http({"authorization": f"Bearer {key}"}) as client:
        assert (await client.get("/v1/models")).status_code == 200
        break_file(keys.path)
        keys.refresh()
        assert (await client.get("/v1/models")).status_code == 200
        assert "the API keys stay as they were" in caplog.text
        keys.revoke_all()
        assert (await client.get("/v1/models")).status_code == 401


@pytest.mark.parametrize(
    "failure", [PermissionError(13, "Permission denied"), OSError(24, "Too many open files"), MemoryError()]
)
async def test_a_read_that_failed_is_tried_again_and_logged_once(
    keys: Keys, failure: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(path: Path) -> str:
        raise failure

    key = keys.create()
    async with keys.http({"authorization": f"Bearer {key}"}) as client:
        assert (await client.get("/v1/models")).status_code == 200
        with monkeypatch.context() as broken:
            broken.setattr(Path, "read_text", fail)
            for _ in range(3):
                keys.revoke_all()
                assert (await client.get("/v1/models")).status_code == 200
        assert caplog.text.count("the API keys stay as they were") == 1
        keys.refresh()
        assert (await client.get("/v1/models")).status_code == 401


def test_a_file_that_is_no_key_file_is_not_read_again_until_it_changes(
    keys: Keys, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keys.path.write_text("keys: 7")
    keys.refresh()
    monkeypatch.setattr(Path, "read_text", None)
    for _ in range(3):
        keys.refresh()
    assert caplog.text.count("the API keys stay as they were") == 1


async def test_a_change_of_the_same_size_at_the_same_time_counts(keys: Keys) -> None:
    """What was restored from a copy, or put there by a tool that sets times, has its old time of modification."""
    key = keys.create()
    async with keys.http({"authorization": f"Bearer {key}"}) as client:
        assert (await client.get("/v1/models")).status_code == 200
        before = keys.path.stat()
        [entry] = KeyFile.read(keys.path).keys
        keys.path.write_text(keys.path.read_text().replace(entry.sha256, entry.sha256[::-1]))
        os.utime(keys.path, ns=(before.st_atime_ns, before.st_mtime_ns))
        after = keys.path.stat()
        assert (after.st_ino, after.st_mtime_ns, after.st_size) == (before.st_ino, before.st_mtime_ns, before.st_size)
        keys.refresh()
        assert (await client.get("/v1/models")).status_code == 401
