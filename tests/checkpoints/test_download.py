"""`codegemma download`, with the hub's own client and a hub on the loopback."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner, Result

from serving.checkpoints.download import DownloadError, Origin, _errors_of_the_hub
from serving.checkpoints.written_files import SUMS_FILE, origin_of, wrong_sums
from serving.cli.main import app
from tests.serving.hub import COMMIT, REPOSITORY, Hub, serve

_RUN = "from serving.cli.main import app; app()"
_WEIGHTS = "model-00001-of-00001.safetensors"
_FILES = {
    "config.json": b"{}",
    _WEIGHTS: os.urandom(5000),
    "original/notes.txt": b"how it was made",
    "model.gguf": b"g" * 200,
}

_PATH = "/{repo_id}/resolve/{revision}/{filename}"

type Download = Callable[..., Result]


@pytest.fixture
def hub() -> Hub:
    return Hub(dict(_FILES))


@pytest.fixture
def download(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Download]:
    """Runs the command against the hub."""
    with serve(hub) as url:

        def run(
            *options: str, repository: str = REPOSITORY, revision: str = COMMIT, token: str = "", at: str = url
        ) -> Result:
            # Made of HF_ENDPOINT when the client is imported.
            monkeypatch.setattr(constants, "ENDPOINT", at)
            monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{at}{_PATH}")
            monkeypatch.setenv("HF_TOKEN", token)
            command = ["download", repository, str(tmp_path / "target"), "--revision", revision, *options]
            return CliRunner().invoke(app, command, env={"COLUMNS": "400"}, catch_exceptions=False)

        yield run


def _content(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file() and path.name != SUMS_FILE)
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def test_a_commit_becomes_a_directory_with_the_hashes_of_its_files(download: Download, tmp_path: Path) -> None:
    done = download()
    assert done.exit_code == 0, done.stderr
    target = tmp_path / "target"
    assert _content(target) == _FILES
    assert "downloading team/model@" in done.stderr and f"Wrote {target}" in done.stderr
    assert wrong_sums(target, lambda *_: None) == []
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", SUMS_FILE], cwd=target, capture_output=True, check=False
    )
    assert checked.returncode == 0
    assert hashlib.sha256(_FILES[_WEIGHTS]).hexdigest() in (target / SUMS_FILE).read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_the_hub_and_the_token_are_those_of_the_environment(hub: Hub, tmp_path: Path) -> None:
    hub.token = "hf_secret"
    with serve(hub) as url:
        environment = os.environ | {"HF_ENDPOINT": url, "HF_TOKEN": "hf_secret", "HF_HOME": str(tmp_path / "home")}
        command = [sys.executable, "-c", _RUN, "download", REPOSITORY, str(tmp_path / "target"), "--revision", COMMIT]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert _content(tmp_path / "target") == _FILES


def test_what_is_there_is_not_downloaded_again(download: Download, hub: Hub) -> None:
    assert download("--if-missing").exit_code == 0
    hub.fetched.clear()
    hub.files = {}
    again = download("--if-missing")
    assert again.exit_code == 0 and f"is {REPOSITORY}@{COMMIT} already" in again.stderr
    assert hub.fetched == []


def test_some_files_do_not_pass_for_others_and_all_of_them_do(download: Download, tmp_path: Path) -> None:
    some = ("--if-missing", "--file", "*.json", "--file", "*.gguf")
    assert download(*some).exit_code == 0
    assert " already" in download("--if-missing", "--file", "*.gguf", "--file", "*.json").stderr
    for options in (("--if-missing",), ("--if-missing", "--file", "*.safetensors")):
        other = download(*options)
        assert other.exit_code == 1
        assert f"is {REPOSITORY}@{COMMIT}, only *.gguf, *.json, and not {REPOSITORY}@{COMMIT}" in other.stderr
    shutil.rmtree(tmp_path / "target")
    assert download("--if-missing").exit_code == 0
    assert " already" in download(*some).stderr


def test_another_commit_does_not_pass_for_what_is_there(download: Download, tmp_path: Path) -> None:
    assert download("--if-missing").exit_code == 0
    other = download("--if-missing", revision="f" * 40)
    assert other.exit_code == 1
    assert f"is {REPOSITORY}@{COMMIT}, and not {REPOSITORY}@{'f' * 40}. Name another target" in other.stderr
    assert _content(tmp_path / "target") == _FILES


@pytest.mark.parametrize("options", [(), ("--if-missing",)])
def test_what_is_there_of_unknown_origin_is_refused_before_anything_is_asked(
    download: Download, hub: Hub, tmp_path: Path, options: tuple[str, ...]
) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "config.json").write_text("{}")
    done = download(*options, at="http://127.0.0.1:9")
    assert done.exit_code == 1 and "is there already and not empty" in done.stderr
    assert hub.fetched == []


def test_an_interruption_leaves_whole_files_for_the_next_try(
    download: Download, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = len(_FILES["config.json"])

    def interrupt(done: int, total: int) -> None:
        if done > whole:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("serving.checkpoints.download._AT_A_TIME", 1)
        patch.setattr("serving.cli.download.log_progress", lambda *_: interrupt)
        assert download().exit_code == 130
    assert not (tmp_path / "target").exists()
    hub.fetched.clear()
    assert download().exit_code == 0
    assert "config.json" not in hub.fetched and _content(tmp_path / "target") == _FILES


def test_a_full_disk_keeps_what_is_complete_and_says_what_is_missing(hub: Hub, tmp_path: Path) -> None:
    # Room for all files but the weights.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))"
    target = tmp_path / "there" / "target"
    arguments = ["download", REPOSITORY, str(target), "--revision", COMMIT]
    with serve(hub) as url:
        environment = os.environ | {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "home"), "COLUMNS": "400"}

        def run(code: str) -> "subprocess.CompletedProcess[str]":
            command = [sys.executable, "-c", code, *arguments]
            return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

        full = run(f"{limit}; {_RUN}")
        assert full.returncode == 1 and "Traceback" not in full.stderr
        said = " ".join(full.stderr.split())
        assert f"{target} cannot be written: File too large. 3 of 4 files are complete and stay." in said
        assert f"Missing: {_WEIGHTS}; they take 0.000 GB, and " in said and "run the same command again" in said
        assert not target.exists()
        hub.fetched.clear()
        assert run(_RUN).returncode == 0
    assert hub.fetched == [_WEIGHTS]
    assert _content(target) == _FILES
    assert [path.name for path in target.parent.iterdir()] == ["target"]


@pytest.mark.parametrize("revision", ["main", "v1.0", COMMIT[:12], COMMIT.upper()])
def test_a_revision_that_can_move_is_refused_before_anything_is_asked(
    download: Download, hub: Hub, revision: str
) -> None:
    done = download(revision=revision, at="http://127.0.0.1:9")
    assert done.exit_code == 1
    assert f"error: revision '{revision}' is no commit." in done.stderr and "git ls-remote" in done.stderr


def test_hashes_that_the_repository_has_itself_make_way_for_ours(download: Download, hub: Hub, tmp_path: Path) -> None:
    hub.files = {**_FILES, SUMS_FILE: b"# another/model@0\n" + b"0" * 64 + b"  config.json\n"}
    assert download().exit_code == 0
    assert SUMS_FILE not in hub.fetched
    assert origin_of(tmp_path / "target") == f"{REPOSITORY}@{COMMIT}"
    assert wrong_sums(tmp_path / "target", lambda *_: None) == []


def test_an_error_shows_neither_a_password_nor_a_signature_of_an_address() -> None:
    error = OSError("403 Forbidden for url 'https://me:secret@hub.example/a/b?X-Sig=secret&e=1': try 1")
    with pytest.raises(DownloadError) as raised, _errors_of_the_hub(Origin(REPOSITORY, COMMIT)):
        raise error
    assert "secret" not in str(raised.value)
    assert "403 Forbidden for url 'https://hub.example/a/b': try 1" in str(raised.value)


def test_only_files_that_match_are_downloaded(download: Download, hub: Hub, tmp_path: Path) -> None:
    assert download("--file", "*.safetensors", "--file", "*.json").exit_code == 0
    assert sorted(hub.fetched) == ["config.json", _WEIGHTS]
    assert _content(tmp_path / "target").keys() == {"config.json", _WEIGHTS}


def test_a_pattern_that_matches_nothing_is_named_with_what_there_is(download: Download, tmp_path: Path) -> None:
    done = download("--file", "*.bin")
    assert done.exit_code == 1
    assert "has no file '*.bin'. Its files: config.json, " in done.stderr
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("name", [_WEIGHTS, "config.json"])
def test_a_file_of_another_hash_is_refused_and_the_others_stay_for_the_next_try(
    download: Download, hub: Hub, tmp_path: Path, name: str
) -> None:
    hub.damaged = {name}
    done = download()
    assert done.exit_code == 1
    assert f"{name} did not come with the hash that the hub names. Try again." in done.stderr
    assert not (tmp_path / "target").exists()
    others = {*hub.fetched} - {name}  # those that had begun
    hub.damaged.clear()
    hub.fetched.clear()
    assert download().exit_code == 0
    assert name in hub.fetched and others.isdisjoint(hub.fetched)
    assert _content(tmp_path / "target") == _FILES


def test_a_token_opens_what_is_private_and_its_lack_is_said(download: Download, hub: Hub) -> None:
    hub.token = "hf_secret"
    without = download()
    assert without.exit_code == 1
    assert "team/model is not there, or this token may not see it" in without.stderr and "HF_TOKEN" in without.stderr
    done = download(token="hf_secret")
    assert done.exit_code == 0 and "hf_secret" not in done.output


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"gated": True}, "team/model is gated, and this token may not read it"),
        ({"resolves_to": "f" * 40}, f"the hub gives commit {'f' * 40} in its place"),
        ({"files": {"../config.json": b"{}"}}, "describes '../config.json' without a size, a hash or a path inside"),
    ],
    ids=["gated", "another commit", "a path outside"],
)
def test_what_the_hub_refuses_or_says_wrongly_is_named(
    download: Download, hub: Hub, tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    for name, value in change.items():
        setattr(hub, name, value)
    done = download()
    assert done.exit_code == 1 and reason in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "target").exists()


def test_a_hub_that_cannot_be_reached_is_one_line_with_a_remedy(download: Download) -> None:
    done = download(at="http://127.0.0.1:9")
    assert done.exit_code == 1 and "Traceback" not in done.stderr
    assert "cannot be downloaded: " in done.stderr and "check HF_ENDPOINT and the proxy" in done.stderr


def test_a_hub_that_never_answers_is_given_up(download: Download, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.checkpoints.download._ANSWER_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = download(at=f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert done.exit_code == 1 and "Traceback" not in done.stderr
    assert "cannot be downloaded: " in done.stderr and "timed out" in done.stderr
