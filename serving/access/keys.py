"""API keys: who holds one, and a file that knows only their salted hashes.

A key is `cg_`, eight characters that name it, `_`, and 32 random bytes in URL-safe base 64. As it is random and long,
one SHA-256 over salt and key keeps it as safe as a slow hash would keep a password, and a request waits microseconds.
"""

import hashlib
import hmac
import os
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from serving.config import Role
from serving.models.adapted_id import ADAPTED_ID

_PREFIX = "cg"
_ID_BYTES, _SECRET_BYTES, _SALT_BYTES = 4, 32, 16
# libyaml's, which take a fourth of the time, unless PyYAML was built without.
_LOADER, _DUMPER = getattr(yaml, "CSafeLoader", yaml.SafeLoader), getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_HEADER = "# API keys of codegemma-serving, as salted hashes. Changed by `codegemma keys`.\n"


class KeyFileError(Exception):
    """A key file that cannot be read or replaced; the message names the file, the entry and the remedy."""


class UnreadKeyFileError(KeyFileError):
    """A key file of which nothing was read: it is not there, or could not be opened. A moment later it may be."""


class ApiKey(BaseModel):
    """One key, without the secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    """Part of the key itself, so that its entry is found without trying all."""
    name: Annotated[str, Field(min_length=1, max_length=64)]
    """Who holds it; no other key's, as limits and logs tell keys apart by it."""
    tenant: Annotated[str, Field(max_length=64)] = ""
    """Whom its requests are for: decides models, where `routing.tenants` says so."""
    roles: Annotated[tuple[Role, ...], Field(min_length=1)] = tuple(Role)
    """What it may ask for."""
    adapters: tuple[Annotated[str, Field(pattern=f"^{ADAPTED_ID.pattern}$")], ...] | None = None
    """Those that it may use, as `MODEL:ADAPTER`; None: every one of the models that its roles allow."""
    created: datetime
    salt: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the salt's bytes, then the whole key."""

    def opens(self, key: str) -> bool:
        """Whether `key` is this one; takes as long for a wrong one."""
        return hmac.compare_digest(_digest(self.salt, key), self.sha256)


class KeyFile(BaseModel):
    """All keys of a service."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[ApiKey, ...] = ()

    @model_validator(mode="after")
    def _unique(self) -> "KeyFile":
        if twice := _first_twice(key.id for key in self.keys):
            raise ValueError(f"keys: the id {twice} is there twice. Revoke one of them.")
        if twice := _first_twice(key.name for key in self.keys):
            ids = " and ".join(key.id for key in self.keys if key.name == twice)
            raise ValueError(
                f"keys: {ids} have the same name, {twice!r}, by which limits and logs tell keys apart. Change the name "
                "of all but one of them in the file."
            )
        return self

    @cached_property
    def _by_id(self) -> dict[str, ApiKey]:
        return {key.id: key for key in self.keys}

    @classmethod
    def parse(cls, text: str, source: object) -> "KeyFile":
        """Reads the YAML of a key file.

        Args:
          text: what the file holds; nothing is a file without keys.
          source: names the file in errors.

        Raises:
          KeyFileError: it is no key file; names what is wrong.
        """
        try:
            return cls.model_validate(yaml.load(text, Loader=_LOADER) or {})
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "keys"
            raise KeyFileError(f"{source}: {where}: {first['msg']}. Make keys with `codegemma keys create`.") from None
        except Exception as error:  # of a date that is none, of nesting without end: not YAMLError alone
            raise KeyFileError(f"{source} is not valid YAML: {error}") from None

    @classmethod
    def read(cls, path: Path) -> "KeyFile":
        """Reads a key file.

        Raises:
          UnreadKeyFileError: it is not there, or cannot be opened.
          KeyFileError: it is no key file.
        """
        try:
            return cls.parse(path.read_text(), path)
        except OSError as error:
            raise UnreadKeyFileError(f"{path}: {error.strerror}. Make one with `codegemma keys create`.") from None
        except UnicodeDecodeError:
            raise KeyFileError(f"{path}: it is not text. Make one with `codegemma keys create`.") from None

    def dump(self) -> str:
        """The YAML that `parse` reads."""
        return _HEADER + yaml.dump(self.model_dump(mode="json", exclude_none=True), Dumper=_DUMPER, sort_keys=False)

    def write(self, path: Path) -> None:
        """Replaces the file in one step, so that a service that reads it meanwhile sees all of it or the old one.

        A new file is its maker's alone. One that was there keeps its owner, group and mode: a service under another
        user that could no longer read it would go on with the keys it has, and a key that was revoked with them.

        Raises:
          KeyFileError: who runs this may not give the file to its owner; it is as it was.
          OSError: its directory cannot be written.
        """
        path = Path(os.path.realpath(path))  # a link to it stays one
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w") as file:
                if path.exists():
                    _take_after(path, descriptor)
                    shutil.copystat(path, temporary)
                file.write(self.dump())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise

    def with_new(
        self, name: str, tenant: str, roles: tuple[Role, ...], adapters: tuple[str, ...] | None = None
    ) -> tuple["KeyFile", str]:
        """Adds a key.

        Returns:
          The file with it, and the key: the only time that it is known.

        Raises:
          KeyFileError: a key has this name.
        """
        if named := [key.id for key in self.keys if key.name == name]:
            raise KeyFileError(
                f"the key {named[0]} has the name {name!r} already. Give the new one another name, or revoke that one."
            )
        taken = {key.id for key in self.keys}
        key_id = next(drawn for drawn in iter(lambda: secrets.token_hex(_ID_BYTES), None) if drawn not in taken)
        key = f"{_PREFIX}_{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
        salt = secrets.token_hex(_SALT_BYTES)
        entry = ApiKey(
            id=key_id,
            name=name,
            tenant=tenant,
            roles=roles,
            adapters=adapters,
            created=datetime.now(UTC).replace(microsecond=0),
            salt=salt,
            sha256=_digest(salt, key),
        )
        return KeyFile(keys=(*self.keys, entry)), key

    def without(self, key_id: str) -> "KeyFile":
        """Takes a key out.

        Raises:
          KeyError: there is none with this id.
        """
        left = tuple(key for key in self.keys if key.id != key_id)
        if len(left) == len(self.keys):
            raise KeyError(key_id)
        return KeyFile(keys=left)

    def find(self, key: str) -> ApiKey | None:
        """The entry of a key that a client sent; None if it is none of these."""
        prefix, _, rest = key.partition("_")
        key_id = rest.partition("_")[0]
        entry = self._by_id.get(key_id)
        return entry if prefix == _PREFIX and entry is not None and entry.opens(key) else None


def _first_twice(values: Iterable[str]) -> str | None:
    """The first in order of those that are there more than once."""
    return min((value for value, count in Counter(values).items() if count > 1), default=None)


def _take_after(path: Path, descriptor: int) -> None:
    """Gives an open file the owner and group of the one at `path`; before its mode, which is meant for them."""
    status = path.stat()
    try:
        os.fchown(descriptor, status.st_uid, status.st_gid)
    except OSError as error:
        raise KeyFileError(
            f"{path} belongs to user {status.st_uid} and group {status.st_gid}, and a file in its place could not have "
            f"the same owner: {error.strerror}. Nothing was changed. Run this as that user, or as root."
        ) from None


def _digest(salt: str, key: str) -> str:
    return hashlib.sha256(bytes.fromhex(salt) + key.encode()).hexdigest()
