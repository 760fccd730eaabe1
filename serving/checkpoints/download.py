"""A repository of Hugging Face's hub as a directory: one commit of it, with every file checked by its hash."""

import errno
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from shutil import disk_usage, rmtree
from threading import Lock
from typing import Any

from serving.checkpoints.partial_directory import check_free, partial_directory
from serving.checkpoints.written_files import SUMS_FILE, sha256, write_sums

type OnProgress = Callable[[int, int], None]

_COMMIT = re.compile(r"[0-9a-f]{40}")
_ADDRESS = re.compile(r"(https?://)(?:[^\s/@]*@)?([^\s?'\"<>]+)(?:\?[^\s'\"<>]*)?")
"""Without its user and its query, which may have a password or a signature."""
_ANSWER_S = 30.0
"""Until the hub says what a commit has; the client has limits of its own for files, and none for this."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What a disk answers that takes no more."""
_OF_THE_CLIENT = ".cache"
"""Where it has files that are not complete."""
_AT_A_TIME = 4
"""Files; the client reads one in several parts itself where the hub offers that."""


class DownloadError(Exception):
    """A repository cannot be downloaded; says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a directory is a copy of.

    Attributes:
      repository: such as `google/codegemma-2b`.
      commit: its 40 hexadecimal digits.
    """

    repository: str
    commit: str

    def __post_init__(self) -> None:
        if not _COMMIT.fullmatch(self.commit):
            raise DownloadError(
                f"revision {self.commit!r} is no commit. A branch or a tag can move to other weights: take the 40 "
                f"digits of the commit from the history of {self.repository}'s files, or from `git ls-remote`."
            )

    def __str__(self) -> str:
        return f"{self.repository}@{self.commit}"


def described(origin: Origin, patterns: Sequence[str] = ()) -> str:
    """What a directory is that has a commit's files, or those that match patterns: as `origin_of` says of it."""
    return f"{origin}, only {', '.join(sorted(set(patterns)))}" if patterns else str(origin)


