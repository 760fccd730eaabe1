"""NeMo checkpoints in a tar or tar.gz: how they are opened, and what of an archive is refused."""

import gzip
import io
import tarfile
from pathlib import Path
from typing import Literal

import pytest
import yaml

from sharding.checkpoint import CheckpointError, open_checkpoint
from tests.oracle.random_checkpoint import random_tensors
from tests.sharding.checkpoint.files import WIDE
from tests.sharding.checkpoint.nemo_archives import archived, in_archive, tar_with
from tests.sharding.checkpoint.nemo_files import nemo1_config, write_nemo1
from tests.sharding.checkpoint.nemo_parameters import assert_parameters


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_tar_gz_is_unpacked_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = in_archive("flat", "w:gz")(tmp_path / "model", WIDE, dict(random_tensors(WIDE, 3)))
    open_checkpoint(path)
    open_checkpoint(path)
    assert [record.getMessage() for record in caplog.records if "unpacking" in record.getMessage()] == [
        f"{path}: unpacking it once, into {next((tmp_path / 'cache' / 'codegemma' / 'unpacked').glob('*.tar'))}"
    ]
    assert not list((tmp_path / "cache").rglob("*.partial"))


def test_an_archive_may_have_the_longest_name_that_files_have(tmp_path: Path) -> None:
    tensors = dict(random_tensors(WIDE, 3))
    path = in_archive("flat", "w:gz")(tmp_path / "model", WIDE, tensors).rename(tmp_path / f"{'😀' * 62}.nemo")
    assert_parameters(path, WIDE, tensors, 1.2e-7)


def test_a_gzip_of_several_members_is_unpacked_whole(tmp_path: Path) -> None:
    """As pigz and bgzip write them."""
    tensors = dict(random_tensors(WIDE, 3))
    data = in_archive("flat")(tmp_path / "model", WIDE, tensors).read_bytes()
    cuts = range(0, len(data), 2**16)
    (tmp_path / "model.nemo").write_bytes(
        b"".join(gzip.compress(data[cut : cut + 2**16], 1) for cut in cuts) + bytes(9)
    )
    assert_parameters(tmp_path / "model.nemo", WIDE, tensors, 1.2e-7)


@pytest.mark.parametrize("end", [b"more", gzip.compress(b"more")[:-1]], ids=["no gzip", "cut"])
def test_what_follows_the_members_of_a_gzip_is_refused(tmp_path: Path, end: bytes) -> None:
    path = in_archive("flat", "w:gz")(tmp_path / "model", WIDE, dict(random_tensors(WIDE, 3)))
    path.write_bytes(path.read_bytes() + end)
    with pytest.raises(CheckpointError, match=r"model\.nemo: (damaged gzip|truncated)"):
        open_checkpoint(path)


@pytest.mark.parametrize("content", [bytes(10**6), b"", b"{}"])
def test_a_gzip_of_something_else_is_not_unpacked(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "vocabulary.gz").write_bytes(gzip.compress(content))
    with pytest.raises(CheckpointError, match="is no checkpoint of a known form"):
        open_checkpoint(tmp_path / "vocabulary.gz")
    assert not (tmp_path / "cache").exists()


def test_what_a_killed_process_has_left_of_a_tar_is_written_over(tmp_path: Path) -> None:
    tensors = dict(random_tensors(WIDE, 3))
    path = in_archive("flat", "w:gz")(tmp_path / "model", WIDE, tensors)
    open_checkpoint(path)
    [tar] = (tmp_path / "cache").rglob("*.tar")
    content = tar.read_bytes()
    tar.unlink()
    tar.with_name(f"{tar.name}.partial").write_bytes(bytes(2 * len(content)))
    assert_parameters(path, WIDE, tensors, 1.2e-7)
    assert tar.read_bytes() == content
    assert not list((tmp_path / "cache").rglob("*.partial"))


def test_a_cache_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    path = in_archive("flat", "w:gz")(tmp_path / "model", WIDE, dict(random_tensors(WIDE, 3)))
    (tmp_path / "cache").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"model\.nemo: cannot be unpacked: .*cache.*\. Set XDG_CACHE_HOME"):
        open_checkpoint(path)


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (member("/etc/passwd"), "leads out of the archive"),
        (member("../model_config.yaml"), "leads out of the archive"),
        (member("a/../../b"), "leads out of the archive"),
        (member("model_weights.ckpt", tarfile.SYMTYPE, "/etc/passwd"), "is a link, a device or sparse"),
        (member("model_weights.ckpt", tarfile.LNKTYPE, "model_config.yaml"), "is a link, a device or sparse"),
        (member("model_weights.ckpt", tarfile.CHRTYPE), "is a link, a device or sparse"),
        (member("model_weights.ckpt", tarfile.FIFOTYPE), "is a link, a device or sparse"),
        (member("model_config.yaml"), r"has two files model_config\.yaml"),
    ],
)
def test_a_member_that_leads_out_of_the_archive_is_refused(tmp_path: Path, info: tarfile.TarInfo, message: str) -> None:
    config = yaml.safe_dump(nemo1_config(WIDE)).encode()
    tar_with(tmp_path / "model.nemo", (member("./model_config.yaml"), config), (info, b"x"))
    with pytest.raises(CheckpointError, match=rf"model\.nemo: .*{message}"):
        open_checkpoint(tmp_path / "model.nemo")


def test_a_gzip_that_unfolds_without_end_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    with tarfile.open(fileobj=header, mode="w:") as archive:
        archive.addfile(member("model_config.yaml"), io.BytesIO(b""))
    bomb = gzip.compress(header.getvalue()[:512] + bytes(2**27))
    (tmp_path / "model.nemo").write_bytes(bomb)
    with pytest.raises(CheckpointError, match=r"model\.nemo: unfolds to more than \d+ bytes"):
        open_checkpoint(tmp_path / "model.nemo")
    assert not list((tmp_path / "cache").rglob("*.partial"))


@pytest.mark.parametrize("mode", ["w:", "w:gz"])
def test_an_archive_that_ends_too_early_is_refused(tmp_path: Path, mode: Literal["w:", "w:gz"]) -> None:
    path = in_archive("flat", mode)(tmp_path / "model", WIDE, dict(random_tensors(WIDE, 3)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=r"model\.nemo: (truncated|no sound tar)"):
        open_checkpoint(path)


def test_another_archive_is_no_checkpoint(tmp_path: Path) -> None:
    tar_with(tmp_path / "model.nemo", (member("readme"), b"hello"))
    with pytest.raises(CheckpointError, match=r"has neither model_config\.yaml nor context/model\.yaml: it is no NeMo"):
        open_checkpoint(tmp_path / "model.nemo")


def test_what_is_wrong_inside_a_tar_gz_is_said_of_it(tmp_path: Path) -> None:
    write_nemo1(tmp_path / "model", WIDE)
    (tmp_path / "model" / "model_weights.ckpt").write_bytes(b"nothing")
    path = archived(tmp_path / "model", tmp_path / "model.nemo", "w:gz")
    with pytest.raises(CheckpointError, match=rf"{path}: .*-model\.tar: no sound file of torch\.save"):
        open_checkpoint(path)
