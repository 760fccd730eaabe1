"""The key that executables are signed with: of this user, and the same on machines that exchange executables."""

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from sharding.private_files import UntrustedFileError, private_directory, read_private, write_private

SIGNATURE_BYTES = 32
_KEY_BYTES = 32


def signing_key_path() -> Path:
    """Where this user's key is; `XDG_DATA_HOME` moves it."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "codegemma" / "executables.key"


def sign(parts: Iterable[bytes | memoryview]) -> bytes:
    """The signature of `parts`, one after the other, by HMAC (RFC 2104) with SHA-256; makes the key if there is none.

    Raises:
      UntrustedFileError: others could have written the key, or it is none.
      OSError: it cannot be read or made.
    """
    signature = hmac.new(_key(), digestmod=hashlib.sha256)
    for part in parts:
        signature.update(part)
    return signature.digest()


def is_signed(signature: bytes | memoryview, content: bytes | memoryview) -> bool:
    """Whether `signature` is that of `content`; raises as `sign` does."""
    return hmac.compare_digest(signature, sign([content]))


def _key() -> bytes:
    path = signing_key_path()
    private_directory(path.parent)
    if not path.exists():
        write_private(path, secrets.token_bytes(_KEY_BYTES), replace=False)  # the first of several processes makes it
    key = read_private(path)
    if len(key) != _KEY_BYTES:
        raise UntrustedFileError(f"{path} has {len(key)} bytes, and a key has {_KEY_BYTES}. Remove it.")
    return key