@dataclass(frozen=True, slots=True)
class _File:
    """A file of a commit: its path, its size, and the hash that the hub has of it."""

    name: str
    size: int
    digest: str
    is_git_blob: bool

    def is_at(self, path: Path) -> bool:
        """Whether a file has this content."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        if self.is_git_blob:
            from huggingface_hub.utils.sha import git_hash

            return git_hash(path.read_bytes()) == self.digest
        return sha256(path) == self.digest


def download(
    origin: Origin,
    target: Path,
    patterns: Sequence[str] = (),
    on_progress: OnProgress = lambda done, total: None,
) -> None:
    """Downloads a commit to a directory, which appears complete or not at all, with the hashes of all in `SHA256SUMS`.

    A file of that name in the repository is left out.

    Whole files that a killed, interrupted or failed download left beside the target are not downloaded again. The
    client reads `HF_TOKEN`, `HF_ENDPOINT` and the variables of proxies.

    Args:
      origin: what to download.
      target: a directory that is not there yet, or empty.
      patterns: of the files to take, such as `*.safetensors`; all if there are none.
      on_progress: called as `on_progress(done, total)`, in bytes.

    Raises:
      DownloadError: the hub does not give it, a file has not the hash that it should have, or the disk is full.
      ValueError: the target is not empty, or is being written by another process.
      OSError: the target cannot be written.
    """
    check_free(target)
    files = _wanted(_files(origin), patterns, origin)
    target.parent.mkdir(parents=True, exist_ok=True)
    with partial_directory(target, kept_after=(DownloadError, OSError)) as partial:
        check_free(target)  # again: another download may have ended meanwhile
        sums: dict[str, str] = {}
        progress = _Progress(sum(file.size for file in files), on_progress)
        try:
            _fill(origin, files, partial, sums, progress)
            rmtree(partial / _OF_THE_CLIENT, ignore_errors=True)
            write_sums(partial, {file.name: sums[file.name] for file in files}, described(origin, patterns))
        except OSError as error:
            if error.errno not in _FULL:
                raise
            rmtree(partial / _OF_THE_CLIENT, ignore_errors=True)
            missing = [file for file in files if file.name not in sums]
            raise DownloadError(_without_room(error, target, partial, missing, len(files))) from error


def _fill(
    origin: Origin, files: Collection[_File], directory: Path, sums: dict[str, str], progress: "_Progress"
) -> None:
    """Brings the files to a directory; `sums` gets the hash of each that is complete."""

    def bring(file: _File) -> None:
        sums[file.name] = _sum(origin, file, directory, progress)

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        try:
            list(pool.map(bring, files))
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if not isinstance(error, Exception):  # an interruption waits for no file of some GB
                progress.stop()
            raise


def _without_room(error: OSError, target: Path, partial: Path, missing: Collection[_File], total: int) -> str:
    names = ", ".join(file.name for file in missing) or SUMS_FILE
    needed, free = sum(file.size for file in missing), disk_usage(partial).free
    return (
        f"{target} cannot be written: {error.strerror}. {total - len(missing)} of {total} files are complete and stay. "
        f"Missing: {names}; they take {_gigabytes(needed)}, and {_gigabytes(free)} are free. Make room, and run the "
        "same command again: it goes on from there."
    )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.3f} GB"


class _Progress:
    """Bytes so far, of all files together."""

    def __init__(self, total: int, on_progress: OnProgress) -> None:
        self._total = total
        self._on_progress = on_progress
        self._done = 0
        self._stopped = False
        self._lock = Lock()

    def stop(self) -> None:
        """Has every thread that adds something end with an error."""
        self._stopped = True

    def add(self, count: float) -> None:
        with self._lock:
            if self._stopped:
                raise InterruptedError("stopped")
            self._done += int(count)
            self._on_progress(self._done, self._total)


def _files(origin: Origin) -> list[_File]:
    """The files of a commit, as the hub describes them."""
    from huggingface_hub import HfApi

    with _errors_of_the_hub(origin):
        info = HfApi().model_info(origin.repository, revision=origin.commit, files_metadata=True, timeout=_ANSWER_S)
    if info.sha != origin.commit:
        raise DownloadError(f"{origin}: the hub gives commit {info.sha} in its place. Check HF_ENDPOINT.")
    files = []
    for each in info.siblings or []:
        path = PurePosixPath(each.rfilename)
        digest = each.lfs.sha256 if each.lfs else each.blob_id
        if path.is_absolute() or ".." in path.parts or each.size is None or digest is None:
            raise DownloadError(
                f"{origin}: the hub describes {each.rfilename[:100]!r} without a size, a hash or a path inside."
            )
        if each.rfilename != SUMS_FILE:
            files.append(_File(each.rfilename, each.size, digest, is_git_blob=each.lfs is None))
    return files


def _wanted(files: Sequence[_File], patterns: Sequence[str], origin: Origin) -> list[_File]:
    for pattern in patterns:
        if not any(fnmatch(file.name, pattern) for file in files):
            there = ", ".join(file.name for file in files) or "none"
            raise DownloadError(f"{origin} has no file {pattern!r}. Its files: {there}.")
    return [file for file in files if not patterns or any(fnmatch(file.name, pattern) for pattern in patterns)]


def _sum(origin: Origin, file: _File, directory: Path, progress: _Progress) -> str:
    """A file's SHA-256, once it is there as it should be."""
    path = directory / file.name
    if file.is_at(path):
        progress.add(file.size)
    else:
        path.unlink(missing_ok=True)
        _fetch(origin, file, directory, progress)
        if not file.is_at(path):
            path.unlink(missing_ok=True)
            raise DownloadError(f"{origin}: {file.name} did not come with the hash that the hub names. Try again.")
    return sha256(path) if file.is_git_blob else file.digest  # gigabytes are read once


def _fetch(origin: Origin, file: _File, directory: Path, progress: _Progress) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    class Bar(tqdm):
        """The client's bar, which shows nothing and tells ours."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs | {"disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> None:
            progress.add(n or 0)

    with _errors_of_the_hub(origin):
        HfApi().hf_hub_download(
            origin.repository, file.name, revision=origin.commit, local_dir=directory, tqdm_class=Bar
        )


@contextmanager
def _errors_of_the_hub(origin: Origin) -> Iterator[None]:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except GatedRepoError as error:
        raise DownloadError(
            f"{origin.repository} is gated, and this token may not read it: {_first_line(error)} Accept its terms on "
            "its page with the account that HF_TOKEN is of."
        ) from error
    except RepositoryNotFoundError as error:
        raise DownloadError(
            f"{origin.repository} is not there, or this token may not see it: {_first_line(error)} Check the name, and "
            "that HF_TOKEN is of an account that may read it."
        ) from error
    except RevisionNotFoundError as error:
        raise DownloadError(f"{origin.repository} has no commit {origin.commit}. Check its history.") from error
    except Exception as error:  # of the client's own clients, too
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
            raise  # of the disk
        raise DownloadError(
            f"{origin} cannot be downloaded: {_first_line(error)} What is complete stays; try again, and check "
            "HF_ENDPOINT and the proxy if it goes on."
        ) from error


def _first_line(error: Exception) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return f"{_ADDRESS.sub(r'\1\2', text)}."
