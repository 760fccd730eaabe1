"""A hub of Hugging Face's on the loopback, as far as a download uses it: what a commit has, and its files."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from huggingface_hub.utils.sha import git_hash

REPOSITORY = "team/model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
_LARGE = 100
"""Bytes from which on a file is in git LFS, as weights are."""


@dataclass
class Hub:
    """What it has, and what was asked.

    Attributes:
      files: of the one commit, by path.
      token: what a caller must have; empty for none.
      gated: whether that token's account has not accepted the terms.
      damaged: paths whose content comes with one byte changed.
      down: paths that are answered with 503.
      resolves_to: the commit that it says it gives.
      fetched: the paths of files that were given, in order.
    """

    files: Mapping[str, bytes]
    token: str = ""
    gated: bool = False
    damaged: set[str] = field(default_factory=set)
    down: set[str] = field(default_factory=set)
    resolves_to: str = COMMIT
    fetched: list[str] = field(default_factory=list)

    def info(self) -> dict[str, Any]:
        """What its API says of the commit."""
        return {"id": REPOSITORY, "sha": self.resolves_to, "siblings": [_sibling(*each) for each in self.files.items()]}


def _sibling(name: str, content: bytes) -> dict[str, Any]:
    about: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": git_hash(content)}
    if len(content) >= _LARGE:
        about["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return about


@contextmanager
def serve(hub: Hub) -> Iterator[str]:
    """Yields the address, for HF_ENDPOINT."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(with_content=True)

        def do_HEAD(self) -> None:
            self._answer(with_content=False)

        def _answer(self, *, with_content: bool) -> None:
            path = self.path.partition("?")[0]
            if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
                return self._refuse(401, "RepoNotFound", "Invalid username or password.")
            if hub.gated:
                return self._refuse(403, "GatedRepo", "Access to model team/model is restricted.")
            if path == f"/api/models/{REPOSITORY}/revision/{COMMIT}":
                return self._give(json.dumps(hub.info()).encode(), {"Content-Type": "application/json"})
            if path.startswith("/api/"):
                return self._refuse(404, "RepoNotFound", "Repository not found")
            name = path.removeprefix(f"/{REPOSITORY}/resolve/{COMMIT}/")
            if name in hub.down or name not in hub.files:
                return self._refuse(503 if name in hub.down else 404, "EntryNotFound", "not here")
            content = hub.files[name]
            if name in hub.damaged:
                content = bytes([content[0] ^ 1]) + content[1:]
            if with_content:
                hub.fetched.append(name)
            digest = hashlib.sha256(hub.files[name]).hexdigest()
            return self._give(content, {"X-Repo-Commit": hub.resolves_to, "ETag": f'"{digest}"'})

        def _refuse(self, status: int, code: str, message: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", message)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _give(self, content: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(200)
            for each in headers.items():
                self.send_header(*each)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
