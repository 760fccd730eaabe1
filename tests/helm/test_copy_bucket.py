"""A checkpoint is copied from a bucket, by the client of the chart's image from its own S3 server."""

import hashlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.helm.chart import CHART, ROOT

_SCRIPT = CHART / "files" / "copy-bucket.sh"
_RCLONE = ROOT / ".helm" / "rclone"
_FILES = {"config.json": b"{}", "model.safetensors": os.urandom(300_000), "original/notes.txt": b"how it was made"}

type Copy = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder that is served as a store of buckets, and the environment of a client."""
    folder = tmp_path_factory.mktemp("store")
    command: list[str | Path] = [_RCLONE, "serve", "s3", folder, "--auth-key", "key,secret", "--addr", "127.0.0.1:0"]
    command += ["--dir-cache-time", "0s", "--config", "/notfound"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            # NOTICE: Local file system at /...: Starting s3 server on [http://127.0.0.1:40123/]
            started = next(line for line in server.stderr if "Starting s3 server" in line)
            url = started.partition("[")[2].rstrip("]\n/")
            environment = {"RCLONE_S3_PROVIDER": "Other", "RCLONE_S3_ENDPOINT": url, "RCLONE_S3_ENV_AUTH": "true"}
            keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
            yield folder, {"PATH": f"{_RCLONE.parent}:{os.environ['PATH']}", "HOME": "/tmp", **environment, **keys}
        finally:
            server.send_signal(signal.SIGINT)


@pytest.fixture
def bucket(store: tuple[Path, dict[str, str]], tmp_path: Path) -> Path:
    """A bucket with a checkpoint, and a file that its SHA256SUMS does not name."""
    folder = store[0] / tmp_path.name.replace("_", "-").lower() / "2b"
    for name, content in _FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "unlisted.bin").write_bytes(b"not checked")
    (folder / "SHA256SUMS").write_text(f"# google/codegemma-2b@0123\n{_sums()}")
    return folder


def _sums() -> str:
    return "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in _FILES.items())


@pytest.fixture
def copy(store: tuple[Path, dict[str, str]], bucket: Path, tmp_path: Path) -> Copy:
    """Copies the bucket's checkpoint, or what is asked for, to `target`."""

    def run(source: str = f"s3://{bucket.parent.name}/2b", *without: str) -> subprocess.CompletedProcess[str]:
        command = ["sh", str(_SCRIPT), source, str(tmp_path / "target"), *without]
        return subprocess.run(command, env=store[1], capture_output=True, text=True, timeout=60, check=False)

    return run


def _content(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def test_what_the_sums_name_is_copied_and_nothing_else(copy: Copy, bucket: Path, tmp_path: Path) -> None:
    done = copy()
    assert done.returncode == 0, done.stderr
    assert _content(tmp_path / "target") == _FILES
    source = f"s3://{bucket.parent.name}/2b"
    assert (tmp_path / "target" / "SHA256SUMS").read_text() == f"# {source}\n{_sums()}"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_what_is_there_is_not_copied_again(copy: Copy, bucket: Path) -> None:
    assert copy().returncode == 0
    (bucket / "config.json").write_bytes(b"another")
    again = copy()
    assert again.returncode == 0 and "already" in again.stdout


def test_another_source_does_not_pass_for_what_is_there(copy: Copy, tmp_path: Path) -> None:
    assert copy().returncode == 0
    other = copy("s3://models/7b")
    assert other.returncode == 1 and "and not s3://models/7b. Name another target" in other.stderr
    assert _content(tmp_path / "target") == _FILES


def test_what_is_left_out_is_neither_copied_nor_missed(copy: Copy, bucket: Path, tmp_path: Path) -> None:
    source = f"s3://{bucket.parent.name}/2b"
    (bucket / "model.safetensors").unlink()
    assert copy(source, "*.safetensors").returncode == 0
    assert _content(tmp_path / "target").keys() == _FILES.keys() - {"model.safetensors"}
    assert "already" in copy(source, "*.safetensors").stdout
    other = copy(source)
    assert other.returncode == 1 and f"is {source}, without *.safetensors, and not {source}. Name" in other.stderr


@pytest.mark.parametrize("change", ["damaged", "missing"])
def test_a_file_that_is_not_what_the_sums_say_is_named_and_only_it_is_copied_again(
    copy: Copy, bucket: Path, tmp_path: Path, change: str
) -> None:
    weights = bucket / "model.safetensors"
    if change == "damaged":
        weights.write_bytes(bytes(300_000))
    else:
        weights.unlink()
    failed = copy()
    assert failed.returncode == 1 and "model.safetensors: FAILED" in failed.stderr
    assert not (tmp_path / "target").exists()
    (partial,) = tmp_path.iterdir()
    assert _content(partial).keys() == _FILES.keys() - {"model.safetensors"}
    weights.write_bytes(_FILES["model.safetensors"])
    assert copy().returncode == 0
    assert _content(tmp_path / "target") == _FILES


def test_a_bucket_without_sums_is_told_how_to_make_them(copy: Copy, bucket: Path, tmp_path: Path) -> None:
    (bucket / "SHA256SUMS").unlink()
    done = copy()
    assert done.returncode == 1 and "has no SHA256SUMS" in done.stderr and "sha256sum * >SHA256SUMS" in done.stderr
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("name", ["../stolen", "/etc/stolen", "a/../../stolen"])
def test_sums_that_name_a_path_outside_are_refused(copy: Copy, bucket: Path, tmp_path: Path, name: str) -> None:
    (bucket / "SHA256SUMS").write_text(f"{_sums()}{'0' * 64}  {name}\n")
    done = copy()
    assert done.returncode == 1 and "names a path outside" in done.stderr
    assert not (tmp_path / "target").exists()


def test_sums_with_lines_of_another_form_are_refused(copy: Copy, bucket: Path, tmp_path: Path) -> None:
    """sha256sum checks the other lines and is content: a file of the checkpoint would be missing."""
    digest = hashlib.sha256(b"more").hexdigest()
    (bucket / "more.safetensors").write_bytes(b"more")
    (bucket / "SHA256SUMS").write_text(f"{_sums()}SHA256 (more.safetensors) = {digest}\n")
    done = copy()
    assert done.returncode == 1 and "more.safetensors" in done.stderr and "does not write, above" in done.stderr
    assert not (tmp_path / "target").exists()


def test_sums_that_name_themselves_are_taken(copy: Copy, bucket: Path, tmp_path: Path) -> None:
    """As `sha256sum * >SHA256SUMS` writes them the second time: the shell has emptied the file by then."""
    (bucket / "SHA256SUMS").write_text(f"{hashlib.sha256().hexdigest()}  SHA256SUMS\n{_sums()}")
    done = copy()
    assert done.returncode == 0, done.stderr
    assert _content(tmp_path / "target") == _FILES


def test_the_client_is_that_of_the_charts_image() -> None:
    version = subprocess.run([_RCLONE, "version"], capture_output=True, text=True, check=True).stdout.split()[1]
    image: str = yaml.safe_load((CHART / "values.yaml").read_text())["models"]["rcloneImage"]
    assert image == f"docker.io/rclone/rclone:{version.removeprefix('v')}"
