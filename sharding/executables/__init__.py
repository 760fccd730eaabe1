"""Compiled steps in files: kept on a host's disk for its next start, or compiled ahead of time on another machine."""

from sharding.executables.file import ExecutableFile
from sharding.executables.signing_key import signing_key_path
from sharding.executables.store import Executables, ExecutableStore, ExecutableWriter, LocalStore, why_not_taken

__all__ = [
    "ExecutableFile",
    "ExecutableStore",
    "ExecutableWriter",
    "Executables",
    "LocalStore",
    "signing_key_path",
    "why_not_taken",
]
